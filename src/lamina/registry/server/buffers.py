"""Buffers for bodies on their way: few, used again and again, smaller where many are at work."""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from lamina.registry.server.settings import Limits

_KEPT = 32  # free ones, of `piece` bytes each


class Buffers:
    """For one event loop.

    A buffer has `piece` bytes of address space; only its share of `buffers` is lent, and so touched (a `bytearray` would
    touch all of it when it is made).
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free: list[memoryview] = []
        self.lent = 0

    def take(self) -> memoryview:
        """One to fill; its size is its share at this moment, a multiple of 4 KiB."""
        limits = self._limits
        self.lent += 1
        share = max(limits.least, min(limits.piece, limits.buffers // self.lent)) & ~4095
        whole = self._free.pop() if self._free else memoryview(mmap(-1, limits.piece, MAP_PRIVATE | MAP_ANONYMOUS))
        return whole[:share]

    def give(self, buffer: memoryview) -> None:
        """It is free again: nobody reads or writes it any more."""
        self.lent -= 1
        if len(self._free) < _KEPT and isinstance(buffer.obj, mmap):
            self._free.append(memoryview(buffer.obj))


class Allowance:
    """Bytes that may be held at once, in all."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Whether that much was left, and is taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """It is let go."""
        self._left += size
