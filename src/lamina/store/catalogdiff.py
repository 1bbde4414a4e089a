"""The catalog held against a catalog made anew from the packs: what of it is wrong, though SQLite finds the file whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.errors import LaminaError
from lamina.store.catalog import Catalog
from lamina.store.peek import CATALOG
from lamina.store.rebuild import fill
from lamina.store.replacing import is_sealed, lost_commits
from lamina.store.schema import LIVE

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore

_TRIES = 3  # while others commit


def suspicion(store: BlobStore) -> str:
    """Why the catalog should be made anew before anything else is done with it; '' if nothing is to be seen.

    A live pack without a file, and a file with a footer that the catalog does not know: a name or a state in it is damaged,
    unless a writer is about to publish.
    """
    if faults := store.catalog.faults():
        return faults[0]
    files = {name.rpartition("/")[2]: name for name, _ in store.backend.list("packs/")}
    packs = store.catalog.packs()
    missing = [pack.name for pack in packs if pack.state == LIVE and pack.name not in files]
    strange = [name for name in files.keys() - {pack.name for pack in packs} if is_sealed(store.backend, files[name])]
    if missing and strange and all(lease.kind == "read" for lease in store.catalog.leases()):
        return f"it has the pack {missing[0]}, which is missing, and lacks {strange[0]}, which is there"
    if lost := lost_commits(store, (files[name] for name in strange)):
        return f"it has lost commits, one of which is in {lost}"
    return ""


def differences(store: BlobStore) -> list[str]:
    """What the catalog says otherwise than the packs, one line a kind; nothing if somebody commits all the time.

    Memory: the rows of blobs, edges and names.
    """
    for _ in range(_TRIES):
        before = store.catalog.sequence()
        with Catalog.derived(store.path / CATALOG, lambda catalog: _fill(store, catalog)) as derived:
            found = _compare(store, store.catalog, derived)
        if store.catalog.sequence() == before:
            return found
    return []


def _fill(store: BlobStore, catalog: Catalog) -> None:
    fill(store.backend, catalog)


def _compare(store: BlobStore, have: Catalog, derived: Catalog) -> list[str]:
    found: list[str] = []

    def differ(kind: str, mine: dict[Any, Any], theirs: dict[Any, Any], *, more: bool = False) -> None:
        """`more`: what the packs do not have may be right, it is not needed any more."""
        keys = theirs.keys() if more else mine.keys() | theirs.keys()
        wrong = sorted(str(key) for key in keys if mine.get(key) != theirs.get(key))
        if wrong:
            found.append(f"{kind}: {', '.join(wrong[:3])}" + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""))

    differ("packs", _packs(have), _packs(derived))
    reached = derived.reachable_from(ref.digest for ref in derived.refs())
    differ("blobs", _blobs(have, reached), _blobs(derived, reached), more=True)
    rows = (row for row in have.blobs() if row.digest in reached)
    misplaced = [row.digest for row in rows if not _is_at(store, row.pack, row.record, row.digest)]
    if misplaced:
        found.append(f"places of blobs: {', '.join(misplaced[:3])}")
    differ("edges", _edges(have, reached), _edges(derived, reached), more=True)
    differ("images", {row.manifest: row for row in have.images()}, {row.manifest: row for row in derived.images()}, more=True)
    names = {ref.name: ref._replace(seq=0) for ref in derived.refs()}
    there = {ref.name: ref._replace(seq=0) for ref in have.refs() if ref.name in names or derived.blob(ref.digest) is not None}
    differ("names", there, names)
    if have.sequence() < derived.sequence():
        found.append("the number of the last commit")
    return found


def _packs(catalog: Catalog) -> dict[str, tuple[int, int]]:
    """Condemned ones are no longer there for who makes the catalog anew, or there again: both is right."""
    return {pack.name: (pack.bytes, pack.chunks) for pack in catalog.packs(LIVE)}


def _blobs(catalog: Catalog, reached: set[str]) -> dict[str, tuple[Any, ...]]:
    rows = (row._replace(pack=0, record=0) for row in catalog.blobs() if row.digest in reached)
    return {row.digest: (row, catalog.document(row.digest) if row.kind == "document" else "") for row in rows}


def _edges(catalog: Catalog, reached: set[str]) -> dict[tuple[str, str], bool]:
    return {(parent, child): True for parent in reached for child in catalog.children(parent)}


def _is_at(store: BlobStore, number: int, record: int, digest: str) -> bool:
    try:
        keys = dict(store.packs.footer(number).key_rows())
    except LaminaError:
        return False
    return bool(keys.get(record, {}).get("digest") == digest)
