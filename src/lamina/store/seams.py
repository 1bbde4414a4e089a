"""Whether a gzip stream has seams, behind which its bytes may be those of another stream of like content.

Deflate in one go makes one string of bits, in which a change at one place changes all that follows: two such layers share
nothing behind their first difference, whatever the chunks.  Programs that compress in blocks (pgzip of podman, skopeo and
buildah; eStargz; gzip --rsyncable) end each with an empty stored block (RFC 1951, 3.2.4), whose two lengths are `MARK`, on a
byte's boundary.  Elsewhere that comes by chance once in 4 GB.
"""

from __future__ import annotations

from typing import Final

MARK: Final = b"\x00\x00\xff\xff"
LOOKED: Final = 8 << 20  # bytes of a stream that are searched: blocks are of 1 MiB at most, before compression
_END: Final = len(MARK) + 8  # a stream that ends so, and its trailer: no seam


class Seams:
    """Searches a stream, buffer by buffer, until there is one or enough has been seen."""

    def __init__(self) -> None:
        self._left, self._before = LOOKED, b""

    def found(self, view: memoryview, *, last: bool) -> bool:
        """Whether the first seam lies in this buffer, or ends in it."""
        if self._left <= 0:
            return False
        seen = self._before + view[: self._left]
        at = seen.find(MARK)
        if 0 <= at < len(seen) - (_END if last else 0):
            self._left = 0
            return True
        self._before = seen[1 - len(MARK) :]
        self._left -= len(view)
        return False
