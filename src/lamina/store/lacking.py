"""What is needed and not whole: blobs that miss chunks, blobs that manifests name and that are not there, roots of names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina import oci
from lamina._native.chunkindex import NONE
from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.oci import Descriptor
from lamina.store import quarantine
from lamina.store.marks import chunk_ids
from lamina.store.replacing import is_sealed
from lamina.store.schema import BlobRow

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore
    from lamina.store.index import ChunkIndex


@dataclass(frozen=True, slots=True)
class Lack:
    """A blob that is not whole; `row`: of one that the catalog has; `readable`: all but its entry table is there."""

    descriptor: Descriptor
    what: str
    row: BlobRow | None = None
    readable: bool = False


def lacking(store: BlobStore, index: ChunkIndex, rows: Iterable[BlobRow], gone: Mapping[str, Descriptor]) -> dict[str, Lack]:
    """All that names lead to and that is not whole, by digest, through this index.

    `rows` are the catalog's, or as they are going to be; `gone`: what was there, and is no more (an index does not tell).
    """
    reached = store.catalog.reachable_from(ref.digest for ref in store.catalog.refs())
    found = {digest: Lack(descriptor, "lost") for digest, descriptor in gone.items() if digest in reached}
    for row in rows:
        if row.digest in reached or row.sha256 in reached:
            missing, entries = _missing(store, index, row)
            if missing or entries:
                descriptor = Descriptor(row.media_type, Digest(row.digest), row.size)
                what = missing or f"lacks {entries} parts of its entry table"
                found[row.digest] = Lack(descriptor, what, row, not missing)
    found |= {digest: Lack(descriptor, "not there") for digest, descriptor in named(store).items() if digest in reached}
    return found


def put_aside(store: BlobStore) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What the catalog has let go of though it should be there: (what, where, digests), for `verify`."""
    known = {pack.name for pack in store.catalog.packs()}
    for path, _ in sorted(store.backend.list("packs/")):
        if path.rpartition("/")[2] not in known and not is_sealed(store.backend, path):
            yield "a damaged pack that the catalog does not know", path, ()
    there = {ref.name for ref in store.catalog.refs()}
    for lost in quarantine.lost_names(store.backend):
        for ref in lost.names:
            if ref.name not in there:
                yield f"the name {ref.name} was taken away when {ref.digest} was lost", lost.file, (ref.digest,)


def named(store: BlobStore) -> dict[str, Descriptor]:
    """What names and image manifests name that is not there any more; of an index manifests may have been left out."""
    found: dict[str, Descriptor] = {}
    for ref in store.catalog.refs():
        if store.catalog.blob(ref.digest) is None:
            found[ref.digest] = Descriptor(ref.media_type, Digest(ref.digest), ref.size)
    absent: dict[str, set[str]] = {}
    for parent, digest in store.catalog.dangling():
        absent.setdefault(parent, set()).add(digest)
    for parent, digests in absent.items():
        row = store.catalog.blob(parent)
        if row is None or not oci.is_manifest(row.media_type):
            continue
        try:
            children = oci.children(row.media_type, store.document(row.digest), row.digest)
        except LaminaError:
            continue  # it is lacking itself
        for child in children:
            elsewhere = child.urls or oci.is_nondistributable(child.media_type)
            if child.digest in digests and not elsewhere and not store.catalog.links.never_came(child.digest):
                found[child.digest] = Descriptor(child.media_type, child.digest, child.size)
    return found


def _missing(store: BlobStore, index: ChunkIndex, row: BlobRow) -> tuple[str, int]:
    """What a blob lacks to be read ('' for nothing), and how many blocks its entry table lacks."""
    try:
        if row.kind == "document":
            store.packs.record(row.pack, row.record)
            return "", 0
        table = np.frombuffer(b"".join(store.head_of_row(row).entry_blocks), np.uint8).reshape(-1, 32)
        entries = _count(index, table)
        missing = sum(_count(index, ids) for ids in chunk_ids(store, index, row)) - entries
    except LaminaError as error:
        return error.what, 0
    return f"lacks {missing} chunks" if missing else "", entries


def _count(index: ChunkIndex, ids: npt.NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(index.find(ids)[0] == NONE)) if len(ids) else 0
