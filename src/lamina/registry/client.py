"""Requests to one registry: who we are, where it sends us, how often it is asked, and what its errors mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from lamina.errors import RegistryError, RegistryUnavailable
from lamina.registry.answers import is_page, problem
from lamina.registry.backoff import passes, pause
from lamina.registry.http import Http, Response
from lamina.registry.origins import Origin, origin_of
from lamina.registry.problems import NotReached
from lamina.registry.redirects import STATUSES, Trail, resolve
from lamina.registry.timings import Timings

if TYPE_CHECKING:
    from lamina.registry.auth import Scope
    from lamina.registry.configuration import Endpoint

# A token may have run out, and the one that follows be for too little: two further tries, no more.
_CHALLENGES = 2
# A registry that was never heard of is asked once more only: a name that is wrong stays wrong.
_FIRST_CONTACT = 2


class Authorizer(Protocol):
    """What makes the Authorization header of one endpoint (`auth.Authorizer`); `base` is that endpoint's origin."""

    base: str

    def header(self, scope: Scope) -> str | None:
        """The header's value, if there is one yet."""

    def challenged(self, headers: Mapping[str, str], scope: Scope) -> bool:
        """Told of a 401; whether it is worth another try.  `Unauthorized` when what we have was refused."""


class Client:
    """One endpoint.  Several threads may use one client."""

    def __init__(self, http: Http, endpoint: Endpoint, authorizer: Authorizer, timings: Timings | None = None) -> None:
        self.endpoint = endpoint
        self._http, self._authorizer = http, authorizer
        self._timings = timings or http.timings
        self._heard = False

    @property
    def base(self) -> str:
        """The endpoint's origin as it is spoken to; for hosts that may be plain the first call finds out which it is."""
        base = self._http.schemes.base(self.endpoint.base)
        self._authorizer.base = base
        return base

    def url(self, target: str) -> str:
        """A path, or a Location or next link of this registry, as an absolute URL; `RegistryError` where it must not lead."""
        base = self.base
        return resolve(target, f"{base}/", origin_of(base))

    def send(
        self,
        method: str,
        target: str,
        *,
        scope: Scope,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
        expect: Collection[int] = (200,),
        idempotent: bool | None = None,
    ) -> Response:
        """One request, until it has an answer with a status of `expect`; any other is an error in the registry's words.

        `target`: a path ("/v2/…") or an absolute URL.  Authorization goes to the endpoint's own origin only.  A request that
        may be repeated (`idempotent`; None: GET, HEAD, PUT, DELETE) is, when the registry cannot be reached, breaks off,
        or answers 429 or 5xx; any request is where none came through, and after 429, which did nothing.  GET and HEAD
        follow redirects; another method does on the registry's own origin only.

        `NotFound` (404), `Unauthorized`, `RegistryUnavailable`, `RegistryError`.
        """
        repeat = method not in {"POST", "PATCH"} if idempotent is None else idempotent
        attempt = 0
        while True:
            try:
                url = self.url(target)
                response, secret = self._authorized(method, url, scope, headers or {}, body, expect)
                self._heard = True
            except RegistryUnavailable as error:
                attempt += 1
                if not (repeat or isinstance(error, NotReached)) or attempt >= self._attempts(error):
                    raise
                self._timings.sleep(pause(attempt - 1, {}, self._timings))
                continue
            if response.status in expect:
                return self._checked(response, method, url)
            attempt += 1
            again = passes(response.status) and (repeat or response.status == 429)
            if not again or attempt >= self._timings.attempts:
                raise problem(response, method, login=self._login(response), secret=secret)
            response.discard()
            self._timings.sleep(pause(attempt - 1, response.headers, self._timings))

    def _attempts(self, error: RegistryUnavailable) -> int:
        first = isinstance(error, NotReached) and not self._heard
        return min(_FIRST_CONTACT, self._timings.attempts) if first else self._timings.attempts

    def _authorized(
        self, method: str, url: str, scope: Scope, headers: Mapping[str, str], body: bytes | memoryview | None,
        expect: Collection[int],
    ) -> tuple[Response, str]:
        """The answer once who we are is settled, and the Authorization that it was given for."""
        own = origin_of(self.base)
        for challenge in range(_CHALLENGES + 1):
            secret = (self._authorizer.header(scope) or "") if origin_of(url) == own else ""
            response = self._followed(method, url, own, secret, headers, body, expect)
            if response.status != 401 or 401 in expect or origin_of(response.url) != own or challenge == _CHALLENGES:
                break
            response.discard()
            if not self._authorizer.challenged(response.headers, scope):
                raise problem(response, method, login=self._login(response), secret=secret)
        return response, secret

    def _followed(
        self, method: str, url: str, own: Origin, secret: str, headers: Mapping[str, str], body: bytes | memoryview | None,
        expect: Collection[int],
    ) -> Response:
        """The answer at the end of all redirects.  Once off the registry's origin nothing is authorized any more."""
        trail = Trail(url)
        plain = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        while True:
            at_home = origin_of(url) == own
            if not at_home:
                secret = ""
            sent = {**plain, "Authorization": secret} if secret else plain
            response = self._http.send(method, url, headers=sent, body=body, foreign=not at_home)
            if response.status not in STATUSES or response.status in expect or "Location" not in response.headers:
                return response
            response.discard()
            url = self._next(method, resolve(response.headers["Location"], url, own), own, response)
            trail.step(url)

    def _next(self, method: str, url: str, own: Origin, response: Response) -> str:
        """The URL if this method may be sent there: what writes stays at home, with its method and body (RFC 9110, 15.4)."""
        if method in {"GET", "HEAD"}:
            return url
        if response.status not in {307, 308} or origin_of(url) != own:
            raise RegistryError(f"{response.host} redirects a {method} to {origin_of(url)}: not followed")
        return url

    def _checked(self, response: Response, method: str, url: str) -> Response:
        """A page with status 200 is what proxies and log-in walls answer."""
        if is_page(response) and origin_of(response.url) == origin_of(url):
            raise problem(response, method)
        return response

    def _login(self, response: Response) -> str:
        return self.endpoint.domain if origin_of(response.url) == origin_of(self.base) and not self.endpoint.mirror else ""
