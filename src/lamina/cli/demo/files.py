"""The files that the demo is made of: Python's standard library and the packages installed beside it."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST = 96_000_000          # bytes of one layer: the archives of all three stay below 0.5 GB
MOST_OF_A_FILE = 32_000_000
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class File:
    """A regular file: its path in the image, its bytes, its mode and time of change in seconds."""

    path: str
    data: bytes
    mode: int
    mtime: int


def library() -> Iterator[File]:
    """The standard library, by path."""
    return files(Path(sysconfig.get_path("stdlib")), "usr/lib/python", _LEFT_OUT)


def packages() -> Iterator[File]:
    """The packages that Lamina runs with, by path."""
    places = dict.fromkeys((sysconfig.get_path("platlib"), sysconfig.get_path("purelib")))
    for place in places:
        yield from files(Path(place), "opt/packages", {"__pycache__"})


def files(root: Path, under: str, left_out: set[str]) -> Iterator[File]:
    """Regular files below a directory, in order, up to `MOST` bytes; what cannot be read or has gone is passed over."""
    total = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in left_out)
        for name in sorted(names):
            found = _read(Path(folder) / name, f"{under}/{(Path(folder) / name).relative_to(root).as_posix()}")
            if found is None or total + len(found.data) > MOST:
                continue
            total += len(found.data)
            yield found


def _read(path: Path, name: str) -> File | None:
    if path.is_symlink() or not name.isprintable():
        return None
    try:
        status = path.stat()
        if not path.is_file() or status.st_size > MOST_OF_A_FILE:
            return None
        return File(name, path.read_bytes(), status.st_mode & 0o777, int(status.st_mtime))
    except (FileNotFoundError, PermissionError):
        return None
