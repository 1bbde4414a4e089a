"""A merge of index files that may be left at any time and gone on with by the next process (INDEX.md, "Merges").

10^8 chunks take a minute, and no import shall wait for that.  What is half done lies in `.merge`; who leaves it in good order
says in `.merge.json` how far it has come.  That note is taken away before anyone goes on: after a crash there is none, and the
merge begins anew.  Nothing is synced before the end, so a note counts only until the machine starts again (its boot id).
Who holds the directory's `lock` alone may touch the two.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from lamina.store.indexfile import U8, Builder, IndexFile, file_name, random_multiplier, sync_directory

PARTIAL: Final = ".merge"
NOTE: Final = ".merge.json"
_NOTE_LIMIT: Final = 1 << 30
_SLICE: Final = 64 << 20  # bytes written back at a time: a stop waits for one slice
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_WRITE_AND_WAIT: Final = 7  # of sync_file_range(2)


class Merge:
    """One file that takes the place of several.  A context manager: left unfinished, it can be gone on with."""

    def __init__(self, directory: Path, files: Sequence[str], fd: int, builder: Builder) -> None:
        self.files = list(files)
        self._directory, self._fd, self._builder = directory, fd, builder
        self._keep = True

    @classmethod
    def begin(cls, directory: Path, files: Sequence[str], packs: Sequence[tuple[bytes, int]]) -> Self:
        """A new one over these packs, instead of `files`."""
        fd = _open(directory / PARTIAL, os.O_TRUNC)
        return cls._over(directory, files, fd, packs, random_multiplier(), (0, 0, 0))

    @classmethod
    def resume(cls, directory: Path) -> Self | None:
        """The one that was left, if there is any to go on with."""
        try:
            with (directory / NOTE).open("rb") as file:
                text = file.read(_NOTE_LIMIT)
            (directory / NOTE).unlink()
            note = json.loads(text)
            packs = [(bytes.fromhex(name), int(count)) for name, count in note["packs"]]
            row, filled, reach = (int(number) for number in note["done"])
            multiplier, files = int(note["multiplier"]), [str(name) for name in note["files"]]
            if note["boot"] != _boot() or not multiplier & 1 or not 0 <= row <= len(packs):
                return None
            fd = _open(directory / PARTIAL, 0)
            if os.fstat(fd).st_size != int(note["size"]):
                os.close(fd)
                return None
            return cls._over(directory, files, fd, packs, multiplier, (row, filled, reach))
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    @classmethod
    def _over(
        cls, directory: Path, files: Sequence[str], fd: int, packs: Sequence[tuple[bytes, int]], multiplier: int,
        done: tuple[int, int, int],
    ) -> Self:
        try:
            return cls(directory, files, fd, Builder(fd, packs, multiplier, done))
        except BaseException:
            os.close(fd)
            (directory / PARTIAL).unlink(missing_ok=True)
            raise

    @property
    def packs(self) -> Sequence[tuple[bytes, int]]:
        """(name, chunks) of all its packs, in order."""
        return self._builder.packs

    @property
    def left(self) -> Sequence[tuple[bytes, int]]:
        """Those that are not in it yet."""
        return self._builder.packs[self._builder.row :]

    def run(self, ids: Callable[[int], U8], pause: Callable[[], bool]) -> IndexFile | None:
        """Goes on until it is done (the file, open and in its place), or `pause()` is true (None).

        `ids(row)` gives the id column of a pack; what it raises ends the merge for good, as an OSError does.
        """
        self._keep = False
        builder = self._builder
        if not builder.fill(ids, pause):  # a run at the end of the table: once more, with another multiplier
            return None
        if builder.row < len(builder.packs) or not self._write_back(pause):
            self._keep = True
            return None
        builder.finish()
        file = IndexFile.open(self._directory / PARTIAL)
        file.path = self._directory / file_name([name for name, _ in builder.packs])
        (self._directory / PARTIAL).rename(file.path)
        sync_directory(self._directory)
        return file

    def give_up(self) -> None:
        """It is of no use any more."""
        self._keep = False
        self.__exit__()

    def _write_back(self, pause: Callable[[], bool]) -> bool:
        """Writes what is dirty in slices, so that the sync at the end has little left to do; whether all is written."""
        call = getattr(ctypes.CDLL(None), "sync_file_range", None)
        if call is None:
            return True
        for at in range(0, self._builder.bytes, _SLICE):
            call(self._fd, ctypes.c_int64(at), ctypes.c_int64(_SLICE), _WRITE_AND_WAIT)
            if pause():
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves a note, or takes away what cannot be gone on with (nothing, if it is in its place)."""
        builder = self._builder
        builder.close()
        os.close(self._fd)
        if not self._keep:
            (self._directory / PARTIAL).unlink(missing_ok=True)
            return
        note = {
            "boot": _boot(), "multiplier": builder.multiplier, "size": builder.bytes, "files": self.files,
            "done": [builder.row, builder.filled, builder.reach],
            "packs": [(name.hex(), count) for name, count in builder.packs],
        }  # fmt: skip
        with contextlib.suppress(OSError):  # a full disk: then it begins anew
            fresh = self._directory / (NOTE + ".new")
            fd = _open(fresh, os.O_TRUNC)
            with os.fdopen(fd, "w") as file:
                json.dump(note, file)
            fresh.rename(self._directory / NOTE)


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _boot() -> str:
    """What the kernel calls this run of the machine."""
    return _BOOT.read_text().strip()
