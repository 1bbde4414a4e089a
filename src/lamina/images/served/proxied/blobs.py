"""Blobs: of the store, or of the registry behind, and then the store's from then on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.content import Reader
from lamina.digest import Digest
from lamina.images.served.proxied.fetching import Fetches
from lamina.images.served.proxied.memory import FRESH, Recent
from lamina.images.served.proxied.upstream import FAILURES, Upstream, refused
from lamina.oci import Descriptor
from lamina.registry.server.contents import Stored
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.routes import Claims, Place


class Blobs:
    """Of one store.  For several threads.  `largest`: bytes of one that is fetched (0: any number)."""

    def __init__(self, own: StoreContents, claims: Claims, upstream: Upstream, fetches: Fetches, largest: Callable[[], int],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._own, self._claims, self._upstream, self._fetches, self._largest = own, claims, upstream, fetches, largest
        self._seen: Recent[tuple[str, str], Descriptor] = Recent(1024, FRESH, clock)

    def get(self, place: Place, digest: Digest) -> Stored:
        """Here, or there; `BLOB_UNKNOWN`."""
        place = self._claims.blobs(place)
        kept = self._kept(place, digest)
        if kept is not None:
            return kept
        fetch = self._fetches.running(place, digest)
        found = fetch.blob if fetch is not None else self._look(place, digest)
        return Stored(digest, found.size)

    def open(self, place: Place, digest: Digest, start: int, stop: int) -> Reader:
        """Bytes of it, that may still be on their way."""
        place = self._claims.blobs(place)

        def kept() -> Reader:
            return self._own.open_blob(place.blobs, digest, start, stop)

        if self._kept(place, digest) is not None:
            return kept()
        fetch = self._fetches.running(place, digest)
        if fetch is None:
            blob = self._look(place, digest)
            if self._kept(place, digest) is not None:
                return kept()
            source = self._upstream.target(place)
            fetch = self._fetches.start(place, blob, lambda: source.fetch(blob))
        if stop > fetch.blob.size:
            raise Refusal("BLOB_UNKNOWN", "its size has changed")
        return self._fetches.follow(fetch, start, stop, kept)

    def _kept(self, place: Place, digest: Digest) -> Stored | None:
        """What came from there, and is here."""
        try:
            return self._own.blob(place.blobs, digest)
        except Refusal:
            return None

    def _look(self, place: Place, digest: Digest) -> Descriptor:
        """Ask for it there; what the store has from somewhere else need not be fetched then."""
        found = self._seen.get((place.name, digest))
        if found is None:
            try:
                found = self._upstream.ask(place, lambda source: source.blob(digest))
            except FAILURES as error:
                raise refused(error, "BLOB_UNKNOWN", digest) from error
            self._seen.put((place.name, digest), found)
        if 0 < self._largest() < found.size:
            raise Refusal("DENIED", f"the blob has {found.size} bytes, at most {self._largest()} are fetched")
        row = self._own.store.catalog.blob(digest)
        if row is not None and row.size == found.size:
            self._own.store.link(place.linked, row.digest)
        return found
