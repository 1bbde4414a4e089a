"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lamina.errors import Conflict, NotFound, StorageError

# Large writes pass by it; it gathers the headers and documents between them.
_BUFFER = 64 * 1024


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the block, synced, or never.

    It is made beside `path`, with the mode of the file that it replaces; a symbolic link is followed, so that it
    stays one.  What is no file but can be written (a device, a fifo) is written directly.
    `Conflict` for a directory, `NotFound` for a missing parent, `StorageError`.
    """
    place = Path(os.path.realpath(path))
    mode = _mode(place)
    if mode is not None and stat.S_ISDIR(mode):
        raise Conflict("a directory is in the way", path, "name a file in it")
    regular = mode is None or stat.S_ISREG(mode)
    written = beside(place) if regular else place
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if regular else 0)
    with translated(path):
        file = os.fdopen(os.open(written, flags, 0o666), "wb", buffering=_BUFFER)
    try:
        yield file
        with translated(path):
            file.flush()
            if regular:
                _publish(file.fileno(), written, place, mode)
            file.close()
    except BaseException:
        # What is still buffered is not wanted any more; that it cannot be written is no news.
        with suppress(OSError):
            file.close()
        if regular:
            written.unlink(missing_ok=True)
        raise


def _publish(fd: int, written: Path, place: Path, mode: int | None) -> None:
    if mode is not None:
        os.fchmod(fd, stat.S_IMODE(mode))
    os.fsync(fd)
    written.replace(place)
    sync_directory(place.parent)


@contextmanager
def translated(where: object) -> Iterator[None]:
    """Failures of the system as `NotFound` and `StorageError`; a broken pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileNotFoundError as error:
        raise NotFound("no such directory", where) from error
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where) from error


def beside(place: Path) -> Path:
    """A name for a temporary in the same directory."""
    return place.with_name(f".{place.name[:200]}.{secrets.token_hex(6)}.part")


def sync_directory(path: Path) -> None:
    """Make a rename in a directory last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _mode(place: Path) -> int | None:
    with translated(place):
        try:
            return place.stat().st_mode
        except FileNotFoundError:
            return None
