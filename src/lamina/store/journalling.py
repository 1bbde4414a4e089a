"""Journals of blobs on their way in: what is on disk of each is noted in a partial (FORMAT.md, "Partials").

The lane's thread gathers what it has laid down (`Journal.add`) and asks for a checkpoint now and then.  The writer
thread says where in the packs it lies, and a thread of the session's own (`lamina-journal`) makes first the packs and then the
partial durable.  The lane waits when it is `OUTSTANDING` checkpoints ahead.  What a kill costs at most, of the bytes that have
come: `OUTSTANDING` intervals, the pieces that were read ahead, the writer's buffer (1 MiB) and a chunk that was not cut yet.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from lamina.digest import Digest
from lamina.errors import StorageError
from lamina.storage import Reach
from lamina.storage.writer import sync_directory
from lamina.store import layout, partial
from lamina.store.openpack import OpenPack
from lamina.store.partials import FILE_LIMIT, Partial, Partials

if TYPE_CHECKING:
    from lamina.store.sink import PackSink

FROM: Final = 1 << 20  # blobs above this are journalled
LEAST, MOST, SHARE = 1 << 20, 4 << 20, 256  # bytes between two checkpoints: a share of the blob, within bounds
# And that are read at a time, into so many buffers.  A 1024th in five is as much to lose, and costs a CPU second more for
# 300 MB: it is Python's share of a piece.
PIECE_LEAST, PIECE_MOST, PIECE_SHARE, BUFFERS = 640 << 10, 4 << 20, 480, 3
SECONDS: Final = 1.0  # after which a checkpoint is made of whatever is there: a slow line's
OUTSTANDING: Final = 2

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Part:
    """Chunks that follow one another: rows of the partial, whose `pack` counts in `names`.

    `waiting`: which rows lie in packs that were open, and in which records of them.
    """

    rows: partial.Rows
    names: list[bytes] = field(default_factory=list)
    waiting: list[tuple[npt.NDArray[np.int64], OpenPack, U32]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the writer thread hands on: rows that last as soon as `reaches` are synced."""

    journal: Journal
    parts: list[_Part]
    reaches: list[Reach]
    last: bool


class Journals:
    """Those of one session, and the thread.  `footer(number)` is that of a pack which the session has sealed."""

    def __init__(self, partials: Partials, lease: str, sink: PackSink, footer: Callable[[int], layout.Footer],
                 own: Callable[[int], bool]) -> None:
        self.partials, self.lease, self.sink, self.footer, self.own = partials, lease, sink, footer, own
        self.changed = threading.Condition()
        self.over = False
        self._discard = False
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turns = 0
        self._last: dict[str, Journal] = {}

    def begin(self, digest: Digest, size: int, lane: int, old: tuple[Partial, int] | None) -> Journal:
        """The journal of a blob that comes in by this lane.  `old`, and its bytes, goes when it has caught up with that."""
        with self.changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lamina-journal", daemon=True)
                self._thread.start()
            self._turns += 1
            path = self.partials.folder / f"{digest.algorithm}-{digest.hex}.{self.lease}.{self._turns}"
            journal = self._last[digest] = Journal(self, Partial(path, digest, self.lease), size, lane, old)
        return journal

    def wait_for(self, digest: str) -> None:
        """Until all that an earlier journal of the blob was told is durable."""
        if (journal := self._last.get(digest)) is not None:
            with self.changed:
                while journal.outstanding and not self.over:
                    self.changed.wait()

    def put(self, batch: _Batch) -> None:
        """From the writer thread."""
        self._queue.put(batch)

    def finish(self, *, discard: bool = False) -> None:
        """Make durable what was handed over (with `discard`, leave it: it is needed no more), and end; again is harmless."""
        self._discard = self._discard or discard
        with self.changed:
            thread, self._thread = self._thread, None
            self.over = True
            self.changed.notify_all()
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def kept(self, but: Container[str] = ()) -> Mapping[str, str]:
        """When no more is written: the packs (hex) that partials (of other blobs than `but`) name now, with their leases."""
        self.finish()
        return self.partials.named(but) if self._turns else {}

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                if not self._discard:
                    self._last_of(batch)
            finally:
                for reach in batch.reaches:
                    reach.close()
                batch.journal.done(batch.last)

    def _last_of(self, batch: _Batch) -> None:
        """Packs first: what a partial says is so."""
        try:
            for reach in batch.reaches:
                reach.sync()
            batch.journal.write(batch.parts)
        except StorageError as error:  # of a pack: its writer would not be told again
            self.sink.fail(error)
            batch.journal.broken = True
        except OSError:  # the blob is taken in all the same
            batch.journal.broken = True


