"""What is needed and not whole: blobs that miss chunks, blobs that manifests name and that are not there, roots of names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lamina import oci
from lamina._native.chunkindex import NONE
from lamina.digest import Digest
from lamina.errors import LaminaError, NotFound
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
    """A blob that cannot be given back; `row`: of one that the catalog has."""

    descriptor: Descriptor
    what: str
    row: BlobRow | None = None


def lacking(store: BlobStore, index: ChunkIndex, rows: Iterable[BlobRow], gone: Mapping[str, Descriptor]) -> dict[str, Lack]:
    """All that names lead to and that is not whole, by digest, through this index.

    `rows` are the catalog's, or as they are going to be; `gone`: what was there, and is no more (an index does not tell).
    """
    reached = store.catalog.reachable_from(ref.digest for ref in store.catalog.refs())
    found = {digest: Lack(descriptor, "lost") for digest, descriptor in gone.items() if digest in reached}
    for row in rows:
        if row.digest in reached or row.sha256 in reached:
            what = _wrong(store, index, row)
            if what:
                found[row.digest] = Lack(Descriptor(row.media_type, Digest(row.digest), row.size), what, row)
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
    """What names and image manifests name that is not there; of an index manifests may have been left out."""
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
            if child.digest in digests and not (child.urls or oci.is_nondistributable(child.media_type)):
                found[child.digest] = Descriptor(child.media_type, child.digest, child.size)
    return found


def _wrong(store: BlobStore, index: ChunkIndex, row: BlobRow) -> str:
    """What a blob lacks; '' if it has all its chunks."""
    try:
        if row.kind == "document":
            store.packs.record(row.pack, row.record)
            return ""
        missing = sum(int(np.count_nonzero(index.find(ids)[0] == NONE)) for ids in chunk_ids(store, index, row) if len(ids))
    except (LaminaError, NotFound) as error:
        return error.what
    return f"lacks {missing} chunks" if missing else ""
