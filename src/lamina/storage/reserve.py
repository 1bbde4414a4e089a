"""Space kept for a full disk: without some even a removal could not be written down, and nothing would ever be freed.

A file of 2 MiB.  Whoever opens a store on a disk that is nearly full deletes it; whoever is about to take in content makes it
again first, or takes in nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIZE = 2 << 20  # a removal writes a journal of a few KiB and some pages of the catalog, twice
NAME = "reserve"


def hold(folder: Path) -> None:
    """See that the space is kept; OSError where there is none left to keep."""
    path = folder / NAME
    with suppress(FileNotFoundError):
        if path.stat().st_size >= SIZE:
            return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        os.posix_fallocate(fd, 0, SIZE)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def ease(folder: Path) -> None:
    """Give the space away if there is hardly any left."""
    with suppress(OSError):  # a directory that others own: they see to it
        found = os.statvfs(folder)
        if found.f_bavail * found.f_frsize < SIZE:
            (folder / NAME).unlink(missing_ok=True)
