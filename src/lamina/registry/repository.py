"""One repository of a registry: the verbs of the distribution specification 1.1 (and of Docker's v2 before it).

Reading goes to the mirrors first and to the registry itself last; writing, and all that asks whether to write, to the
registry itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from lamina.digest import Digest
from lamina.errors import InvalidContent, LimitExceeded, NotFound, RegistryError, RegistryUnavailable
from lamina.oci import MAX_BYTES, Descriptor, loads
from lamina.reference import Reference, is_tag
from lamina.registry.auth import Scope
from lamina.registry.backoff import pause
from lamina.registry.documents import ACCEPT, check_head, content_length, describe, from_head, same
from lamina.registry.following import located, next_page, pages
from lamina.registry.origins import origin_of
from lamina.registry.reading import Opener

if TYPE_CHECKING:
    from lamina.registry.client import Client
    from lamina.registry.http import Response
    from lamina.registry.timings import Timings

T = TypeVar("T")

# Tags of one repository that are listed; the largest known have about 300,000.
MAX_TAGS = 1_000_000
_PAGE = 1000
# Addresses of a foreign layer that are tried.
_FOREIGN = 4
# HEAD of a blob: a redirect says that it is there.  It is not followed: signed URLs are often good for GET alone.
_THERE = (200, 301, 302, 303, 307, 308)
_IDENTITY = {"Accept-Encoding": "identity"}


class Repository:
    """The repository `reference.path` at `clients`: mirrors, then the registry itself.  Thread-safe as the clients are."""

    def __init__(self, reference: Reference, clients: Sequence[Client], timings: Timings) -> None:
        self.reference, self._timings = Reference(reference.domain, reference.path), timings
        self._clients, self._registry = list(clients), clients[-1]
        self._down: set[Client] = set()
        self.name, self.path = reference.name, reference.path
        self.base = self._registry.endpoint.base
        self.attempts = timings.attempts

    # -- reading

    def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """GET of a manifest by tag or digest, checked as `documents.describe` says; `NotFound`, `LimitExceeded`."""
        return self._first(lambda client: self._manifest(client, reference))

    def own_manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """The same of the registry itself, to be changed or tagged there."""
        return self._manifest(self._registry, reference)

    def head_manifest(self, reference: str) -> Descriptor | None:
        """HEAD of a manifest at the registry itself or, where it cannot be reached, at its mirrors; None: it has none."""
        return self._last(lambda client: self._head_manifest(client, reference))

    def own_head_manifest(self, reference: str) -> Descriptor | None:
        """The same of the registry itself, before something is pushed."""
        return self._head_manifest(self._registry, reference, push=True)

    def places(self, digest: Digest) -> tuple[list[Opener], int | None]:
        """Where the blob can be read, the first being one that has it, and its size where that is known; `NotFound`."""
        for number, client in enumerate(self._clients):
            last = client is self._registry
            if client in self._down and not last:
                continue
            try:
                found, size = self._head_blob(client, digest, push=False)
            except (RegistryError, InvalidContent) as error:
                if last:
                    raise
                self._note(client, error)
                continue
            if found:
                return [self._opener(one, digest) for one in self._clients[number:]], size
        raise NotFound("no such blob in the repository", f"{self.name}@{digest}")

    def opener(self, digest: Digest) -> list[Opener]:
        """Where a blob can be read that is known to be in the registry itself."""
        return [self._opener(self._registry, digest)]

    def foreign(self, urls: Sequence[str]) -> list[Opener]:
        """Where a layer may be had that is not the registry's to give (`urls`), as far as it is not known to be gone.

        Without credentials: what is at the registry's own origin is left out, it would have been found there.
        """
        found = []
        for url in urls[:_FOREIGN]:
            try:
                if origin_of(url) == origin_of(self._registry.base):
                    continue
                self._registry.send("HEAD", url, scope=Scope(), headers=_IDENTITY, expect=(*_THERE, 401, 403, 405)).close()
            except (RegistryError, NotFound):
                continue
            found.append(self._elsewhere(url))
        return found

    def head_blob(self, digest: Digest) -> tuple[int | None] | None:
        """None: the registry itself has it not; else its size where that is told."""
        found, size = self._head_blob(self._registry, digest, push=True)
        return (size,) if found else None

    def tags(self) -> Iterator[str]:
        """All tags, page by page; `InvalidContent` for one that is none, `LimitExceeded` beyond `MAX_TAGS`.

        A repository that the registry does not know has none.
        """
        def ask(url: str) -> tuple[list[str], str | None]:
            return self._last(lambda client: self._tag_page(client, url))
        return pages(f"/v2/{self.path}/tags/list?n={_PAGE}", ask, "tags", self.name, MAX_TAGS)

    def referrers_page(self, url: str) -> tuple[bytes, Mapping[str, str], str | None] | None:
        """One page of the referrers API, its headers and the URL of the next; None where there is no such API."""
        def ask(client: Client) -> tuple[bytes, Mapping[str, str], str | None] | None:
            with client.send("GET", url, scope=self._scope(False), headers={"Accept": ACCEPT},
                             expect=(200, 400, 404, 405, 501)) as answer:
                if answer.status != 200:
                    return None
                check_head(answer.headers, self.name)
                return answer.body(MAX_BYTES), answer.headers, next_page(answer, self.name)
        return self._last(ask)

    # -- writing

    def put_manifest(self, reference: str, media_type: str, digest: Digest, data: bytes) -> Mapping[str, str]:
        """PUT of a manifest by tag or digest; the answer's headers.  `DigestMismatch` where another was stored."""
        with self.write("PUT", f"manifests/{reference}", headers={"Content-Type": media_type}, body=data,
                        expect=(201, 200, 202), idempotent=True) as answer:
            same(digest, answer.headers, f"{self.name}@{digest}")
            return answer.headers

    def write(self, method: str, target: str, *, expect: Collection[int], headers: Mapping[str, str] | None = None,
              body: bytes | memoryview | None = None, idempotent: bool | None = None,
              also: tuple[str, ...] = ()) -> Response:
        """One request to the registry itself with the right to push; `target` is below the repository, or a URL."""
        url = target if "://" in target else f"/v2/{self.path}/{target}"
        return self._registry.send(method, url, scope=self._scope(True, also), headers=headers, body=body,
                                   expect=expect, idempotent=idempotent)

    def pause(self, failures: int) -> None:
        """Wait, longer after each failure (`backoff`)."""
        self._timings.sleep(pause(failures - 1, {}, self._timings))

    def located(self, url: str, location: str) -> str:
        """Where an answer of `url` sends us on."""
        return located(url, location, origin_of(self._registry.base), self.name)

    # -- one client

    def _manifest(self, client: Client, reference: str) -> tuple[Descriptor, bytes]:
        where = self._where(reference)
        with client.send("GET", f"/v2/{self.path}/manifests/{reference}", scope=self._scope(False),
                         headers={"Accept": ACCEPT} | _IDENTITY) as answer:
            check_head(answer.headers, where)
            data = answer.body(MAX_BYTES)
            return describe(data, answer.headers, reference, where), data

    def _head_manifest(self, client: Client, reference: str, push: bool = False) -> Descriptor | None:
        where = self._where(reference)
        with client.send("HEAD", f"/v2/{self.path}/manifests/{reference}", scope=self._scope(push),
                         headers={"Accept": ACCEPT} | _IDENTITY, expect=(200, 404)) as answer:
            if answer.status == 404:
                return None
            found = from_head(answer.headers, where)
        return found or self._manifest(client, reference)[0]

    def _head_blob(self, client: Client, digest: Digest, push: bool) -> tuple[bool, int | None]:
        with client.send("HEAD", f"/v2/{self.path}/blobs/{digest}", scope=self._scope(push), headers=_IDENTITY,
                         expect=(*_THERE, 404)) as answer:
            return answer.status != 404, content_length(answer.headers) if answer.status == 200 else None

    def _opener(self, client: Client, digest: Digest) -> Opener:
        def get(offset: int, end: int | None = None) -> Response:
            return client.send("GET", f"/v2/{self.path}/blobs/{digest}", scope=self._scope(False),
                               headers=_range(offset, end), expect=(200, 206, 416))
        return get

    def _elsewhere(self, url: str) -> Opener:
        def get(offset: int, end: int | None = None) -> Response:
            return self._registry.send("GET", url, scope=Scope(), headers=_range(offset, end), expect=(200, 206, 416))
        return get

    def _tag_page(self, client: Client, url: str) -> tuple[list[str], str | None]:
        with client.send("GET", url, scope=self._scope(False), expect=(200, 404)) as answer:
            if answer.status == 404:
                return [], None
            check_head(answer.headers, self.name)
            found = loads(answer.body(MAX_BYTES), "list of tags", where=self.name).get("tags") or []
            following = next_page(answer, self.name)
        if not isinstance(found, list):
            raise InvalidContent("list of tags is none", self.name)
        return [self._tag(one) for one in found], following

    def _tag(self, text: object) -> str:
        if isinstance(text, str) and is_tag(text):
            return text
        raise InvalidContent(f"the registry lists a tag that is none: {str(text)[:80]!r}", self.name)

    # -- several clients

    def _first(self, ask: Callable[[Client], T]) -> T:
        """Of the first that gives it; what the registry itself says is the last word."""
        for client in self._clients[:-1]:
            if client not in self._down:
                try:
                    return ask(client)
                except (RegistryError, NotFound, InvalidContent, LimitExceeded) as error:
                    self._note(client, error)
        return ask(self._registry)

    def _last(self, ask: Callable[[Client], T]) -> T:
        """Of the registry itself, whose word is the newest; of a mirror where it cannot be reached."""
        try:
            return ask(self._registry)
        except RegistryUnavailable:
            for client in self._clients[:-1]:
                try:
                    return ask(client)
                except (RegistryError, NotFound, InvalidContent, LimitExceeded) as error:
                    self._note(client, error)
            raise

    def _note(self, client: Client, error: Exception) -> None:
        """A mirror that cannot be reached is not asked again: each time would cost all the patience there is."""
        if isinstance(error, RegistryUnavailable):
            self._down.add(client)

    def _scope(self, push: bool, also: tuple[str, ...] = ()) -> Scope:
        return Scope(self.path, ("pull", "push") if push else ("pull",), also)

    def _where(self, reference: str) -> str:
        return f"{self.name}{'@' if ':' in reference else ':'}{reference}"



def _range(offset: int, end: int | None) -> dict[str, str]:
    """The headers of a GET of a part; without any Range of the whole."""
    if not offset and end is None:
        return _IDENTITY
    return _IDENTITY | {"Range": f"bytes={offset}-{'' if end is None else end - 1}"}
