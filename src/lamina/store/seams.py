"""Whether a gzip stream has seams, behind which its bytes may be those of another stream of like content.

Deflate in one go makes one string of bits, in which a change at one place changes all that follows: two such layers share
nothing behind their first difference, whatever the chunks.  Programs that compress in blocks (pgzip of podman, skopeo and
buildah; eStargz; gzip --rsyncable) end each with an empty stored block (RFC 1951, 3.2.4), whose two lengths are `MARK`, on a
byte's boundary.  Elsewhere that comes by chance once in 4 GB.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = b"\x00\x00\xff\xff"
LOOKED: Final = 8 << 20  # bytes of a stream that are searched: blocks are of 1 MiB at most, before compression
_TRAILER: Final = 8  # bytes behind the end of a stream, which may be an empty block: no seam
_MARK: Final = re.compile(re.escape(MARK))


class Seams:
    """Searches a stream, buffer by buffer, until there is one or enough has been seen."""

    def __init__(self) -> None:
        self._left, self._before = LOOKED, b""

    def found(self, view: memoryview, *, last: bool) -> bool:
        """Whether the first seam lies in this buffer, or ends in it.  Nothing is copied but the buffer's ends: 1.4 GB/s."""
        if self._left <= 0:
            return False
        view = view[: self._left]
        border = self._before + bytes(view[: len(MARK) - 1])
        if (at := border.find(MARK)) >= 0:
            behind = len(border) - at - len(MARK) + len(view[len(MARK) - 1 :])
        else:
            there = _MARK.search(view)
            behind = len(view) - there.end() if there else -1
        self._before = (self._before + bytes(view[1 - len(MARK) :]))[1 - len(MARK) :]
        self._left -= len(view)
        if behind < 0 or (last and behind <= _TRAILER):
            return False
        self._left = 0
        return True
