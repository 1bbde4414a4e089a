"""Tags and referrers: those there are at the registry behind; while it is away, those that are kept."""

from __future__ import annotations

import bisect
import itertools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lamina.digest import Digest
from lamina.images.served.proxied.memory import FRESH, Recent
from lamina.images.served.proxied.upstream import FAILURES, Upstream, refused
from lamina.oci import Descriptor
from lamina.registry.server.refusal import Refusal

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.proxied.routes import Claims, Place

log = logging.getLogger(__name__)

TAGS: Final = 400_000  # of one repository that are listed: some 30 MB


class Lists:
    """Of one store.  For several threads.  What is given comes with whether it is of what is kept alone."""

    def __init__(self, own: StoreContents, claims: Claims, upstream: Upstream,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._own, self._claims, self._upstream = own, claims, upstream
        self._tags: Recent[str, list[str]] = Recent(8, FRESH, clock)
        self._referrers: Recent[tuple[str, str], list[Descriptor]] = Recent(256, FRESH, clock)

    def tags(self, place: Place, after: str, limit: int) -> tuple[list[str], bool]:
        """Tags above `after`, at most `limit`; `NAME_UNKNOWN`."""
        found = self._tags.get(place.name)
        if found is None:
            try:
                found = self._upstream.ask(place, lambda source: sorted(itertools.islice(source.tags(), TAGS)))
            except FAILURES as error:
                return self._kept_tags(place, after, limit, error), True
            if not found:
                raise Refusal("NAME_UNKNOWN", place.name)
            self._tags.put(place.name, found)
        at = bisect.bisect_right(found, after) if after else 0
        return found[at : at + limit], False

    def _kept_tags(self, place: Place, after: str, limit: int, error: Exception) -> list[str]:
        if not self._claims.has(place):
            raise refused(error, "NAME_UNKNOWN", place.name) from error
        try:
            return self._own.tags(place.own, after, limit)
        except Refusal:
            raise refused(error, "NAME_UNKNOWN", place.name) from error

    def referrers(self, place: Place, digest: Digest) -> tuple[list[Descriptor], bool]:
        """What has that digest as its subject."""
        found = self._referrers.get((place.name, digest))
        if found is None:
            subject = Descriptor("", digest, 0)
            try:
                found = self._upstream.ask(place, lambda source: list(source.referrers(subject)))
            except FAILURES as error:
                log.warning("%s: referrers: %s", place.name, error)
                return (self._own.referrers(place.own, digest) if self._claims.has(place) else []), True
            self._referrers.put((place.name, digest), found)
        return found, False
