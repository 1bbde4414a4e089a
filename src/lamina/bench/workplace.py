"""Where a bench works: a directory of its own on the disk that is to be measured, gone at the end whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamina.errors import StorageError

PREFIX = "lamina-bench-"
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_MARGIN = 64 << 20


def choose(asked: Path | None, store: Path) -> Path:
    """Where to work: what was asked for, else TMPDIR, else beside the user's store, else where temporary files go."""
    if asked is not None:
        return asked
    if not os.environ.get("TMPDIR") and os.access(store.parent, os.W_OK | os.X_OK):
        return store.parent
    return Path(tempfile.gettempdir())


@contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A directory below `parent`; signals wait while it is being removed.  `StorageError`."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise StorageError(f"cannot work there: {error.strerror}", parent, "choose another place with --work") from error
    try:
        yield folder
    finally:
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            _unmount_below(folder)
            shutil.rmtree(folder)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


def empty(folder: Path) -> None:
    """Take away a directory of it, if it is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def check_space(folder: Path, needed: int) -> None:
    """`StorageError` where the disk is too full for what is coming."""
    free = shutil.disk_usage(folder).free
    if free < needed + _MARGIN:
        raise StorageError(f"not enough room: up to {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free",
                           folder.parent, "choose another disk with --work, or fewer images")


def taken(folder: Path) -> int:
    """Bytes that the files below a directory take on disk; one that has several names counts once."""
    total, seen = 0, set()
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(Path(place) / name)
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


def _unmount_below(folder: Path) -> None:
    """What engines left mounted: dockerd its network's namespace, podman its overlay."""
    with suppress(OSError):
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in reversed(points):
            if point.startswith(f"{folder}/"):
                subprocess.run(["umount", point], capture_output=True, check=False)
