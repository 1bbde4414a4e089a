"""What a registry server serves where some repositories come from other registries: a `Contents` before the store's own.

A tag is asked for there again after `FRESH` seconds, by HEAD; what has a digest is fetched once.  While the other registry is
away or refuses, what is kept is served, with a `Warning`.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from lamina.content import Reader
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.images.served.proxied.fetching import Fetches
from lamina.images.served.proxied.keeping import Keeper
from lamina.images.served.proxied.memory import Alone, Recent
from lamina.images.served.proxied.routes import Claims, Place, Routes
from lamina.images.served.proxied.upstream import FAILURES, SLOTS, Source, Upstream, refused
from lamina.oci import Descriptor
from lamina.registry.server.contents import Document, Stored
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.routes import MANIFEST, Call

if TYPE_CHECKING:
    from lamina.images.remotes import Network
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.uploads import Upload

log = logging.getLogger(__name__)

FRESH: Final = 60.0  # seconds in which a tag, or a list, is not asked for again
TAGS: Final = 400_000  # of one repository that are listed
_STALE: Final = "the registry that this comes from cannot be asked: it may have something newer"


class Proxied:
    """A `Contents`.  `proxies` are those of the configuration now: (first part of names, origin).

    `slots`: threads that wait for other registries at once; `largest`: bytes of a blob that is fetched (0: any number).
    """

    def __init__(self, own: StoreContents, proxies: Callable[[], Sequence[tuple[str, str]]],
                 connect: Callable[[], Network], *, clock: Callable[[], float] = time.monotonic, slots: int = SLOTS,
                 largest: Callable[[], int] = lambda: 0) -> None:
        self._own, self._proxies, self._largest = own, proxies, largest
        self._routed = tuple(proxies())
        self._routes = Routes(self._routed)
        self._claims = Claims(own.store)
        self._upstream = Upstream(connect, clock=clock, slots=slots)
        self._keeper = Keeper(own, self._claims, own.compression, clock)
        self._fetches = Fetches(own, self._keeper.complete)
        self._alone = Alone()
        self._tags: Recent[tuple[str, str], Digest] = Recent(65_536, FRESH, clock)
        self._lists: Recent[str, list[str]] = Recent(8, FRESH, clock)
        self._referrers: Recent[tuple[str, str], list[Descriptor]] = Recent(256, FRESH, clock)
        self._blobs: Recent[tuple[str, str], Descriptor] = Recent(1024, FRESH, clock)
        self._stale: Recent[tuple[str, str], str] = Recent(4096, FRESH, clock)

    def warnings(self, call: Call) -> list[str]:
        """What `app.Service` says in `Warning` headers."""
        found = self._stale.get((call.repository, call.reference if call.kind == MANIFEST else call.kind))
        return [found] if found is not None else []

    def _place(self, repository: str) -> Place | None:
        """Where it comes from, by the configuration of now."""
        now = self._proxies()
        if now is not self._routed and tuple(now) != self._routed:
            self._routed = tuple(now)
            self._routes = Routes(self._routed)
        return self._routes.find(repository)

    def _ours(self, repository: str, unknown: str) -> None:
        """Refuse one whose name in the store is a proxied repository's."""
        twin = self._routes.twin(repository)
        if twin is not None and self._claims.claimed(twin):
            raise Refusal(unknown, f"it is kept here as {twin}")

    # -- manifests

    def manifest(self, repository: str, reference: str) -> Document:
        """By tag or digest."""
        place = self._place(repository)
        if place is None:
            self._ours(repository, "MANIFEST_UNKNOWN")
            return self._own.manifest(repository, reference)
        with self._alone.at((place.name, reference)):
            if ":" in reference:
                found = self._by_digest(place, Digest(reference))
            else:
                found = self._by_tag(place, repository, reference)
        self._keeper.note(found.digest)
        return found

    def _kept(self, place: Place, digest: Digest) -> Document | None:
        if not self._claims.has(place):
            return None
        try:
            return self._own.manifest(place.name, digest)
        except Refusal:
            return None

    def _by_digest(self, place: Place, digest: Digest) -> Document:
        kept = self._kept(place, digest)
        if kept is not None:
            return kept
        try:
            return self._upstream.ask(place, lambda source: self._fetch(place, source, digest))
        except FAILURES as error:
            raise refused(error, "MANIFEST_UNKNOWN", digest) from error

    def _fetch(self, place: Place, source: Source, digest: Digest) -> Document:
        found, data = source.manifest(digest)
        self._keeper.keep(place, source, found, data)
        return Document(found.digest, found.media_type, data)

    def _by_tag(self, place: Place, repository: str, tag: str) -> Document:
        key = place.name, tag
        known = self._tags.get(key)
        kept = self._kept(place, known) if known is not None else None
        if kept is not None:
            return kept
        try:
            found = self._upstream.ask(place, lambda source: self._ask_tag(place, source, tag))
        except FAILURES as error:
            kept = self._last(place, tag)
            if kept is None:
                raise refused(error, "MANIFEST_UNKNOWN", tag) from error
            self._stale.put((repository, tag), _STALE)
            return kept
        self._stale.drop((repository, tag))
        if found is None:
            self._tags.drop(key)
            raise Refusal("MANIFEST_UNKNOWN", tag)
        self._tags.put(key, found.digest)
        self._keeper.name(place, tag, found.digest)
        return found

    def _ask_tag(self, place: Place, source: Source, tag: str) -> Document | None:
        """HEAD, which costs nothing where requests are counted; the manifest only if it is not here."""
        there = source.head(tag)
        if there is None:
            return None
        return self._kept(place, there.digest) or self._fetch(place, source, there.digest)

    def _last(self, place: Place, tag: str) -> Document | None:
        """Where a tag led when it was last known."""
        digest = self._keeper.named(place, tag)
        return self._kept(place, digest) if digest is not None else None

    def put_manifest(self, repository: str, document: Document, tags: Sequence[str]) -> None:
        """Into a repository of ours."""
        self._refuse_push(repository)
        self._own.put_manifest(repository, document, tags)

    def _refuse_push(self, repository: str) -> None:
        if self._place(repository) is not None:
            raise Refusal("UNSUPPORTED", "the repository comes from another registry: push to that")
        twin = self._routes.twin(repository)
        if twin is not None and not self._claims.lapse(twin):
            raise Refusal("DENIED", f"what is kept of {twin} has this name here")

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """What is kept here."""
        self._before_deleting(repository, "MANIFEST_UNKNOWN")
        self._own.delete_manifest(repository, digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """What is kept here."""
        place = self._before_deleting(repository, "MANIFEST_UNKNOWN")
        if place is not None:
            self._tags.drop((place.name, tag))
        self._own.delete_tag(repository, tag)

    def _before_deleting(self, repository: str, unknown: str) -> Place | None:
        place = self._place(repository)
        if place is None:
            self._ours(repository, unknown)
        elif not self._claims.has(place):
            raise Refusal(unknown, "nothing of it is kept")
        return place

    # -- lists

    def repositories(self, after: str, limit: int) -> list[str]:
        """What is kept of others, too, by the names that it can be asked for by."""
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
        place = self._place(repository)
        if place is None:
            self._ours(repository, "NAME_UNKNOWN")
            return self._own.tags(repository, after, limit)
        found = self._lists.get(place.name)
        if found is None:
            try:
                found = self._upstream.ask(place, lambda source: sorted(itertools.islice(source.tags(), TAGS)))
            except FAILURES as error:
                return self._kept_tags(place, repository, after, limit, error)
            if not found:
                raise Refusal("NAME_UNKNOWN", repository)
            self._lists.put(place.name, found)
        self._stale.drop((repository, "tags"))
        at = bisect.bisect_right(found, after) if after else 0
        return found[at : at + limit]

    def _kept_tags(self, place: Place, repository: str, after: str, limit: int, error: Exception) -> list[str]:
        if not self._claims.has(place):
            raise refused(error, "NAME_UNKNOWN", repository) from error
        try:
            found = self._own.tags(place.name, after, limit)
        except Refusal:
            raise refused(error, "NAME_UNKNOWN", repository) from error
        self._stale.put((repository, "tags"), _STALE)
        return found

    def referrers(self, repository: str, digest: Digest) -> list[Descriptor]:
        """Those there are there; else those that are kept."""
        place = self._place(repository)
        if place is None:
            self._ours(repository, "NAME_UNKNOWN")
            return self._own.referrers(repository, digest)
        found = self._referrers.get((place.name, digest))
        if found is None:
            subject = Descriptor("", digest, 0)
            try:
                found = self._upstream.ask(place, lambda source: list(source.referrers(subject)))
            except FAILURES as error:
                log.warning("%s: referrers: %s", repository, error)
                self._stale.put((repository, "referrers"), _STALE)
                return self._own.referrers(place.name, digest) if self._claims.has(place) else []
            self._referrers.put((place.name, digest), found)
        self._stale.drop((repository, "referrers"))
        return found

    # -- blobs

    def blob(self, repository: str, digest: Digest) -> Stored:
        """Here, or there."""
        place = self._place(repository)
        if place is None:
            self._ours(repository, "BLOB_UNKNOWN")
            return self._own.blob(repository, digest)
        place = self._claims.blobs(place)
        kept = self._kept_blob(place, digest)
        if kept is not None:
            return kept
        fetch = self._fetches.running(place, digest)
        found = fetch.blob if fetch is not None else self._look(place, digest)
        return Stored(digest, found.size)

    def _kept_blob(self, place: Place, digest: Digest) -> Stored | None:
        """What came from there, and is here."""
        try:
            return self._own.blob(place.blobs, digest)
        except Refusal:
            return None

    def _look(self, place: Place, digest: Digest) -> Descriptor:
        """Ask for it there; what the store has from somewhere else need not be fetched then."""
        found = self._blobs.get((place.name, digest))
        if found is None:
            try:
                found = self._upstream.ask(place, lambda source: source.blob(digest))
            except FAILURES as error:
                raise refused(error, "BLOB_UNKNOWN", digest) from error
            self._blobs.put((place.name, digest), found)
        if 0 < self._largest() < found.size:
            raise Refusal("DENIED", f"the blob has {found.size} bytes, at most {self._largest()} are fetched")
        row = self._own.store.catalog.blob(digest)
        if row is not None and row.size == found.size:
            self._own.store.link(place.blobs, row.digest)
        return found

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> Reader:
        """Bytes of it, that may still be on their way."""
        place = self._place(repository)
        if place is None:
            self._ours(repository, "BLOB_UNKNOWN")
            return self._own.open_blob(repository, digest, start, stop)
        place = self._claims.blobs(place)
        name = place.blobs

        def kept() -> Reader:
            return self._own.open_blob(name, digest, start, stop)

        if self._kept_blob(place, digest) is not None:
            return kept()
        fetch = self._fetches.running(place, digest)
        if fetch is None:
            blob = self._look(place, digest)
            if self._kept_blob(place, digest) is not None:
                return kept()
            source = self._upstream.target(place)
            fetch = self._fetches.start(place, blob, lambda: source.fetch(blob))
        if stop > fetch.blob.size:
            raise Refusal("BLOB_UNKNOWN", "its size has changed")
        return self._fetches.follow(fetch, start, stop, kept)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """What is kept here."""
        self._before_deleting(repository, "BLOB_UNKNOWN")
        self._own.delete_blob(repository, digest)

    # -- uploads

    def mount(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> Stored | None:
        """Into a repository of ours, also from what is kept of others."""
        self._refuse_push(repository)
        if source is not None and self._has_no(source):
            return None
        return self._own.mount(repository, digest, source, lambda name: may_pull(name) and not self._has_no(name))

    def _has_no(self, source: str) -> bool:
        """Whether a repository has nothing to mount from by that name."""
        place = self._place(source)
        if place is None:
            twin = self._routes.twin(source)
            return twin is not None and self._claims.claimed(twin)
        return not self._claims.has(place)

    def begin_upload(self, repository: str) -> str:
        """In a repository of ours."""
        self._refuse_push(repository)
        return self._own.begin_upload(repository)

    def upload(self, repository: str, upload_id: str) -> AbstractContextManager[Upload]:
        """In a repository of ours."""
        if self._place(repository) is not None:
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
