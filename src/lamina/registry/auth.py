"""What goes into `Authorization` for one registry, and what a 401 leads to.

A request is first sent without; the 401 that comes back says what is wanted (`lamina.registry.challenge`).  From then on
`header` knows it beforehand: basic, or a bearer token for the scope, renewed in time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lamina.errors import Unauthorized
from lamina.registry.challenge import Challenge, parse
from lamina.registry.credentials import Credential
from lamina.registry.realm import Place, realm_of
from lamina.registry.tokens import Tokens
from lamina.registry.tokenserver import Wanted, basic, refused

if TYPE_CHECKING:
    from lamina.registry.http import Http
    from lamina.registry.timings import Timings

MAX_SCOPES = 16  # that a challenge may ask for in one
MAX_SCOPE = 512
_MAX_REMEMBERED = 1024  # scopes whose challenge asked for more than was known


class Keyring(Protocol):
    """Who knows credentials: `lamina.registry.credentials.Credentials`, or a login that is being tried."""

    def get(self, host: str, repository: str = "", /) -> Credential | None: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What a request needs: actions on a repository ('' for the registry as such), and pulls from others (a mount)."""

    repository: str = ""
    actions: tuple[str, ...] = ("pull",)
    also: tuple[str, ...] = ()

    def texts(self) -> list[str]:
        """As the token specification writes them (`repository:a/b:pull,push`)."""
        own = [f"repository:{self.repository}:{','.join(self.actions)}"] if self.repository else []
        return own + [f"repository:{name}:pull" for name in self.also]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the registry's last challenge came to: a realm for bearer tokens, or basic."""

    realm: Place | None = None
    service: str = ""


@dataclass
class _Mine(threading.local):  # No slots: those would be shared.
    """What one thread sent last: for which scope, the header, and whether that was the try after a 401."""

    scope: Scope | None = None
    sent: str | None = field(default=None, repr=False)
    again: bool = False
    retrying: Scope | None = None


class Authorizer:
    """The authorization of one endpoint; thread-safe, and `challenged` is for the thread's own last `header`.

    `domain` is what credentials are looked up by, `base` the endpoint's origin; a client that finds out that it must speak
    another scheme sets it.
    """

    def __init__(self, http: Http, credentials: Keyring, domain: str, base: str, timings: Timings) -> None:
        self._credentials, self._domain, self.base = credentials, domain, base
        self._tokens = Tokens(http, domain, timings)
        self._asked: _Asked | None = None
        self._more: dict[Scope, tuple[str, ...]] = {}
        self._mine = _Mine()

    def header(self, scope: Scope) -> str | None:
        """What to send to the endpoint's own origin, and to no other; None: nothing (yet).

        `Unauthorized`, `RegistryError`: as for `challenged`, when a token has to be renewed.
        """
        mine, asked = self._mine, self._asked
        sent = self._answer(asked, scope) if asked is not None and not self._is_nobody(asked, scope) else None
        mine.scope, mine.sent, mine.again, mine.retrying = scope, sent, mine.retrying == scope, None
        return sent

    def challenged(self, headers: Mapping[str, str], scope: Scope) -> bool:
        """After a 401 with these headers: True, if another try with the new `header` is worth it.

        `Unauthorized`: there are no credentials, or they are refused, or the token got for the last 401 is.
        `RegistryError`: the challenge or the realm makes no sense.
        """
        mine = self._mine
        sent, again = (mine.sent, mine.again) if mine.scope == scope else (None, False)
        mine.scope, mine.sent = None, None
        credential = self._credentials.get(self._domain, scope.repository)
        asked = self._choose(parse(headers.get("www-authenticate") or ""), scope)
        if asked is None:
            raise Unauthorized(f"{self._domain} asks for a login that is not understood", scope.repository,
                               "only basic and bearer are")
        if again:
            raise self._denied(asked, scope, credential)
        self._asked = asked
        if sent == self._answer(asked, scope, old=sent or ""):  # A password, or the realm gives the same token again.
            raise self._denied(asked, scope, credential)
        mine.retrying = scope
        return True

    def _choose(self, challenges: list[Challenge], scope: Scope) -> _Asked | None:
        """Bearer before basic; the first of a kind counts."""
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                self._remember(scope, challenge.parameters.get("scope", ""))
                realm = realm_of(challenge.parameters["realm"], self.base, self._domain)
                return _Asked(realm, challenge.parameters.get("service", ""))
        return _Asked() if any(challenge.scheme == "basic" for challenge in challenges) else None

    def _answer(self, asked: _Asked, scope: Scope, old: str = "") -> str:
        """The header for what is asked; another than the old one, where there can be."""
        credential = self._credentials.get(self._domain, scope.repository)
        if asked.realm is None:
            if credential is None or not credential.password:
                raise refused(self._domain, None)
            return basic(credential)
        if credential is not None and credential.registry_token:
            return "Bearer " + credential.registry_token
        wanted = Wanted(asked.realm, asked.service, merged(scope.texts(), self._more.get(scope, ())), credential)
        return "Bearer " + self._tokens.get(wanted, self.base, old.removeprefix("Bearer "))

    def _is_nobody(self, asked: _Asked, scope: Scope) -> bool:
        """Whether basic was asked for once, and there is nothing to send: what is public may be had all the same."""
        return asked.realm is None and self._credentials.get(self._domain, scope.repository) is None

    def _remember(self, scope: Scope, text: str) -> None:
        """Keep what a challenge wants beyond what was known (`registry:catalog:*`, a repository behind a proxy)."""
        wanted = tuple(part for part in text.split()[:MAX_SCOPES] if len(part) <= MAX_SCOPE)
        if merged(scope.texts(), wanted) == merged(scope.texts(), ()):
            return
        if len(self._more) >= _MAX_REMEMBERED:
            self._more.clear()
        self._more[scope] = wanted

    def _denied(self, asked: _Asked, scope: Scope, credential: Credential | None) -> Unauthorized:
        """A password that is refused is wrong; a token that is refused does not allow what was asked."""
        if credential is None or asked.realm is None or not scope.repository:
            return refused(self._domain, credential)
        return Unauthorized(f"access to {self._domain}/{scope.repository} is denied",
                            hint="it may not exist, or may not be yours")


def merged(own: list[str], more: tuple[str, ...]) -> tuple[str, ...]:
    """Both lists of scopes, each resource once with all its actions."""
    actions: dict[str, dict[str, None]] = {}
    for text in (*own, *more):
        resource, _, names = text.rpartition(":")
        actions.setdefault(resource, {}).update(dict.fromkeys(names.split(",")))
    return tuple(f"{resource}:{','.join(names)}" if resource else ",".join(names) for resource, names in actions.items())
