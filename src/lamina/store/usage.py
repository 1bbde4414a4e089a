"""Exact figures of what is shared and what things take, by streaming over recipes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lamina import oci
from lamina.errors import NotFound, StoreDamaged
from lamina.store.duplicates import find_copies
from lamina.store.marks import Labels, Marks
from lamina.store.schema import LIVE, BlobRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a store.

    `logical`: layers of all images, each as often as an image has it; `layers`: of distinct layers; `chunks`: plain bytes of
    distinct chunks in use (recipes too); `stored`: of packs; `dead`: of records in them that nothing refers to, what a
    collection of all that is unused frees (what a name that is gone led to is among it, collected or not).
    `damaged`: digests of blobs that could not be followed, and are left out.
    `image_usage`: for each image manifest, plain bytes (shared with other images, its own).
    """

    logical: int
    layers: int
    chunks: int
    stored: int
    dead: int
    image_usage: dict[str, tuple[int, int]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reclaimable:
    """`frame_bytes`: stored bytes (and headers) of frames, heads and documents that would be in use no more, to the byte what a
    collection of all that is unused then frees beyond what it frees now; `dead_bytes`: plain bytes of chunks that would be in
    use no more, in frames that stay."""

    frame_bytes: int
    dead_bytes: int


def _blob_rows(store: BlobStore, digests: Iterable[str]) -> list[BlobRow]:
    rows = [store.catalog.blob(digest) for digest in digests]
    return [row for row in rows if row is not None]


def _manifest(store: BlobStore, digest: str) -> oci.Manifest | None:
    """An edge does not tell that a layer comes twice, so it is read; None if it has been removed meanwhile."""
    try:
        return oci.parse_manifest(store.document(digest))
    except NotFound:
        if store.catalog.blob(digest) is not None:
            raise
        return None


def usage(store: BlobStore) -> Usage:
    """All figures."""
    with store.reading() as reading:
        return _usage(store, reading)


def _usage(store: BlobStore, reading: Reading) -> Usage:
    catalog = store.catalog
    owners: dict[str, set[str]] = defaultdict(set)
    logical = 0
    roots = {ref.digest for ref in catalog.refs()}
    reachable = catalog.reachable_from(roots)
    for image in catalog.images():
        if image.manifest not in reachable:
            continue
        parsed = _manifest(store, image.manifest)
        if parsed is None:
            continue
        if parsed.subject is not None and image.manifest not in roots:
            continue  # a statement about another image, not one to run
        layers = _blob_rows(store, (layer.digest for layer in parsed.layers))
        logical += sum(row.size for row in layers)
        for row in layers:
            owners[row.digest].add(image.manifest)
    labels, marks = Labels(store), Marks(store)
    layers_bytes = chunk_bytes = 0
    damaged: list[str] = []
    dropped = catalog.unreachable()
    for row in catalog.blobs():
        if row.digest in dropped:
            continue
        try:
            chunk_bytes += marks.add(reading.index, row) + (row.size if row.kind == "document" else 0)
            if row.kind != "document":
                layers_bytes += row.size
                labels.add(reading.index, row, owners[row.digest])
        except (StoreDamaged, NotFound):
            if catalog.blob(row.digest) is not None:  # else a collection has come in between
                damaged.append(row.digest)
    shared: dict[str, int] = defaultdict(int)
    unique: dict[str, int] = defaultdict(int)
    for having, size in labels.bytes_by_set():
        for manifest in having:
            (unique if len(having) == 1 else shared)[manifest] += size
    packs = catalog.packs(LIVE)
    settled = marks.settled(find_copies(store, reading.index, (pack.number for pack in packs)))
    dead = sum(settled.dead_bytes(pack.number) for pack in packs)
    images = {image.manifest: (shared[image.manifest], unique[image.manifest]) for image in catalog.images()}
    return Usage(logical, layers_bytes, chunk_bytes, sum(pack.bytes for pack in packs), dead, images, tuple(damaged))


def new_bytes(store: BlobStore, digests: Iterable[str], beside: Iterable[str]) -> int:
    """Plain bytes of the chunks that these blobs have and those beside them have not."""
    with store.reading() as reading:
        marks = Marks(store)
        for row in _blob_rows(store, beside):
            marks.add(reading.index, row)
        return sum(marks.add(reading.index, row) for row in _blob_rows(store, digests))


def reclaimable(store: BlobStore, names: Iterable[str]) -> Reclaimable:
    """What would be free if these names were gone."""
    gone = set(names)
    catalog = store.catalog
    with store.reading() as reading:
        held = catalog.held()
        staying = catalog.reachable_from([*held, *(ref.digest for ref in catalog.refs() if ref.name not in gone)])
        before = catalog.reachable_from([*held, *(ref.digest for ref in catalog.refs())])
        rows = [row for row in catalog.blobs() if row.digest in before or row.sha256 in before]
        packs = [pack.number for pack in catalog.packs(LIVE)]
        copies = find_copies(store, reading.index, packs)
        marks = Marks(store)
        leaving = [row for row in rows if row.digest not in staying and row.sha256 not in staying]
        for row in rows:
            if row.digest in staying or row.sha256 in staying:
                marks.add(reading.index, row)
        after = marks.settled(copies)
        for row in leaving:
            marks.add(reading.index, row)
        return _difference(store, packs, marks.settled(copies), after)


def _difference(store: BlobStore, packs: Iterable[int], before: Marks, after: Marks) -> Reclaimable:
    frames = dead = 0
    for number in packs:
        footer = store.packs.footer(number)
        frames += after.dead_bytes(number) - before.dead_bytes(number)
        stays = after.live_records(number)[footer.places["record"]]
        newly = before.chunks(number) & ~after.chunks(number) & stays
        dead += int(footer.places["length"][newly].sum(dtype=np.int64))
    return Reclaimable(frames, dead)
