"""The chunk index: from a 32-byte chunk id (BLAKE3-256) to (pack number, ordinal).

Packs are the truth: an index file is derived from the id columns of pack footers, may be deleted at any time,
and covers the packs that it names; the chunks of all other packs are in a bounded table in memory, the delta.
INDEX.md has the files' format and the rules by which they come and go.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lamina._native.chunkindex import NONE, DeltaTable, PackIds, mark_repeats
from lamina.errors import StoreDamaged
from lamina.store import forks
from lamina.store.indexfile import (
    SUFFIX,
    U8,
    U32,
    IndexFile,
    pack_row,
    pack_rows,
    publish,
    random_multiplier,
    sweep,
    try_lock,
)
from lamina.store.indexmerge import Merge

DELTA_CHUNKS: Final = 1 << 19  # 32 MB in memory at 61 bytes a chunk
DELTA_PACKS: Final = 16  # the footer of each is read at every open, 0.3 ms
URGENT: Final = 3  # times these bounds, and an import waits for the file that is being written
COLUMNS: Final = 40_000  # id columns kept mapped, those of 10^8 chunks; Linux grants a process 65,530 mappings
FILES_PER_TIER: Final = 4
SMALLEST_TIER: Final = 1 << 17
LOCK: Final = "lock"


class LivePack(NamedTuple):
    """A pack by its number in the catalog, and how many chunk ids its footer has."""

    number: int
    chunks: int


class _OwnPack(NamedTuple):
    """A pack written by this process that is not live yet."""

    name: bytes | None  # None: not sealed yet
    chunks: int


class Claim(NamedTuple):
    """What is known of a batch of chunk ids; u32 columns with one row an id.

    Row i is known when `packs[i] != NONE` (then `first[i]` is NONE), new when `first[i] == i`, and otherwise
    a repeat of the new row `first[i] < i` of the same batch. `new` lists the new rows.
    """

    packs: U32
    ordinals: U32
    first: U32
    new: U32


class ChunkIndex:
    """The index of one store for one process; its methods may be called by several threads.

    `directory` holds the index files and is made when it is not there. `footer_ids(pack number)` gives the id
    column of a pack, u8[n, 32], mapped: it is referred to as long as look-ups may need it. It is called under
    the index's lock, so it must not wait for another thread that uses the index. A pack for which it raises
    StoreDamaged, or gives another number of ids than was announced, is passed over until the next `refresh`
    (`broken` lists such packs).
    """

    def __init__(
        self,
        directory: Path,
        footer_ids: Callable[[int], U8 | memoryview],
        *,
        delta_chunks: int = DELTA_CHUNKS,
        delta_packs: int = DELTA_PACKS,
        columns: int = COLUMNS,
    ) -> None:
        with contextlib.suppress(OSError):  # of a store that is read-only: all packs are in the delta
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._footer_ids = footer_ids
        self._bounds = delta_chunks, delta_packs
        self._max_columns = columns
        self._lock = threading.RLock()  # what is in memory; never held while a file is written
        self._publishing = threading.Lock()  # one writer of new files a process; taken before _lock
        self._helper: threading.Thread | None = None
        self._tended = False  # whether the helper has looked for files to merge since the last `refresh`
        self._closing = threading.Event()
        self._files: dict[str, IndexFile] = {}
        self._columns = PackIds()
        self._delta = DeltaTable(random_multiplier())
        self._in_delta: set[int] = set()
        self._covered: set[int] = set()  # by a file
        self._live: dict[bytes, LivePack] = {}
        self._known: dict[bytes, LivePack] = {}  # packs whose footers can be asked: see _know
        self._rows: dict[bytes, int] = {}  # their numbers, by what index files call them
        self._waiting: dict[bytes, LivePack] = {}  # those that no file covers
        self._own: dict[int, _OwnPack] = {}
        self._died: set[bytes] = set()  # packs that this process has seen live and then not
        self._broken: set[int] = set()
        self._chunks: dict[int, int] = {}  # of known packs, by number

    # ------------------------------------------------------------------------------------------ what there is

    def refresh(self, live: Mapping[bytes, tuple[int, int]]) -> None:
        """Takes note of the live packs, 16-byte name -> (pack number, chunks), and of the files there are.

        Packs that no file covers go into the delta, or into a file of their own if they are too many (an
        index that is built anew); packs that are neither live nor own are known no more. Files that are no
        index files go.
        """
        with self._lock:
            known = {name: pack if isinstance(pack, LivePack) else LivePack(*pack) for name, pack in live.items()}
            self._died.update(self._live.keys() - known.keys())
            self._died.difference_update(known)
            self._live = known
            self._own = {number: own for number, own in self._own.items() if own.name not in known}
            self._broken.clear()
            self._tended = False
            self._list_files()
        with contextlib.suppress(OSError):  # a full or read-only disk: the delta serves, with more memory
            self._publish_waiting()
        with self._lock:
            for _, (number, _) in list(self._waiting.items()):
                if number not in self._in_delta and (column := self._column(number)) is not None:
                    self._delta.insert(column, number, 0)
                    self._in_delta.add(number)

    def add(self, pack_number: int, ids: U8, first_ordinal: int) -> None:
        """Notes chunks appended to an own pack not sealed yet: row i is ordinal `first_ordinal` + i."""
        with self._lock:
            self._delta.insert(ids, pack_number, first_ordinal)
            self._in_delta.add(pack_number)
            self._own[pack_number] = _OwnPack(None, first_ordinal + len(ids))

    def sealed(self, pack_number: int, name: bytes) -> None:
        """Says that an own pack has its footer: `flush` may cover it from now on, before it is live."""
        with self._lock:
            own = self._own.get(pack_number, _OwnPack(None, 0))
            self._own[pack_number] = own._replace(name=name)
            if pack_number not in self._broken:
                self._note(name, LivePack(pack_number, own.chunks))

    def forget(self, pack_number: int) -> None:
        """A pack (given up, or condemned) is known no more; the next `refresh` decides anew."""
        with self._lock:
            self._own.pop(pack_number, None)
            self._died.update(name for name, pack in self._live.items() if pack.number == pack_number)
            self._live = {name: pack for name, pack in self._live.items() if pack.number != pack_number}
            self._assign()

    def close(self) -> None:
        """Lets go of files, columns and memory; a merge under way is left, for the next process to go on with."""
        self._closing.set()
        if self._helper is not None:
            self._helper.join()
        with self._lock:
            self._files.clear()
            self._columns = PackIds()
            self._delta.clear()
            self._in_delta.clear()
            self._live.clear()
            self._own.clear()
            self._assign()

    @property
    def broken(self) -> frozenset[int]:
        """Numbers of packs whose id column could not be had since the last `refresh`."""
        with self._lock:
            return frozenset(self._broken)

    # ------------------------------------------------------------------------------------------------ look-up

    def lookup(self, ids: U8) -> tuple[U32, U32]:
        """(pack numbers, ordinals) of u8[n, 32]; pack NONE where an id is not known.

        Every hit is confirmed by all 32 bytes. A damaged slot of an index file may hide a chunk: that is good
        enough to decide what to write. To read, take `find`.
        """
        packs, ordinals = np.full(len(ids), NONE, np.uint32), np.full(len(ids), NONE, np.uint32)
        with self._lock:
            for number in self._columns.oldest(len(self._columns) - self._max_columns):
                self._columns.drop(number)
            self._delta.lookup(ids, packs, ordinals)
            unmapped = np.empty(len(ids), np.uint32)
            for file in self._files.values():
                # Missing columns are mapped and the table is asked again; none is dropped meanwhile: it ends.
                while file.lookup(self._columns, ids, packs, ordinals, unmapped):
                    for number in np.unique(unmapped[unmapped != NONE]).tolist():
                        if (column := self._column(number)) is not None:
                            self._columns.add(number, column)
        return packs, ordinals

    def claim(self, ids: U8) -> Claim:
        """What ingest asks for each batch: which ids are known and where, which are new, which come again.

        Nothing is noted: new ones are to be written and given to `add` before the next batch is claimed.
        """
        packs, ordinals = self.lookup(ids)
        first = np.empty(len(ids), np.uint32)
        mark_repeats(ids, packs, random_multiplier(), first)
        rows = np.arange(len(ids), dtype=np.uint32)
        return Claim(packs, ordinals, first, rows[first == rows])

    def find(self, ids: U8) -> tuple[U32, U32]:
        """As `lookup`, but what the index misses is searched for in the id columns of all known packs.

        An index file that has hidden a chunk is damaged: it is removed, and its packs are covered anew.
        """
        packs, ordinals = self.lookup(ids)
        if not (packs == NONE).any():
            return packs, ordinals
        with self._lock:
            misled = self._scan(ids, packs, ordinals)
            damaged = [file for file in self._files.values() if misled.intersection(file.pack_map.tolist())]
            self._discard(damaged)
            live = dict(self._live)
        if damaged:
            self.refresh(live)
        return packs, ordinals

    def copies(self, ids: U8) -> tuple[U32, U32, U32]:
        """Every place of ids that differ: (row of `ids`, pack number, ordinal), by the id columns of all known packs."""
        wanted = DeltaTable(random_multiplier())
        wanted.insert(ids, 0, 0)
        found: list[U32] = []
        with self._lock:
            for pack in list(self._known.values()):
                if (column := self._column(pack.number)) is None:
                    continue
                hit, row = np.full(len(column), NONE, np.uint32), np.empty(len(column), np.uint32)
                wanted.lookup(column, hit, row)
                at = np.flatnonzero(hit != NONE).astype(np.uint32)
                found.append(np.stack([row[at], np.full(len(at), pack.number, np.uint32), at]))
        rows, packs, ordinals = np.concatenate([np.empty((3, 0), np.uint32), *found], axis=1)
        return rows, packs, ordinals

    def _scan(self, ids: U8, packs: U32, ordinals: U32) -> set[int]:
        """Fills rows from the columns of all covered packs (the rows are the table here); the packs that had
        any.
        """
        rows = np.flatnonzero(packs == NONE)
        wanted = DeltaTable(random_multiplier())
        wanted.insert(np.ascontiguousarray(ids[rows]), 0, 0)
        first = np.empty(len(rows), np.uint32)
        mark_repeats(np.ascontiguousarray(ids[rows]), packs[rows], random_multiplier(), first)
        found_in: set[int] = set()
        for pack in list(self._known.values()):
            column = None if pack.number in self._in_delta else self._column(pack.number)
            if column is None:
                continue
            hit, place = np.full(len(column), NONE, np.uint32), np.empty(len(column), np.uint32)
            wanted.lookup(column, hit, place)
            at = np.flatnonzero(hit != NONE)
            if len(at):
                found_in.add(pack.number)
                packs[rows[place[at]]], ordinals[rows[place[at]]] = pack.number, at
        packs[rows], ordinals[rows] = packs[rows[first]], ordinals[rows[first]]
        return found_in

    # -------------------------------------------------------------------------------------------------- files

    def flush(self, *, force: bool = False, seconds: float | None = None) -> None:
        """Covers sealed packs by a file if they are beyond the delta's bounds (`force`: if there are any).

        Then merges files of like size, for so many seconds at most, unless another process does so at this moment. Look-ups
        and `add` of other threads go on meanwhile. Raises OSError when the disk does not take the file; the index is
        as it was then.
        """
        self._publish_waiting(force=force)
        until = None if seconds is None else time.monotonic() + seconds
        self._merge(lambda: until is not None and time.monotonic() > until)

    def grow(self) -> None:
        """What an import calls again and again: `flush` in a thread beside it, where files of any size are merged.

        It waits only when the delta is far beyond its bounds. Raises OSError as `flush` does, but no sooner than that.
        """
        with self._lock:
            urgent, due = self._over(URGENT), self._over(1) or not self._tended
            if due and not urgent and (self._helper is None or not self._helper.is_alive()):
                self._tended = True
                self._helper = threading.Thread(target=self._tend, name="lamina-index", daemon=True)
                self._helper.start()
        if urgent:
            self._publish_waiting()

    def _tend(self) -> None:
        """In the helper."""

        def pause() -> bool:
            self._publish_waiting()  # packs do not wait for the end of a merge
            return self._closing.is_set()

        with contextlib.suppress(OSError):  # it is tried again; `grow` or `flush` meets the reason
            if not pause():
                self._merge(pause)

    def _over(self, times: int) -> bool:
        """Whether what waits to be covered is more than so many times what the delta may hold."""
        chunks, packs = self._bounds
        return len(self._waiting) > times * packs or sum(pack.chunks for pack in self._waiting.values()) > times * chunks

    def _publish_waiting(self, *, force: bool = False) -> None:
        """A file for the packs that wait, if they are too many; one that is being written is waited for."""
        with self._publishing:
            with self._lock:
                packs = dict(self._waiting) if force or self._over(1) else {}
            if packs:
                self._publish(packs)
                sweep(self._directory)

    def _publish(self, packs: dict[bytes, LivePack]) -> None:
        """Writes a file and takes it up, without packs that turn out to be broken."""
        while packs:
            rows = list(packs.values())
            try:
                file = publish(
                    self._directory,
                    [(name, pack.chunks) for name, pack in packs.items()],
                    partial(self._column_of_row, rows),
                )
            except _BrokenPack:
                packs = {name: pack for name, pack in packs.items() if pack.number not in self.broken}
                continue
            self._take_up(file)
            return

    def _merge(self, pause: Callable[[], bool]) -> None:
        """Replaces groups of files by one each, one process at a time (the others do not wait for it), until `pause()`."""
        with _locked(self._directory / LOCK) as mine:
            while mine and not self._closing.is_set() and (merge := self._next_merge()) is not None:
                with merge, contextlib.suppress(_BrokenPack):  # then it begins anew, without that pack
                    file = merge.run(partial(self._column_of_pack, merge.packs), pause)
                    if file is None:
                        return
                    self._take_up(file, instead=merge.files)

    def _next_merge(self) -> Merge | None:
        """The one that was left, if it is still of use, or a new one."""
        merge = Merge.resume(self._directory)
        if merge is not None:
            with self._lock:
                left = all(pack_row(*pack) in self._rows for pack in merge.left)
            if left and all((self._directory / name).exists() for name in merge.files):
                return merge
            merge.give_up()
        while group := self._next_group():
            with self._lock:
                names = {name for file in group for name, _ in file.packs if name in self._known}
                packs = [(name, self._known[name].chunks) for name in sorted(names)]
            if packs:
                return Merge.begin(self._directory, [file.path.name for file in group], packs)
            self._discard(group)  # nothing of them is known any more
        return None

    def _take_up(self, file: IndexFile, *, instead: Iterable[str] = ()) -> None:
        """Looks ids up in a new file too, and no more in those that it takes the place of."""
        with self._lock:
            old = [self._files[name] for name in instead if name != file.path.name and name in self._files]
            self._files[file.path.name] = file
            self._map(file)
            numbers = set(file.pack_map.tolist())
            self._covered |= numbers
            self._waiting = {name: pack for name, pack in self._waiting.items() if pack.number not in numbers}
            self._drop_from_delta(self._in_delta & numbers)
        self._discard(old)

    def _next_group(self) -> list[IndexFile]:
        """Files to be replaced by one: four of a tier (powers of 4 in chunks), or one that is half dead."""
        with self._lock:
            names = self._list_files()
            tiers: dict[int, list[IndexFile]] = {}
            for file in (file for name, file in self._files.items() if name in names):
                if 2 * sum(chunks for name, chunks in file.packs if name in self._died) > file.chunks:
                    return [file]
                tiers.setdefault(max(file.chunks, SMALLEST_TIER).bit_length() // 2, []).append(file)
            return next((group for _, group in sorted(tiers.items()) if len(group) >= FILES_PER_TIER), [])

    def _discard(self, files: list[IndexFile]) -> None:
        """Removes files; processes that have them mapped go on with them."""
        with self._lock:
            for file in files:
                self._files.pop(file.path.name, None)
        for file in files:  # not under the lock: to unmap and remove a gigabyte takes a while
            file.close()
            _unlink(file.path)

    def _list_files(self) -> set[str]:
        """Takes up files that are new, removes what is no index file; the names that are there.

        A file that is gone stays mapped while it alone covers a pack: a merge of another process leaves out
        packs that are not live yet.
        """
        before: set[str] | None = None
        # Listed until two listings agree: a merged file may come and its parts go while a directory is read.
        while (names := {path.name for path in self._directory.glob("*" + SUFFIX)}) != before:
            before = names
            for name in names - self._files.keys():
                try:
                    self._files[name] = IndexFile.open(self._directory / name)
                except StoreDamaged:
                    _unlink(self._directory / name)
                except OSError:  # gone meanwhile, or unreadable: the delta takes its packs
                    continue
        self._know()
        gone = self._files.keys() - names
        covered = {row for name, file in self._files.items() if name in names for row in file.rows} if gone else set()
        for name in gone:
            if not any(row in self._rows and row not in covered for row in self._files[name].rows):
                del self._files[name]
        self._cover()
        return names

    # ------------------------------------------------------------------------------- what is known, and where

    def _know(self) -> None:
        """Gathers the packs whose footers can be asked: live ones and sealed own ones, without broken ones."""
        own = {own.name: LivePack(number, own.chunks) for number, own in self._own.items() if own.name}
        known = self._live | own
        self._known = {name: pack for name, pack in known.items() if pack.number not in self._broken} if self._broken else known
        numbers, chunks = zip(*self._known.values(), strict=True) if self._known else ((), ())
        self._rows = dict(zip(pack_rows(self._known.keys(), chunks), numbers, strict=True))
        self._chunks = dict(zip(numbers, chunks, strict=True))

    def _note(self, name: bytes, pack: LivePack) -> None:
        """One more: what `_know` and `_assign` would make of it, without looking at all the others."""
        self._known[name] = pack
        self._rows[pack_row(name, pack.chunks)] = pack.number
        self._chunks[pack.number] = pack.chunks
        if pack.chunks and pack.number not in self._covered:
            self._waiting[name] = pack

    def _assign(self) -> None:
        """Makes pack maps, delta and columns agree with the packs that are known."""
        self._know()
        self._cover()

    def _cover(self) -> None:
        """The rest of it."""
        self._covered = set()
        for file in self._files.values():
            self._map(file)
            self._covered.update(file.pack_map.tolist())
        bare = self._chunks.keys() - self._covered  # mostly few: found without a look at each pack
        known = self._known.items() if bare else ()
        self._waiting = {name: pack for name, pack in known if pack.number in bare and pack.chunks}
        unsealed = {number for number, own in self._own.items() if own.name is None}
        self._drop_from_delta(self._in_delta - ((self._chunks.keys() | unsealed) - self._covered))
        for number in self._columns.oldest(len(self._columns)):
            if number not in self._chunks:
                self._columns.drop(number)

    def _map(self, file: IndexFile) -> None:
        """Which packs its rows are."""
        file.pack_map = np.array([self._rows.get(row, NONE) for row in file.rows], np.uint32)

    def _drop_from_delta(self, numbers: set[int]) -> None:
        self._delta.drop_packs(np.array(sorted(numbers), np.uint32))
        self._in_delta -= numbers

    def _column(self, number: int) -> U8 | None:
        """The id column of a known pack; None, and the pack is broken, when it is not what was announced."""
        try:
            return self._sound_column(number)
        except _BrokenPack:
            return None

    def _column_of_pack(self, packs: Sequence[tuple[bytes, int]], row: int) -> U8:
        with self._lock:
            number = self._rows.get(pack_row(*packs[row]))
        if number is None:  # it has gone, or another thread has found it broken
            raise _BrokenPack
        return self._sound_column(number)

    def _column_of_row(self, rows: list[LivePack], row: int) -> U8:
        return self._sound_column(rows[row].number)

    def _sound_column(self, number: int) -> U8:
        try:
            column: U8 = np.asarray(self._footer_ids(number), dtype=np.uint8).reshape(-1, 32)
        except StoreDamaged as error:
            self._break(number)
            raise _BrokenPack from error
        if len(column) != self._chunks.get(number):
            self._break(number)
            raise _BrokenPack
        return column

    def _break(self, number: int) -> None:
        with self._lock:
            self._broken.add(number)
            self._assign()


class _BrokenPack(Exception):
    """The id column of a pack cannot be had; the pack is in `broken` now."""


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or a read-only directory, or a directory of that name
        path.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock could be had at once; held until the end."""
    fd = forks.open_lock(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield try_lock(fd)
    finally:
        forks.close_lock(fd)
