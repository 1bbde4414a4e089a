"""The catalog: blobs, manifests, names, images, packs and leases, in SQLite (FORMAT.md, "Catalog").

Usable from several threads of a process and several processes; not over a fork.  Reads leave no transaction
open.  Errors: `StoreDamaged` (missing or damaged: `Catalog.rebuild`), `StoreTooNew`, `StoreLocked`, `StorageError`.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.errors import StorageError, StoreDamaged, StoreTooNew
from lamina.storage.writer import sync_directory
from lamina.store import forks, graph
from lamina.store.database import Database, Row, catalog_errors, open_lock, take_lock
from lamina.store.links import Links
from lamina.store.remembered import Remembered
from lamina.store.schema import (
    BLOB,
    IMAGE,
    INCOMPLETE,
    LATER,
    LATER_COLUMNS,
    LEVEL,
    META,
    PACK,
    REF,
    TABLES,
    VERSION,
    BlobRow,
    ImageRow,
    LeaseRow,
    PackRow,
    RefRow,
    check_row,
    pack_row,
    ref_row,
)
from lamina.store.transaction import Transaction
from lamina.store.uses import Uses

TIMEOUT = 30.0
_BATCH = 500
_HEX = re.compile(r"[0-9a-f]{1,64}")


def _blob(row: Row) -> BlobRow:
    check_row("blobs", row)
    return BlobRow._make((*row[:11], bool(row[11]), row[12]))


def _image(row: Row) -> ImageRow:
    check_row("images", row)
    return ImageRow._make((*row[:6], tuple(row[6].split()), row[7], bool(row[8])))


class Catalog:
    """An open catalog; a context manager that closes it."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- life ------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, timeout: float = TIMEOUT) -> Self:
        """Open a catalog, made empty if there is none; several processes may do so at once."""
        with _rebuilding(path, timeout):
            if not path.exists():
                _make(path, timeout)
        return cls.open(path, timeout)

    @classmethod
    def open(cls, path: Path, timeout: float = TIMEOUT) -> Self:
        """Open a catalog that is there; StoreDamaged if it is missing or none, StoreTooNew."""
        return cls._open(path, timeout)._complete()

    @classmethod
    def _open(cls, path: Path, timeout: float) -> Self:
        """As it is; it may be one of before."""
        catalog = cls(Database(path, timeout))
        try:
            catalog._check_version()
        except BaseException:
            catalog.close()
            raise
        return catalog

    @classmethod
    def rebuild(cls, path: Path, fill: Callable[[Self], None], timeout: float = TIMEOUT, *, wrong: bool = False) -> Self:
        """Put a new catalog in place of one that is missing or damaged, and open it.

        `fill` puts into it what the packs say; commits of other processes wait meanwhile, and then raise LeaseLost.
        If another process has rebuilt it in the meantime, its catalog is opened; but not with `wrong`: what is there is whole,
        and says what the packs do not.
        """
        with _rebuilding(path, timeout):
            there = None if wrong else cls._open_whole(path, timeout)
            catalog = there or cls._rebuild(path, fill, timeout)
        return catalog._complete()  # a transaction, which the lock keeps away

    @classmethod
    def replace(cls, path: Path, fresh: Path, check: Callable[[Self], None], timeout: float = TIMEOUT) -> None:
        """Put the catalog at `fresh`, one settled file that nobody has open, in place of another if `check` lets that go.

        At every moment one of the two is there, whole.  Who has the old one open reads it on, and gets LeaseLost from a commit.
        """
        with _rebuilding(path, timeout):
            with cls._open(path, timeout) as old:
                check(old)
                old._db.settle()
            _replace(fresh, path)

    @classmethod
    def _rebuild(cls, path: Path, fill: Callable[[Self], None], timeout: float) -> Self:
        fresh = _fresh(path)
        _remove_fresh(path)
        _make(fresh, timeout)
        with cls._open(fresh, timeout) as catalog:
            fill(catalog)
            catalog.settle()
        _replace(fresh, path)
        return cls._open(path, timeout)

    @classmethod
    def _open_whole(cls, path: Path, timeout: float) -> Self | None:
        try:
            catalog = cls._open(path, timeout)
        except StoreDamaged:
            return None
        if catalog.is_sound():
            return catalog
        catalog.close()
        return None

    @classmethod
    @contextmanager
    def derived(cls, path: Path, fill: Callable[[Self], None], timeout: float = TIMEOUT) -> Iterator[Self]:
        """A catalog beside this one, as `rebuild` would make it, gone at the end."""
        beside = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
        try:
            _make(beside, timeout)
            with cls._open(beside, timeout) as catalog:
                fill(catalog)
                yield catalog
        finally:
            remove_catalog(beside)
            remove_catalog(beside.with_name(beside.name + ".lock"))

    def _check_version(self) -> None:
        # Not ours: a view may never end, a trigger does what nobody asked for.
        if strange := self._db.read("SELECT type FROM sqlite_master WHERE type NOT IN ('table', 'index') OR "
                                    "sql LIKE 'CREATE VIRTUAL%' LIMIT 1"):
            raise StoreDamaged(f"the catalog is damaged: it holds a strange {strange[0][0]}", self._db.path,
                               "it can be rebuilt from the packs")
        version = self._meta("version")
        if version > VERSION:
            raise StoreTooNew(f"the catalog has format version {version}, newer than this Lamina knows ({VERSION})",
                              self._db.path, "use a newer Lamina")

    def _complete(self) -> Self:
        """Add the tables and columns that came later to a catalog of before."""
        try:
            if self._db.read_only:
                if missing := self._missing():
                    self._db.amend(missing)
            elif self._missing():
                with self._db.transaction():
                    for table in TABLES:
                        self._db.write(table)
                    for column in self._lacking():  # asked again: another process may have been quicker
                        self._db.write(column)
        except BaseException:
            self.close()
            raise
        return self

    def _missing(self) -> list[str]:
        """The statements that add the tables and columns which are not there."""
        return [*(TABLES if LATER - self._db.tables() else ()), *self._lacking()]

    def _lacking(self) -> list[str]:
        """The statements that add the columns which are not there."""
        return [sql for (table, column), sql in LATER_COLUMNS.items() if column not in self._db.columns(table)]

    @cached_property
    def uses(self) -> Uses:
        """When images were used last."""
        return Uses(self._db)

    def tidy(self) -> None:
        """Remove what a rebuild that was cut off has left; `StoreLocked`."""
        fresh = _fresh(self._db.path)
        if any(fresh.parent.glob(fresh.name + "*")):
            with _rebuilding(self._db.path, self._db.timeout):
                _remove_fresh(self._db.path)

    @cached_property
    def remembered(self) -> Remembered:
        """What pushes and pulls remember."""
        return Remembered(self._db)

    def settle(self) -> None:
        """Bring all of it into the one file, which is no more to be written to, and let go of its lock file."""
        self._db.settle()
        remove_catalog(self._db.path.with_name(self._db.path.name + ".lock"))

    def is_sound(self) -> bool:
        """Whether SQLite finds nothing wrong with it."""
        try:
            return self._db.read("PRAGMA quick_check(1)") == [("ok",)]
        except StoreDamaged:  # the check itself stumbled over the damage
            return False

    def close(self) -> None:
        """Let go of the file; again is harmless."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # -- writes ----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction, committed at the end of the block, undone by any exception."""
        with self._db.transaction():
            yield Transaction(self._db)

    def next_seq(self) -> int:
        """A sequence number, higher than any before, in a transaction of its own."""
        with self.transaction() as tx:
            return tx.next_seq()

    def reserve_pack_number(self) -> int:
        """A number for a pack that is going to be written, in a transaction of its own."""
        with self.transaction() as tx:
            return tx.new_pack_number()

    # -- numbers ---------------------------------------------------------------------------------------------

    def _meta(self, key: str) -> int:
        rows = self._db.read("SELECT value FROM meta WHERE key = ?", (key,))
        if not rows:
            raise StoreDamaged(f"the catalog is damaged: {key} is missing", self._db.path,
                               "run lamina repair, which makes it anew from the packs")
        return int(rows[0][0])

    def checkpoint(self) -> int:
        """The number of the last journal that names every name; 0 if there is none."""
        return self._meta("checkpoint")

    def sequence(self) -> int:
        """The last sequence number that was drawn."""
        return self._meta("sequence")

    def last_pack_number(self) -> int:
        """The last number that was given to a pack."""
        return self._meta("pack_number")

    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file, indexes too, or cannot read of it; the first twenty."""
        try:
            rows = self._db.read("PRAGMA integrity_check(20)")
            if found := [str(text) for (text,) in rows if text != "ok"]:
                return found
            for read in (self.packs, self.refs, self.images, self.leases):
                read()
            for row in self.blobs():
                self.blob(row.digest)
        except StoreDamaged as error:
            return [error.what]
        except (ValueError, TypeError) as error:
            return [f"a value makes no sense: {error}"]
        return []

    def complete_until(self) -> int:
        """The last checkpoint, or the one that a rebuild found which could not read all packs: later journals may be lost."""
        rows = self._db.read("SELECT value FROM meta WHERE key = ?", (INCOMPLETE,))
        return int(rows[0][0]) if rows else self.checkpoint()

    # -- blobs -----------------------------------------------------------------------------------------------

    def blob(self, digest: str) -> BlobRow | None:
        """The blob of a digest, also by the sha256 of one that has another name; with its text."""
        rows = self._db.read(f"SELECT {BLOB}, text FROM blobs WHERE digest = ?", (digest,))
        if not rows:
            rows = self._db.read(f"SELECT {BLOB}, text FROM blobs WHERE sha256 = ? ORDER BY digest LIMIT 1", (digest,))
        return _blob(rows[0]) if rows else None

    def blob_by_diff_id(self, diff_id: str) -> BlobRow | None:
        """A layer with that plain tar; the plain one if it is there."""
        rows = self._db.read(
            f"SELECT {BLOB}, NULL FROM blobs WHERE diff_id = ? ORDER BY "
            "CASE WHEN digest = diff_id OR sha256 = diff_id THEN 0 ELSE 1 END, digest LIMIT 1", (diff_id,))
        return _blob(rows[0]) if rows else None

    def blobs(self, kind: str | None = None) -> Iterator[BlobRow]:
        """All blobs by digest, without their texts, a batch at a time: what is added meanwhile may be left out."""
        after = ""
        while True:
            rows = self._db.read(
                f"SELECT {BLOB}, NULL FROM blobs WHERE digest > ? AND (CAST(? AS TEXT) IS NULL OR kind = ?) "
                f"ORDER BY digest LIMIT {_BATCH}", (after, kind, kind))
            yield from map(_blob, rows)
            if len(rows) < _BATCH:
                return
            after = rows[-1][0]

    def document(self, digest: str) -> str | None:
        """The text of a manifest, index or config; None if it is not there, or not UTF-8."""
        row = self.blob(digest)
        return row.text if row else None

    def documents(self, digests: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(digest, text) of those that are there, in order, one at a time."""
        for digest in digests:
            text = self.document(digest)
            if text is not None:
                yield digest, text

    def children(self, digest: str) -> list[str]:
        """What a manifest names, there or not."""
        return self._column("SELECT child FROM edges WHERE parent = ? ORDER BY child", digest)

    def edges(self) -> list[tuple[str, str]]:
        """(parent, child) of all edges."""
        return [(str(parent), str(child)) for parent, child in self._db.read("SELECT parent, child FROM edges")]

    def parents(self, digest: str) -> list[str]:
        """The manifests that name a digest."""
        return self._column("SELECT parent FROM edges WHERE child = ? ORDER BY parent", digest)

    def _column(self, sql: str, *values: str) -> list[str]:
        return [row[0] for row in self._db.read(sql, values)]

    def unreachable(self) -> set[str]:
        """Digests of the blobs that no name, no hold and no link leads to."""
        return graph.unreachable(self._db)

    def reachable_from(self, digests: Iterable[str]) -> set[str]:
        """The digests themselves and all that they lead to, there or not."""
        return graph.reachable_from(self._db, digests)

    def held(self) -> list[str]:
        """Digests that sessions hold, or links keep."""
        rows = self._db.read("SELECT digest FROM holds UNION SELECT digest FROM links ORDER BY digest")
        return [digest for (digest,) in rows]

    @cached_property
    def links(self) -> Links:
        """What repositories of a registry have."""
        return Links(self._db)

    def dangling(self) -> list[tuple[str, str]]:
        """(document, what it names) of all that is named and not there."""
        return graph.dangling(self._db)

    # -- names -----------------------------------------------------------------------------------------------

    def ref(self, name: str) -> RefRow | None:
        """What a name leads to."""
        rows = self._db.read(f"SELECT {REF} FROM refs WHERE name = ? AND removed = 0", (name,))
        return ref_row(rows[0]) if rows else None

    def refs(self, prefix: str = "") -> list[RefRow]:
        """All names that begin with the prefix, in order."""
        rows = self._db.read(
            f"SELECT {REF} FROM refs WHERE removed = 0 AND name >= ? AND substr(name, 1, ?) = ? ORDER BY name",
            (prefix, len(prefix), prefix))
        return [ref_row(row) for row in rows]

    def removed(self) -> dict[str, int]:
        """Names that were removed since the last checkpoint, and the number of that."""
        return dict(self._db.read("SELECT name, seq FROM refs WHERE removed = 1"))

    def refs_to(self, digest: str) -> list[RefRow]:
        """All names that lead to a digest, in order."""
        rows = self._db.read(f"SELECT {REF} FROM refs WHERE removed = 0 AND digest = ? ORDER BY name", (digest,))
        return [ref_row(row) for row in rows]

    # -- images ----------------------------------------------------------------------------------------------

    def images(self) -> list[ImageRow]:
        """All image manifests, by digest."""
        return [_image(row) for row in self._db.read(f"SELECT {IMAGE} FROM images ORDER BY manifest")]

    def image(self, manifest: str) -> ImageRow | None:
        """The image of a manifest's digest."""
        rows = self._db.read(f"SELECT {IMAGE} FROM images WHERE manifest = ?", (manifest,))
        return _image(rows[0]) if rows else None

    def images_by_config(self, image_id: str) -> list[ImageRow]:
        """The images of an image id, whole (`sha256:...`) or the beginning of its hex form.

        Several manifests may have one config; whether all rows have the same one is for the caller to see.
        """
        rows = self._db.read(f"SELECT {IMAGE} FROM images WHERE config = ? ORDER BY manifest", (image_id,))
        start = image_id.removeprefix("sha256:")
        if not rows and _HEX.fullmatch(start):
            rows = self._db.read(f"SELECT {IMAGE} FROM images WHERE config >= ? AND config < ? ORDER BY manifest",
                                 (f"sha256:{start}", f"sha256:{start}g"))
        return [_image(row) for row in rows]

    # -- packs and leases ------------------------------------------------------------------------------------

    def packs(self, state: str | None = None) -> list[PackRow]:
        """All packs, or those of a state, by number."""
        rows = self._db.read(f"SELECT {PACK} FROM packs WHERE CAST(? AS TEXT) IS NULL OR state = ? ORDER BY number",
                             (state, state))
        return [pack_row(row) for row in rows]

    def pack(self, number: int) -> PackRow | None:
        """The pack of a number."""
        rows = self._db.read(f"SELECT {PACK} FROM packs WHERE number = ?", (number,))
        return pack_row(rows[0]) if rows else None

    def pack_levels(self) -> dict[int, int]:
        """At which level the optimizer wrote packs, by number; of those that it wrote."""
        rows = self._db.read("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(LEVEL), LEVEL))
        return {int(key[len(LEVEL):]): value for key, value in rows}

    def leases(self) -> list[LeaseRow]:
        """All leases, dead ones too, the oldest first."""
        rows = self._db.read("SELECT id, kind, start FROM leases ORDER BY start, id")
        return [LeaseRow._make(check_row("leases", row)) for row in rows]


@contextmanager
def _rebuilding(path: Path, timeout: float) -> Iterator[None]:
    """Keep transactions and other rebuilders away."""
    lock = open_lock(path)
    try:
        take_lock(lock, fcntl.LOCK_EX, timeout, path)
        yield
    finally:
        forks.close_lock(lock)


def _make(path: Path, timeout: float) -> None:
    """A new, empty catalog."""
    with catalog_errors(path), closing(sqlite3.connect(path, timeout=timeout, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            connection.execute(table)
        connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", META.items())
        connection.execute("COMMIT")


_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite has beside a catalog


def _fresh(path: Path) -> Path:
    """Where a catalog is being rebuilt."""
    return path.with_name(path.name + ".new")


def _remove_fresh(path: Path) -> None:
    fresh = _fresh(path)
    for each in (fresh, fresh.with_name(fresh.name + ".lock")):
        remove_catalog(each)


def remove_catalog(path: Path, parts: Iterable[str] = (*_BESIDE, "")) -> None:
    """A catalog and what is beside it: the log first, so that it is never replayed into another file."""
    for name in parts:
        try:
            path.with_name(path.name + name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove a damaged catalog: {error.strerror}", path) from error


def _replace(fresh: Path, path: Path) -> None:
    remove_catalog(path, _BESIDE)
    try:
        sync_directory(path.parent)  # else the old log may be back after a power cut, beside the new file
        fresh.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"cannot put the new catalog into place: {error.strerror}", path) from error
