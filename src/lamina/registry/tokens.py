"""Bearer tokens: got from a realm, kept for their time (docker's token specification and its OAuth2 variant).

With user and password, or as nobody: GET of the realm with `service`, `scope` and `account`.  With an identity token: POST
with `grant_type=refresh_token`.  One fetch at a time for one scope, however many threads want it.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from lamina.errors import InvalidContent, LaminaError, LimitExceeded, RegistryError, RegistryUnavailable, Unauthorized
from lamina.jsonlimits import loads
from lamina.registry.credentials import Credential
from lamina.registry.realm import Place, may_have_password, place

MAX_TOKEN = 64 << 10
MAX_ANSWER = 256 << 10  # an answer holds the token up to twice, and a refresh token
LIFETIME = 60.0  # seconds, where none is told (token specification)
MIN_LIFETIME, MAX_LIFETIME = 10.0, 86_400.0  # a token that is refused sooner is renewed by that
MARGIN = 10.0  # seconds before the end at which a token is renewed: it must last for the way of a request
MAX_REDIRECTS = 3
MAX_TOKENS = 1024
_CLIENT = "lamina"


class Answer(Protocol):
    """Of `lamina.registry.http.Response`, what is used here."""

    status: int
    headers: Mapping[str, str]

    def body(self, limit: int, /) -> bytes: ...

    def close(self) -> None: ...


class Sender(Protocol):
    """Of `lamina.registry.http.Http`, what is used here."""

    def send(self, method: str, url: str, *, headers: Mapping[str, str] = ..., body: bytes | None = ...) -> Any: ...


class Timings(Protocol):
    """Of `lamina.registry.http.Timings`, what is used here."""

    @property
    def clock(self) -> Callable[[], float]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is for, and whose it is: two are the same only if all of it is."""

    realm: Place
    service: str
    scopes: tuple[str, ...]
    credential: Credential | None


class _Slot:
    """The token of one `Wanted`; the lock is held while it is fetched."""

    __slots__ = ("lock", "token", "until")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token, self.until = "", 0.0


class Tokens:
    """The tokens of one registry; thread-safe."""

    def __init__(self, http: Sender, domain: str, timings: Timings) -> None:
        self._http, self._domain, self._timings = http, domain, timings
        self._slots: dict[Wanted, _Slot] = {}
        self._lock = threading.Lock()

    def get(self, wanted: Wanted, base: str, refused: str = "") -> str:
        """A token in its time, another than the one that was `refused`.

        `base` is the registry's own origin.  `Unauthorized`: the realm does not take the credentials.  `RegistryError`:
        it makes no sense, or wants a password where none may go.
        """
        with self._lock:
            if len(self._slots) >= MAX_TOKENS:
                self._slots.clear()  # Those being fetched are in the hands of who fetches.
            slot = self._slots.setdefault(wanted, _Slot())
        with slot.lock:
            if not slot.token or slot.token == refused or self._timings.clock() >= slot.until:
                slot.token = ""
                begin = self._timings.clock()
                slot.token, lifetime = self._fetch(wanted, base)
                slot.until = begin + lifetime
            return slot.token

    def _fetch(self, wanted: Wanted, base: str) -> tuple[str, float]:
        """A new token and the seconds for which it may be used."""
        if wanted.credential is not None and not may_have_password(wanted.realm, base):
            raise RegistryError(f"{self._domain} wants the password sent in the clear, which is refused", wanted.realm,
                                "let the registry name an https realm")
        answer = self._exchange(wanted)
        try:
            body = answer.body(MAX_ANSWER)
            headers = answer.headers
            self._check(answer.status, wanted)
        except LimitExceeded:
            raise self._senseless(wanted, f"is longer than {MAX_ANSWER >> 10} KiB") from None
        finally:
            answer.close()
        try:
            document = loads(body, "the answer", MAX_ANSWER)
        except (InvalidContent, LimitExceeded):  # Not chained: its words may quote the answer.
            raise self._senseless(wanted, "is no JSON object") from None
        return self._token(document, wanted), _lifetime(document, headers)

    def _exchange(self, wanted: Wanted) -> Answer:
        """Ask the realm, through redirects on its own origin."""
        headers, query, form = _request(wanted)
        url = wanted.realm.url
        if query:
            url += ("&" if "?" in url else "?") + query
        for _ in range(MAX_REDIRECTS + 1):
            answer: Answer = self._http.send("POST" if form else "GET", url, headers=headers, body=form)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            location = answer.headers.get("location", "")
            answer.close()
            url = self._redirected(wanted, location)
        raise RegistryError("the token server redirects without end", wanted.realm)

    def _redirected(self, wanted: Wanted, location: str) -> str:
        target = place(wanted.realm.origin + location if location.startswith("/") and location[1:2] != "/" else location)
        posted = wanted.credential is not None and wanted.credential.identity_token
        if target is None or target.origin != wanted.realm.origin or posted:
            raise RegistryError("the token server redirects elsewhere, which is not followed", wanted.realm)
        return target.url

    def _check(self, status: int, wanted: Wanted) -> None:
        """Raise for anything but a 200."""
        if status == 200:
            return
        if status in (401, 403):
            raise refused(self._domain, wanted.credential)
        if status == 429 or status >= 500:
            raise RegistryUnavailable(f"the token server answers with status {status}", wanted.realm, "try again later")
        raise RegistryError(f"the token server answers with status {status}", wanted.realm)

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


def refused(domain: str, credential: object) -> LaminaError:
    """What is said when somebody, or nobody, is not let in."""
    command = "lamina login" + ("" if domain == "docker.io" else f" {domain}")
    if credential is None:
        return Unauthorized(f"{domain} asks for a login", hint=f"log in with `{command}`")
    return Unauthorized(f"{domain} refuses the stored credentials", hint=f"log in again with `{command}`")


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


def _lifetime(document: Mapping[str, object], headers: Mapping[str, str]) -> float:
    """Seconds from now for which the token may be used.

    `issued_at` is held against the answer's own Date: this machine's clock may be wrong, and that must not matter.
    """
    told = document.get("expires_in")
    lifetime = LIFETIME
    if isinstance(told, (int, float)) and not isinstance(told, bool) and told > 0:
        lifetime = min(float(told), MAX_LIFETIME)
    now, issued = _date(headers.get("date", "")), _moment(document.get("issued_at"))
    age = max(0.0, (now - issued).total_seconds()) if now and issued else 0.0
    return max(MIN_LIFETIME, lifetime - age - MARGIN)


def _date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text[:64]))
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(text: object) -> datetime | None:
    """An RFC 3339 time."""
    try:
        return _aware(datetime.fromisoformat(text[:64])) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
