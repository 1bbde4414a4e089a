"""How long work tells of itself: a few calls that a progress display, a log or nothing listens to."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One item is one layer or file, known by `key` (a digest or a path).  Called from any thread."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins; `total` bytes if known."""

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""

    def done(self, key: str, status: str) -> None:
        """The item ended: 'loaded', 'exists', 'saved', 'verified', ..."""


class Silent:
    """Listens to nothing."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, key: str, count: int) -> None:
        """Nothing."""

    def done(self, key: str, status: str) -> None:
        """Nothing."""
