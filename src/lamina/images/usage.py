"""`system df`, `gc` and `verify`, told by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.images.listing import ImageSummary, summarize
from lamina.images.names import find, short_id
from lamina.images.records import read_view
from lamina.images.view import Entry, View

if TYPE_CHECKING:
    from lamina.content.progress import Progress
    from lamina.store import BlobStore
    from lamina.store.usage import Usage


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """Plain bytes of the distinct chunks of an image: those that others have too, and its own."""

    summary: ImageSummary
    shared: int
    unique: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The store as a whole (see `lamina.store.usage.Usage`), and each image, the newest first."""

    total: Usage
    images: list[ImageUsage]


@dataclass(frozen=True, slots=True)
class Damage:
    """What does not check out, where, the digests it spoils, and the images (names, or ids) that have them."""

    what: str
    where: str
    digests: tuple[str, ...]
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """`images`: names of all images touched by damage, in order."""

    bytes_read: int
    blobs: int
    problems: list[Damage]

    @property
    def images(self) -> list[str]:
        return sorted({name for problem in self.problems for name in problem.images})


def disk_usage(store: BlobStore) -> DiskUsage:
    """Exact figures, by streaming over all recipes."""
    total = store.usage()
    view = read_view(store)
    entries = sorted(view.entries.values(), key=lambda entry: (entry.image.age, entry.image.id), reverse=True)
    rows = []
    for entry in entries:
        shared, unique = total.image_usage.get(entry.image.manifest, (0, 0))
        rows.append(ImageUsage(summarize(view, entry.image), shared, unique))
    return DiskUsage(total, rows)


def verify(store: BlobStore, words: Sequence[str] = (), progress: Progress | None = None) -> VerifyResult:
    """Read back all that is stored, or what the images lead to, and check it."""
    view = read_view(store)
    digests = None
    if words:
        found = [find(view, word) for word in words]
        digests = store.catalog.reachable_from(
            one.root.digest if one.named and one.root else one.image.manifest for one in found)
    checked = store.verify(digests, progress)
    owners = _owners(store, view) if checked.problems else {}
    problems = [
        Damage(one.what, one.where, tuple(one.digests),
               tuple(sorted({name for digest in one.digests for name in owners.get(digest, ())})))
        for one in checked.problems]
    return VerifyResult(checked.bytes_read, checked.blobs, problems)


def _owners(store: BlobStore, view: View) -> dict[str, set[str]]:
    """Digest -> the images that lead to it."""
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in view.entries.values():
        for digest in store.catalog.reachable_from(root.digest for root in entry.roots):
            owners[digest].update(_names(entry))
    return owners


def _names(entry: Entry) -> list[str]:
    return [root.reference.familiar() for root in entry.names if root.reference] or [short_id(entry.image.id)]
