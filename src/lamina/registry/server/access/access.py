"""The one question of the HTTP part: may this request do that?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lamina.registry.server.access.grants import Grant
from lamina.registry.server.access.identity import Gate, Identity, NotKnown
from lamina.registry.server.access.patterns import is_name
from lamina.registry.server.access.rules import Rules
from lamina.registry.server.configured import ACTIONS, Settings
from lamina.registry.server.refusal import Refusal

# What clients ask a token server for, by what they do: who pushes looks first at what is there.
_SCOPES = {"pull": "pull", "push": "pull,push", "delete": "delete"}


class Access:
    """Logins by a gate (None: nobody can log in), rights by the settings.  Thread-safe."""

    def __init__(self, settings: Settings, gate: Gate | None, naming: Callable[[str], str] = lambda name: name) -> None:
        """`naming`: the one name of a repository, by which rules are asked."""
        self._gate, self._read_only, self._ping = gate, settings.read_only, settings.anonymous_ping
        self._rules = Rules(settings.rules, dict(settings.groups), naming) if settings.rules else None

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        """The rights of whoever sent a request, if they may do `action` ("pull", "push", "delete", "catalog").

        `repository`: None for GET /v2/ (with "pull": is the login right?) and the catalog.  `also`: what else the client
        should ask its token server for, as the source of a mount; not having that refuses nothing here, `Grant.may` says.

        `Refusal`: `UNAUTHORIZED` with WWW-Authenticate where a (or another) login could help, `DENIED` where not,
        `UNSUPPORTED` in read-only mode to whoever had the right, `NAME_INVALID`, `TOOMANYREQUESTS` (of logins at once).
        May take as long as a bcrypt hash, or some, unless `quick`.
        """
        if action not in (ACTIONS[:3] if repository is not None else ("pull", "catalog")):
            raise ValueError(f"no action {action!r} of {repository!r}")
        if repository is not None and not is_name(repository):
            raise Refusal("NAME_INVALID")
        scope = _scope([(repository, action), *also])
        grant = self._identified(headers, scope)
        self._check(grant, repository, action, scope)
        if self._read_only and action in {"push", "delete"}:
            raise Refusal("UNSUPPORTED", "the registry is read-only")
        return grant

    def quick(self, headers: Mapping[str, str]) -> bool:
        """Whether `admit` will answer at once: from a thread of an event loop it may be called only then."""
        value = authorization(headers)
        return self._gate is None or value is None or self._gate.quick(value)

    def _identified(self, headers: Mapping[str, str], scope: str) -> Grant:
        value = authorization(headers)
        identity = Identity()
        if self._gate is not None and value is not None:
            try:
                identity = self._gate.identify(value)
            except NotKnown as error:
                raise self._unauthorized(scope, error.error, str(error)) from None
        return Grant(identity, self._rules, self._gate is None, self._read_only)

    def _check(self, grant: Grant, repository: str | None, action: str, scope: str) -> None:
        anonymous = not grant.user and grant.identity.claims is None
        if repository is None and action != "catalog":
            # Clients learn from this answer alone how to log in, and docker keeps silent about its login without it.
            if anonymous and self._gate is not None and not self._ping:
                raise self._unauthorized(scope)
            return
        if grant.may_catalog() if repository is None else grant.right(repository, action):
            return
        if anonymous and self._gate is not None:
            raise self._unauthorized(scope)
        claims = grant.identity.claims
        if claims is not None and not (claims.allow_catalog() if repository is None else claims.allow(repository, action)):
            # Not DENIED: the token may be for something else, and clients get another one for this scope.
            raise self._unauthorized(scope, "insufficient_scope")
        raise Refusal("DENIED")

    def _unauthorized(self, scope: str, error: str = "", detail: str = "") -> Refusal:
        assert self._gate is not None
        return Refusal("UNAUTHORIZED", detail, headers={"WWW-Authenticate": self._gate.challenge(scope, error)})


def authorization(headers: Mapping[str, str]) -> str | None:
    """The value of the Authorization field, under whatever case its name has."""
    for name in ("authorization", "Authorization"):
        if name in headers:
            return headers[name]
    return next((value for name, value in headers.items() if name.lower() == "authorization"), None)


def _scope(wanted: Sequence[tuple[str | None, str]]) -> str:
    """Resource scopes ("Token Scope Documentation"), a space between two; names that are none are left out."""
    found: list[str] = []
    for repository, action in wanted:
        if action == "catalog":
            found.append("registry:catalog:*")
        elif repository is not None and is_name(repository):
            found.append(f"repository:{repository}:{_SCOPES[action]}")
    return " ".join(dict.fromkeys(found))
