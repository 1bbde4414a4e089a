"""Numbers that the processes of one server count together: a file each, mapped, and summed by whoever asks.

`prometheus-client` has such a mode, too, but chooses it by a variable of the environment at import, keeps a file for each kind
and pid, and leaves the gauges of a process that was killed until somebody says that it is dead.  Here a process holds a lock
on its file: what it had in progress counts as long as it lives, what it has counted stays.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_SUFFIX: Final = ".counters"
_HEAD: Final = struct.Struct("<8sQ")  # magic, number of slots
_MAGIC: Final = b"lamcnt1\n"


class Counters:
    """The slots of this process; `live` are those that count while it lives only."""

    def __init__(self, folder: Path, slots: int, live: frozenset[int]) -> None:
        self._folder, self._slots, self._live = folder, slots, live
        self._lock = threading.Lock()
        self._path = folder / f"{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        size = _HEAD.size + 8 * slots
        os.truncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._map[: _HEAD.size] = _HEAD.pack(_MAGIC, slots)
        self._numbers = memoryview(self._map)[_HEAD.size :].cast("d")

    @classmethod
    def begin(cls, folder: Path, slots: int, live: frozenset[int]) -> Self:
        """Count in that directory, made if it is missing; OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, slots, live)

    def add(self, slot: int, count: float) -> None:
        """To one slot."""
        with self._lock:
            self._numbers[slot] += count

    def sums(self) -> list[float]:
        """Of all processes."""
        total = list(self._numbers)
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path != self._path:
                for slot, count in self._read(path):
                    total[slot] += count
        return total

    def close(self) -> None:
        """Count no more; what was counted stays for the others."""
        self._numbers.release()
        self._map.close()
        os.close(self._file)

    def _read(self, path: Path) -> Iterator[tuple[int, float]]:
        with suppress(OSError):  # it has gone meanwhile
            file = os.open(path, os.O_RDONLY)
            try:
                numbers, lives = self._content(file), _is_locked(file)
            finally:
                os.close(file)
            yield from ((slot, count) for slot, count in enumerate(numbers) if lives or slot not in self._live)

    def _content(self, file: int) -> Sequence[float]:
        """Nothing of a file that is not whole, or of another version."""
        data = os.pread(file, _HEAD.size + 8 * self._slots + 1, 0)
        if len(data) != _HEAD.size + 8 * self._slots or _HEAD.unpack_from(data) != (_MAGIC, self._slots):
            return ()
        return memoryview(data)[_HEAD.size :].cast("d")


def clear(folder: Path) -> None:
    """Forget all; before the first process of a server begins to count.  Files of one that still lives stay."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                if not _is_locked(file):
                    path.unlink()
            finally:
                os.close(file)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
