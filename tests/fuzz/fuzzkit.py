"""What the fuzz targets share: inputs taken apart into parts, and what a refusal must look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lamina.errors import LaminaError

T = TypeVar("T")

MESSAGE = 4096  # characters that an error may have at most


class Feed:
    """An input as numbers and byte strings, taken from its front; past its end all are 0 and empty."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """An unsigned little-endian number of so many bytes."""
        return int.from_bytes(self.bytes(size), "little")

    def bytes(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def part(self) -> bytes:
        """A byte string after its length (u16)."""
        return self.bytes(self.number(2))

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(len(self._data))


def part(data: bytes) -> bytes:
    """What `Feed.part` takes apart."""
    return len(data).to_bytes(2, "little") + data


def accepted(call: Callable[..., T], *args: object) -> T | None:
    """What the call returns, or None for a `LaminaError`, which must be fit to be shown; anything else is a finding."""
    try:
        return call(*args)
    except LaminaError as error:
        text = str(error)
        assert error.what and len(text) <= MESSAGE, f"an error of {len(text)} characters"
        return None
