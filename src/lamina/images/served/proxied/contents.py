"""What a registry server serves where some repositories come from other registries: a `Contents` before the store's own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from lamina.content import Reader
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.images.served.proxied.blobs import Blobs
from lamina.images.served.proxied.fetching import Fetches
from lamina.images.served.proxied.keeping import Keeper
from lamina.images.served.proxied.lists import Lists
from lamina.images.served.proxied.manifests import Manifests
from lamina.images.served.proxied.memory import FRESH, Recent
from lamina.images.served.proxied.routes import Claims, Place, Routes
from lamina.images.served.proxied.upstream import SLOTS, Upstream
from lamina.oci import Descriptor
from lamina.registry.server.contents import Document, Stored
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import MANIFEST, REFERRERS, TAGS, Call

if TYPE_CHECKING:
    from lamina.images.remotes import Network
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.uploads import Upload

log = logging.getLogger(__name__)

_OLD: Final = "the registry that this comes from cannot be asked: it may have something newer"


class Proxied:
    """A `Contents`.  `proxies` are those of the configuration now: (first part of names, origin).

    `slots`: threads that wait for other registries at once; `largest`: bytes of a blob that is fetched (0: any number).
    """

    def __init__(self, own: StoreContents, proxies: Callable[[], Sequence[tuple[str, str]]],
                 connect: Callable[[], Network], *, clock: Callable[[], float] = time.monotonic, slots: int = SLOTS,
                 largest: Callable[[], int] = lambda: 0) -> None:
        self._own, self._proxies = own, proxies
        self._routed = tuple(proxies())
        self._routes = Routes(self._routed)
        self._claims = claims = Claims(own.store)
        self._upstream = upstream = Upstream(connect, clock=clock, slots=slots)
        keeper = Keeper(own, claims, own.compression)
        self._fetches = Fetches(own, keeper.complete)
        self._manifests = Manifests(own, claims, upstream, keeper, clock)
        self._lists = Lists(own, claims, upstream, clock)
        self._blobs = Blobs(own, claims, upstream, self._fetches, largest, clock)
        self._old: Recent[tuple[str, str], bool] = Recent(4096, FRESH, clock)

    # -- whose a repository is

    def _place(self, repository: str, unknown: str) -> Place | None:
        """Where it comes from, by the configuration of now; None: it is ours.

        Refused with `unknown` where its name in the store is a proxied repository's.
        """
        place = self._find(repository)
        twin = self._routes.twin(repository) if place is None else None
        if twin is not None and self._claims.claimed(twin):
            raise Refusal(unknown, f"it is kept here as {twin}")
        return place

    def _find(self, repository: str) -> Place | None:
        now = self._proxies()
        if now is not self._routed and tuple(now) != self._routed:
            self._routed = tuple(now)
            self._routes = Routes(self._routed)
        return self._routes.find(repository)

    def _refuse_push(self, repository: str) -> None:
        if self._find(repository) is not None:
            raise Refusal("UNSUPPORTED", "the repository comes from another registry: push to that")
        twin = self._routes.twin(repository)
        if twin is not None and not self._claims.lapse(twin):
            raise Refusal("DENIED", f"what is kept of {twin} has this name here")

    def _may_take_away(self, repository: str, unknown: str) -> Place | None:
        place = self._place(repository, unknown)
        if place is not None and not self._claims.has(place):
            raise Refusal(unknown, "nothing of it is kept")
        return place

    def _has_no(self, source: str) -> bool:
        """Whether a repository has nothing to mount from by that name."""
        place = self._find(source)
        if place is not None:
            return not self._claims.has(place)
        twin = self._routes.twin(source)
        return twin is not None and self._claims.claimed(twin)

    # -- what may be old

    def warnings(self, call: Call) -> list[str]:
        """What `app.Service` says in `Warning` headers."""
        word = call.reference if call.kind == MANIFEST else call.kind
        return [_OLD] if self._old.get((call.repository, word)) else []

    def _note(self, repository: str, word: str, old: bool) -> None:
        if old:
            self._old.put((repository, word), True)
        else:
            self._old.drop((repository, word))

    # -- manifests

    def manifest(self, repository: str, reference: str) -> Document:
        """By tag or digest."""
        place = self._place(repository, "MANIFEST_UNKNOWN")
        if place is None:
            return self._own.manifest(repository, reference)
        found, old = self._manifests.get(place, reference)
        self._note(repository, reference, old)
        return found

    def put_manifest(self, repository: str, document: Document, tags: Sequence[str]) -> None:
        """Into a repository of ours."""
        self._refuse_push(repository)
        self._own.put_manifest(repository, document, tags)

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Here alone."""
        place = self._may_take_away(repository, "MANIFEST_UNKNOWN")
        self._own.delete_manifest(place.own if place is not None else repository, digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Here alone."""
        place = self._may_take_away(repository, "MANIFEST_UNKNOWN")
        if place is not None:
            self._manifests.forget(place, tag)
        self._own.delete_tag(place.own if place is not None else repository, tag)

    # -- lists

    def repositories(self, after: str, limit: int) -> list[str]:
        """What is kept of others, too, but for what cannot be asked for by the name that it has here."""
        found: list[str] = []
        while len(found) < limit:
            names = self._own.repositories(after, limit)
            found += [one for one in names if (twin := self._routes.twin(one)) is None or not self._claims.claimed(twin)]
            if len(names) < limit:
                break
            after = names[-1]
        return found[:limit]

    def tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Those there are there; else those that are kept."""
        place = self._place(repository, "NAME_UNKNOWN")
        if place is None:
            return self._own.tags(repository, after, limit)
        found, old = self._lists.tags(place, after, limit)
        self._note(repository, TAGS, old)
        return found

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """Those there are there; else those that are kept."""
        place = self._place(repository, "NAME_UNKNOWN")
        if place is None:
            return self._own.referrers(repository, digest)
        found, old = self._lists.referrers(place, digest)
        self._note(repository, REFERRERS, old)
        return found

    # -- blobs

    def blob(self, repository: str, digest: Digest) -> Stored:
        """Here, or there."""
        place = self._place(repository, "BLOB_UNKNOWN")
        return self._own.blob(repository, digest) if place is None else self._blobs.get(place, digest)

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> Reader:
        """Bytes of it, that may still be on their way."""
        place = self._place(repository, "BLOB_UNKNOWN")
        if place is None:
            return self._own.open_blob(repository, digest, start, stop)
        return self._blobs.open(place, digest, start, stop)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Here alone."""
        place = self._may_take_away(repository, "BLOB_UNKNOWN")
        self._own.delete_blob(place.own if place is not None else repository, digest)

    # -- uploads

    def mount(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> Stored | None:
        """Into a repository of ours, also from what is kept of others."""
        self._refuse_push(repository)
        if source is not None:
            if self._has_no(source):
                return None
            place = self._find(source)
            if place is not None and may_pull(source):
                return self._own.mount(repository, digest, place.own, lambda _: True)
        return self._own.mount(repository, digest, source, lambda name: may_pull(name) and not self._has_no(name))

    def begin_upload(self, repository: str) -> str:
        """In a repository of ours."""
        self._refuse_push(repository)
        return self._own.begin_upload(repository)

    def upload(self, repository: str, upload_id: str) -> AbstractContextManager[Upload]:
        """In a repository of ours."""
        if self._find(repository) is not None:
            raise Refusal("BLOB_UPLOAD_UNKNOWN")
        return self._own.upload(repository, upload_id)

    # -- upkeep

    def close(self) -> None:
        """End what is being fetched; the store's own contents are closed by who has them."""
        self._fetches.close()
        try:
            self._upstream.close()
        except LaminaError as error:
            log.warning("%s", error)
