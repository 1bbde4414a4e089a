"""How long work tells of itself: a few calls that a progress display, a log or nothing listens to."""

from __future__ import annotations

import time
from typing import Protocol


class Progress(Protocol):
    """One item is one layer or file, known by `key` (a digest or a path).  Called from any thread."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins; `total` bytes if known."""

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""

    def state(self, key: str, status: str) -> None:
        """What is done with the item now: 'waiting', 'downloading', 'verifying', ..."""

    def done(self, key: str, status: str) -> None:
        """The item ended: 'loaded', 'exists', 'saved', 'verified', ..."""


class Silent:
    """Listens to nothing."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, key: str, count: int) -> None:
        """Nothing."""

    def state(self, key: str, status: str) -> None:
        """Nothing."""

    def done(self, key: str, status: str) -> None:
        """Nothing."""


class StageSink(Protocol):
    """Where the stages of long work account for their time.  Called from any thread, once a buffer or batch."""

    def add(self, name: str, cpu_seconds: float, wall_seconds: float, bytes: int, /) -> None:
        """A stage had so many bytes in its hands for so long."""


class Clock:
    """What one thread does, stage after stage; costs nothing where nobody wants to know."""

    def __init__(self, stages: StageSink | None) -> None:
        self._stages = stages
        self.start()

    def start(self) -> None:
        """What was before does not count."""
        if self._stages is not None:
            self._cpu, self._wall = time.thread_time(), time.perf_counter()

    def tick(self, name: str, count: int) -> None:
        """What was since the start or the last tick was this stage."""
        if self._stages is not None:
            cpu, wall = self._cpu, self._wall
            self.start()
            self._stages.add(name, self._cpu - cpu, self._wall - wall, count)
