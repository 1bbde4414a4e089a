"""The C library's heap, in a process that takes in blobs for months."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)
_LARGE: Final = 512 << 10
_TOP: Final = 2 << 20
_HEAPS: Final = 4


def give_back_large_blocks() -> None:
    """Let every block from 512 KiB on be given back to the system when it is freed.

    Each session has new threads, and glibc has heaps by thread: it keeps in each what was freed there once it has seen a large
    block go, so that six pushes of 40 MB left 200 MB (70 with this).  Other C libraries know nothing of it.

    Not from 256 KiB on: that is what asyncio asks for at each read of a socket, and fresh pages for all that comes in were a
    sixth of the CPU time of a push.  For the same reason a heap keeps 2 MiB at its end; and so there are four, not eight for
    each core.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, _TOP)
        library.mallopt(_M_ARENA_MAX, _HEAPS)
