"""Manifests by tag and digest: of the store where they are known and fresh, else of the registry behind.

A tag is asked for there again after `FRESH` seconds, by HEAD; what has a digest is fetched once.  While the other registry is
away or refuses, what is kept is served, and that it may be old is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.digest import Digest
from lamina.images.served.proxied.memory import FRESH, Alone, Recent
from lamina.images.served.proxied.upstream import FAILURES, Source, Upstream, refused
from lamina.registry.server.contents import Document
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.keeping import Keeper
    from lamina.images.served.proxied.routes import Claims, Place


class Manifests:
    """Of one store.  For several threads."""

    def __init__(self, own: StoreContents, claims: Claims, upstream: Upstream, keeper: Keeper,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._own, self._claims, self._upstream, self._keeper = own, claims, upstream, keeper
        self._alone = Alone()
        self._tags: Recent[tuple[str, str], Digest] = Recent(65_536, FRESH, clock)

    def get(self, place: Place, reference: str) -> tuple[Document, bool]:
        """And whether there may be something newer that cannot be asked for; `Refusal`."""
        with self._alone.at((place.name, reference)):
            return (self._by_digest(place, Digest(reference)), False) if ":" in reference else self._by_tag(place, reference)

    def forget(self, place: Place, tag: str) -> None:
        """Ask for the tag when it is wanted next."""
        self._tags.drop((place.name, tag))

    def _kept(self, place: Place, digest: Digest) -> Document | None:
        if not self._claims.has(place):
            return None
        try:
            return self._own.manifest(place.own, digest)
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

    def _by_tag(self, place: Place, tag: str) -> tuple[Document, bool]:
        key = place.name, tag
        known = self._tags.get(key)
        kept = self._kept(place, known) if known is not None else None
        if kept is not None:
            return kept, False
        try:
            found = self._upstream.ask(place, lambda source: self._ask_tag(place, source, tag))
        except FAILURES as error:
            kept = self._last(place, tag)
            if kept is None:
                raise refused(error, "MANIFEST_UNKNOWN", tag) from error
            return kept, True
        if found is None:
            self._tags.drop(key)
            raise Refusal("MANIFEST_UNKNOWN", tag)
        self._tags.put(key, found.digest)
        self._keeper.name(place, tag, found.digest)
        return found, False

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
