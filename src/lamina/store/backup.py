"""Copying a live store into a directory that is a store, too (FORMAT.md, "Backups").

The directory goes from one whole view to the next, or stays as it is: packs come first, each checked as it passes; then the
catalog of one moment takes the place of the one before; then packs that it does not name go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lamina.content.progress import Progress, Silent
from lamina.errors import Conflict, NotFound, StoreDamaged, UsageError
from lamina.storage.local import LocalBackend
from lamina.store import room
from lamina.store.blobstore import BlobStore
from lamina.store.catalog import Catalog, remove_catalog
from lamina.store.copied import Copied
from lamina.store.lease import Lease, reap
from lamina.store.packcopy import copy_pack
from lamina.store.packs import pack_path
from lamina.store.peek import CATALOG
from lamina.store.replacing import drop_orphans, locked
from lamina.store.schema import PackRow
from lamina.store.snapshot import snapshot

_BUSY = "another backup into this directory, or a collection of it, is running"
_ELSEWHERE = "choose another directory"


@dataclass(slots=True)
class BackedUp:
    """What a backup did.  `packs`, `bytes`: of the view as a whole; `whole`: whether that view is in place now."""

    packs: int = 0
    bytes: int = 0
    packs_copied: int = 0
    bytes_copied: int = 0
    packs_removed: int = 0
    bytes_removed: int = 0
    seconds: float = 0.0
    whole: bool = False
    problems: list[str] = field(default_factory=list)


def backup(store: BlobStore, path: Path, progress: Progress | None) -> BackedUp:
    """Bring the directory up to what the store is now.

    `problems` are told of packs that are damaged or missing: the rest is copied, and the view of before stays.
    `UsageError`, `Conflict` for a directory that cannot be the store's backup; `StorageError`, and the view of before stays.
    """
    started = time.monotonic()
    result = BackedUp()
    _refuse_itself(store, path)
    with _opened(store, path) as copy, locked(copy, _BUSY):
        fresh = copy.state_dir / f"{CATALOG.name}.backup"
        try:
            with Lease.acquire(store.catalog, store.state_dir, "read"):  # older than the view: its packs stay
                journal = _Backup(store, copy, result, progress or Silent()).run(fresh)
        finally:
            remove_catalog(fresh)
            remove_catalog(fresh.with_name(f"{fresh.name}.lock"))
        if result.whole:
            _tidy(path, journal, result)
    result.seconds = time.monotonic() - started
    return result


def _refuse_itself(store: BlobStore, path: Path) -> None:
    here, there = store.path.resolve(), path.resolve()
    if there.exists() and there.samefile(here):
        raise UsageError("a store cannot be its own backup", path, _ELSEWHERE)
    if here in there.parents or there in here.parents:
        raise UsageError("a backup cannot lie in its store, nor the store in it", path, _ELSEWHERE)


@contextmanager
def _opened(store: BlobStore, path: Path) -> Iterator[BlobStore]:
    """The copy; a new one is a store of the same id with nothing in it."""
    own = store.backend.read_format()
    found = LocalBackend(path).initialise(own.id, own.version)
    if found.id != own.id:
        raise Conflict("the directory is another store", path, _ELSEWHERE)
    if found.version < own.version:  # they have been exchanged: what is copied is not what an older program expects there
        raise Conflict(f"the directory has format version {found.version}, the store {own.version}", path, _ELSEWHERE)
    with BlobStore.open(path, create=False) as copy:
        yield copy


def _tidy(path: Path, journal: int, result: BackedUp) -> None:
    """Take away the packs that the new view does not name; what somebody may still be reading waits for the next backup."""
    with BlobStore.open(path, create=False) as copy, Lease.acquire(copy.catalog, copy.state_dir, "backup") as lease:
        before = dict(copy.backend.list("packs/"))
        drop_orphans(copy, lease)
        left = dict(copy.backend.list("packs/"))
        gone = before.keys() - left.keys()
        result.packs_removed, result.bytes_removed = len(gone), sum(before[name] for name in gone)
        Copied(frozenset(name.rpartition("/")[2] for name in left), journal).write(copy.state_dir)


class _Backup:
    """One run up to the new view."""

    def __init__(self, store: BlobStore, copy: BlobStore, result: BackedUp, progress: Progress) -> None:
        self._store, self._copy, self._result, self._progress = store, copy, result, progress

    def run(self, fresh: Path) -> int:
        """Copy what is missing, and put the view in place if nothing is damaged; the view's last journal."""
        store, copy, result = self._store, self._copy, self._result
        reap(copy.catalog, copy.state_dir, copy.backend)
        before = Copied.read(copy.state_dir)
        packs, journal = snapshot(store.path / CATALOG, fresh)
        self._refuse_newer(before)
        known = before.packs | {pack.name for pack in (*packs, *store.catalog.packs())}
        check = self._untouched(known)
        check(copy.catalog)
        result.packs, result.bytes = len(packs), sum(pack.bytes for pack in packs)
        missing = self._missing(packs)
        room.require(copy.backend, sum(pack.bytes for pack in missing) + room.FLOOR, "back up", copy.path,
                     "make room there and try again")
        Copied(before.packs | {pack.name for pack in packs}, before.journal).write(copy.state_dir)
        with Lease.acquire(copy.catalog, copy.state_dir, "backup") as own:
            for pack in missing:
                self._bring(pack, own)
        if not result.problems:
            Catalog.replace(copy.path / CATALOG, fresh, check)
            result.whole = True
        return journal

    def _refuse_newer(self, before: Copied) -> None:
        if before.journal > self._store.catalog.sequence():
            raise Conflict("the copy is newer than the store", self._copy.path, _ELSEWHERE)

    def _untouched(self, known: frozenset[str]) -> Callable[[Catalog], None]:
        """Of the packs that the copy's catalog names each is the store's, or was when it was copied."""

        def check(catalog: Catalog) -> None:
            strange = sum(pack.name not in known for pack in catalog.packs())
            if strange:
                raise Conflict(f"the copy has been written to since its last backup ({strange} packs are not from the store)",
                               self._copy.path, _ELSEWHERE)

        return check

    def _missing(self, packs: list[PackRow]) -> list[PackRow]:
        there = dict(self._copy.backend.list("packs/"))
        return [pack for pack in packs if there.get(pack_path(pack.name)) != pack.bytes]

    def _bring(self, pack: PackRow, own: Lease) -> None:
        """Copy one pack."""
        name, result = pack_path(pack.name), self._result
        self._progress.start(pack.name, f"pack {pack.name[:12]}", pack.bytes)
        try:
            with self._store.backend.open(name) as source:
                if source.size != pack.bytes:
                    what = f"a pack has {source.size} bytes, the catalog says {pack.bytes}"
                    raise StoreDamaged(what, name, "run lamina verify")
                self._copy.backend.delete(name)  # one of another length
                with self._copy.backend.create(name, own.id, reserve=pack.bytes) as writer:
                    copy_pack(source, writer, self._watch(pack))
        except (StoreDamaged, NotFound) as error:
            result.problems.append(str(error))
            self._progress.done(pack.name, "damaged")
            return
        result.packs_copied += 1
        result.bytes_copied += pack.bytes
        self._progress.done(pack.name, "copied")

    def _watch(self, pack: PackRow) -> Callable[[int], None]:
        return lambda count: self._progress.advance(pack.name, count)
