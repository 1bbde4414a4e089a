"""One exchange with the token server that a realm names (docker's token specification and its OAuth2 variant).

With user and password, or as nobody: GET of the realm with `service`, `scope` and `account`.  With an identity token: POST
with `grant_type=refresh_token`.  Nothing that is sent or comes back stands in an error.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lamina.errors import InvalidContent, LimitExceeded, RegistryError, RegistryUnavailable, Unauthorized
from lamina.jsonlimits import loads
from lamina.registry.backoff import passes, pause
from lamina.registry.credentials import Credential
from lamina.registry.realm import Place, may_have_password, place

if TYPE_CHECKING:
    from lamina.registry.http import Http, Response
    from lamina.registry.timings import Timings

MAX_TOKEN = 64 << 10
MAX_ANSWER = 256 << 10  # an answer holds the token up to twice, and a refresh token
MAX_REDIRECTS = 3
TRIES = 3  # of a token server that is not well; the request that wants the token has patience of its own
_CLIENT = "lamina"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is for, and whose it is: two are the same only if all of it is."""

    realm: Place
    service: str
    scopes: tuple[str, ...]
    credential: Credential | None


class TokenServer:
    """Asks for the tokens of one registry; `domain` is its name in errors."""

    def __init__(self, http: Http, domain: str, timings: Timings) -> None:
        self._http, self._domain, self._timings = http, domain, timings

    def ask(self, wanted: Wanted, base: str) -> tuple[str, dict[str, Any], Mapping[str, str]]:
        """A new token, the document it came in, and the answer's headers; `base` is the registry's own origin.

        `Unauthorized`: the credentials, or nobody, are refused.  `RegistryUnavailable`: not reached, or not well for some
        tries.  `RegistryError`: the answer makes no sense, or the password would go where it may not.
        """
        if wanted.credential is not None and not may_have_password(wanted.realm, base):
            raise RegistryError(f"{self._domain} wants the password sent in the clear, which is refused", wanted.realm,
                                "let the registry name an https realm")
        own = place(base)
        foreign = own is None or own.host != wanted.realm.host
        attempt = 0
        while True:
            headers: Mapping[str, str] = {}
            try:
                with self._exchange(wanted, foreign) as answer:
                    headers = answer.headers
                    return self._read(answer, wanted)
            except RegistryUnavailable:
                attempt += 1
                if attempt >= TRIES:
                    raise
            self._timings.sleep(pause(attempt - 1, headers, self._timings))

    def _exchange(self, wanted: Wanted, foreign: bool) -> Response:
        """The answer of the realm, through redirects on its own origin."""
        headers, query, form = _request(wanted)
        url = wanted.realm.url
        if query:
            url += ("&" if "?" in url else "?") + query
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._http.send("POST" if form else "GET", url, headers=headers, body=form, foreign=foreign)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            location = answer.headers.get("location", "")
            answer.discard()
            url = self._redirected(wanted, location)
        raise RegistryError("the token server redirects without end", wanted.realm)

    def _redirected(self, wanted: Wanted, location: str) -> str:
        target = place(wanted.realm.origin + location if location.startswith("/") and location[1:2] != "/" else location)
        posted = wanted.credential is not None and wanted.credential.identity_token
        if target is None or target.origin != wanted.realm.origin or posted:
            raise RegistryError("the token server redirects elsewhere, which is not followed", wanted.realm)
        return target.url

    def _read(self, answer: Response, wanted: Wanted) -> tuple[str, dict[str, Any], Mapping[str, str]]:
        if answer.status != 200:
            answer.discard()
            raise self._problem(answer.status, wanted)
        try:
            document = loads(answer.body(MAX_ANSWER), "the answer", MAX_ANSWER)
        except LimitExceeded:
            raise self._senseless(wanted, "is too large") from None
        except InvalidContent:  # Not chained: its words may quote the answer.
            raise self._senseless(wanted, "is no JSON object") from None
        return self._token(document, wanted), document, answer.headers

    def _problem(self, status: int, wanted: Wanted) -> RegistryError:
        if status in (401, 403):
            return refused(self._domain, wanted.credential)
        kind = RegistryUnavailable if passes(status) else RegistryError
        return kind(f"the token server answers with status {status}", wanted.realm)

    def _token(self, document: dict[str, Any], wanted: Wanted) -> str:
        token = document.get("token") or document.get("access_token")
        if not token or not isinstance(token, str):
            raise self._senseless(wanted, "holds no token")
        if len(token) > MAX_TOKEN:
            raise self._senseless(wanted, f"holds a token longer than {MAX_TOKEN >> 10} KiB")
        if not (token.isascii() and token.isprintable() and " " not in token):  # It becomes part of a header.
            raise self._senseless(wanted, "holds a token of other characters than a token has")
        return token

    def _senseless(self, wanted: Wanted, problem: str) -> RegistryError:
        return RegistryError(f"the token server's answer {problem}", wanted.realm, f"is {self._domain} a registry?")


def basic(credential: Credential) -> str:
    """The Authorization of a user and a password (RFC 7617)."""
    return "Basic " + b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def refused(domain: str, credential: object) -> Unauthorized:
    """What is said when somebody, or nobody, is not let in."""
    command = "lamina login" + ("" if domain == "docker.io" else f" {domain}")
    if credential is None:
        return Unauthorized(f"{domain} asks for a login", hint=f"log in with `{command}`")
    return Unauthorized(f"{domain} refuses the credentials", hint=f"log in again with `{command}`")


def _request(wanted: Wanted) -> tuple[dict[str, str], str, bytes | None]:
    """Headers, query and form of the request for a token."""
    who = wanted.credential
    service = [("service", wanted.service)] if wanted.service else []
    if who is not None and who.identity_token:
        form = [("grant_type", "refresh_token"), *service, ("client_id", _CLIENT), ("scope", " ".join(wanted.scopes)),
                ("refresh_token", who.identity_token)]
        return {"Content-Type": "application/x-www-form-urlencoded"}, "", urlencode(form).encode()
    query = service + [("scope", scope) for scope in wanted.scopes]
    if who is None:
        return {}, urlencode(query), None
    return {"Authorization": basic(who)}, urlencode([*query, ("account", who.username)]), None