class Journal:
    """That of one blob, all of whose content are chunks in a row."""

    def __init__(self, journals: Journals, mine: Partial, size: int, lane: int, old: tuple[Partial, int] | None) -> None:
        self._journals, self._mine, self._size, self._lane, self._old = journals, mine, size, lane, old
        self.interval = min(max(size // SHARE, LEAST), MOST)
        self.piece = min(max(size // PIECE_SHARE, PIECE_LEAST), PIECE_MOST)
        self.buffers = BUFFERS
        self.outstanding = 0
        self.broken = False  # nothing more is noted
        self._begun = False
        self._pending: list[_Part] = []
        self._pending_bytes = 0
        self._since = time.monotonic()
        self._late: list[_Part] = []  # the writer thread's: not far enough yet
        self._covered = 0  # from here on the journal thread's
        self._fd = -1

    # -- the lane's thread

    def add(self, ids: U8, lengths: npt.NDArray[np.int64], packs: U32, ordinals: U32) -> None:
        """These chunks come next, and lie there by the index; called with the sink's lock held."""
        if self.broken:
            return
        rows = np.zeros(len(ids), partial.ROW)
        rows["id"], rows["length"], rows["pack"] = ids, lengths, partial.ELSEWHERE
        part = _Part(rows)
        unsealed = self._journals.sink.open_packs()
        for number in set(packs.tolist()):
            if self._journals.own(number):
                self._locate(part, np.flatnonzero(packs == number), unsealed.get(number), number, ordinals)
        self._pending.append(part)
        self._pending_bytes += int(lengths.sum())

    def _locate(self, part: _Part, at: npt.NDArray[np.int64], pack: OpenPack | None, number: int, ordinals: U32) -> None:
        rows = part.rows
        rows["pack"][at] = len(part.names)
        if pack is not None:
            placed = pack.placed(ordinals[at])
            part.names.append(pack.name)
            part.waiting.append((at, pack, placed["record"]))
        else:
            footer = self._journals.footer(number)
            placed = footer.places[ordinals[at]]
            part.names.append(footer.tail.name)
            _fill(rows, at, footer.records[placed["record"]])
        rows["offset"][at] = placed["offset"]

    def step(self) -> None:
        """Make a checkpoint if it is time for one; wait if too many are under way."""
        enough = self._pending_bytes >= self.interval
        if enough or (self._pending and time.monotonic() - self._since >= SECONDS):
            self._checkpoint(settle=not enough)
        with self._journals.changed:
            while self.outstanding >= OUTSTANDING and not self._journals.over:
                self._journals.changed.wait()

    def end(self) -> None:
        """Nothing more comes, or it has failed: note all that is there."""
        if self._begun or self._pending:
            self._checkpoint(settle=True, last=True)

    def _checkpoint(self, *, settle: bool, last: bool = False) -> None:
        parts, self._pending, self._pending_bytes, self._since = self._pending, [], 0, time.monotonic()
        self._begun = True
        with self._journals.changed:
            self.outstanding += 1
        self._journals.sink.after(layout.CONTENT, self._lane, lambda: self._written(parts, settle, last))

    # -- the writer thread

    def _written(self, parts: list[_Part], settle: bool, last: bool) -> None:
        """All that was laid down before has been written, as far as it will be.

        What is raised here is the sink's failure.
        """
        self._late += parts
        ready: list[_Part] = []
        reaches: dict[int, Reach | None] = {}
        try:
            if self.broken:
                self._late.clear()
            while self._late:
                part = self._late[0]
                count = self._lasting(part, settle, reaches)
                if count:
                    ready.append(_Part(part.rows[:count], part.names))
                if count < len(part.rows):
                    self._late[0] = _Part(part.rows[count:], part.names,
                                          [(at[at >= count] - count, pack, records[at >= count])
                                           for at, pack, records in part.waiting])
                    break
                del self._late[0]
        finally:
            self._journals.put(_Batch(self, ready, [reach for reach in reaches.values() if reach is not None], last))

    def _lasting(self, part: _Part, settle: bool, reaches: dict[int, Reach | None]) -> int:
        """How many of its first rows will last when the reaches are synced; a pack that is sealed lasts."""
        good = np.ones(len(part.rows), np.bool_)
        for at, pack, records in part.waiting:
            if not len(at):
                continue
            if pack.number not in reaches:
                reaches[pack.number] = None if pack.sealed else pack.writer.reach(settle=settle)
            reach = reaches[pack.number]
            found = pack.written.rows(int(records.max()) + 1)[records]
            end = found["offset"] + found["stored"]
            good[at] = (found["offset"] > 0) & (reach is None or end <= np.uint64(reach.bytes))
            _fill(part.rows, at, found)
        return len(good) if good.all() else int(np.argmin(good))

    # -- the journal thread

    def write(self, parts: list[_Part]) -> None:
        """Append to the partial and make it durable; OSError."""
        if self.broken or not parts:
            return
        blocks = b"".join(self._blocks(parts))
        if self._fd < 0:
            if not self._journals.partials.make_room():
                self.broken = True
                return
            self._create(partial.header(self._size) + blocks)
        else:
            if os.fstat(self._fd).st_size + len(blocks) > FILE_LIMIT:
                self.broken = True
                return
            self._append(blocks)
        if self._old is not None and self._covered >= self._old[1]:
            self._journals.partials.drop(self._old[0])
            self._old = None

    def _create(self, data: bytes) -> None:
        path = self._mine.path
        with suppress(FileExistsError):
            path.parent.mkdir()
            sync_directory(path.parent.parent)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self._append(data)
        sync_directory(path.parent)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        os.fdatasync(self._fd)

    def _blocks(self, parts: list[_Part]) -> list[bytes]:
        found: list[bytes] = []
        names: dict[bytes, int] = {}
        rows: list[partial.Rows] = []
        count = 0
        for part in [*parts, None]:
            if part is None or count + len(part.rows) > partial.ROWS or len(names) + len(part.names) > partial.PACKS:
                if rows:
                    joined = np.concatenate(rows)
                    self._covered += int(joined["length"].sum(dtype=np.int64))
                    found.append(partial.encode_block(list(names), joined, self._covered))
                names, rows, count = {}, [], 0
            if part is not None:
                table = np.array([names.setdefault(name, len(names)) for name in part.names], np.uint32)
                mine = part.rows["pack"] != partial.ELSEWHERE
                part.rows["pack"][mine] = table[part.rows["pack"][mine]]
                rows.append(part.rows)
                count += len(part.rows)
        return found

    def done(self, last: bool) -> None:
        """One checkpoint is over, as it may be."""
        if last and self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1
            if self._old is not None:  # that one gets further
                self._journals.partials.drop(self._mine)
        with self._journals.changed:
            self.outstanding -= 1
            self._journals.changed.notify_all()


def _fill(rows: partial.Rows, at: npt.NDArray[np.int64], records: npt.NDArray[Any]) -> None:
    """Where the frames are, from rows of a footer."""
    for name, column in (("at", "offset"), ("stored", "stored"), ("plain", "plain"), ("codec", "codec")):
        rows[name][at] = records[column]
