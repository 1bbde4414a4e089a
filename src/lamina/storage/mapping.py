"""Read-only mappings that hold no file descriptor.

`mmap.mmap` keeps a duplicate of the descriptor for as long as the mapping lives (until Python 3.13 can be told
otherwise); with one footer mapped per pack, a store of 1 TB would need 16,000 of them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

_libc = ctypes.CDLL(None, use_errno=True)
_map = _libc.mmap
_map.restype = ctypes.c_void_p
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_unmap = _libc.munmap
_unmap.restype = ctypes.c_int
_unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_mincore = _libc.mincore
_mincore.restype = ctypes.c_int
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_FAILED = ctypes.c_void_p(-1).value


def map_range(fd: int, offset: int, length: int) -> memoryview:
    """A read-only view of a range that lies within the file; unmapped when the last view of it goes.  OSError."""
    if length == 0:
        return memoryview(b"")
    lead = offset % mmap.ALLOCATIONGRANULARITY
    # Whole pages: ctypes keeps a type for every length of an array, so let there be few lengths.
    whole = -(-(lead + length) // mmap.PAGESIZE) * mmap.PAGESIZE
    address = _map(None, whole, mmap.PROT_READ, mmap.MAP_SHARED, fd, offset - lead)
    if address is None or address == _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    pages = (ctypes.c_ubyte * whole).from_address(address)
    weakref.finalize(pages, _unmap, address, whole).atexit = False
    return memoryview(pages).cast("B").toreadonly()[lead:lead + length]


def mostly_cached(fd: int, offset: int, length: int) -> bool:
    """Whether half of a range of a file or more lies in the page cache; yes where that cannot be known.

    `mincore` of a mapping that is never touched: it changes nothing, and a file that shrinks does no harm.  A read with
    RWF_NOWAIT would start to read ahead what it does not find; `cachestat` is there since Linux 6.5 only.
    """
    lead = offset % mmap.ALLOCATIONGRANULARITY
    address = _map(None, lead + length, mmap.PROT_READ, mmap.MAP_SHARED, fd, offset - lead)
    if address is None or address == _FAILED:
        return True
    pages = bytearray(-(-(lead + length) // mmap.PAGESIZE))
    try:
        if _mincore(address, lead + length, ctypes.byref(ctypes.c_ubyte.from_buffer(pages))):
            return True
    finally:
        _unmap(address, lead + length)
    return 2 * pages.count(1) >= len(pages)
