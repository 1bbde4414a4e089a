"""Where the time goes: processor and wall seconds and bytes of each stage of a pipeline.

A stage is timed around calls that work on a whole buffer, so that the clock itself costs nothing to speak of: two
readings of each clock, some 2 microseconds, for a buffer of megabytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Stage:
    """Seconds of processor time in the threads that worked, seconds that passed for them, bytes that went in."""

    cpu: float = 0.0
    wall: float = 0.0
    bytes: int = 0


class Stages:
    """The stages of some work by name, in the order in which they were first met.  Usable from several threads.

    What is added here is added to `parent`, too: a layer's stages are part of its session's.
    """

    def __init__(self, parent: Stages | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self.by_name: dict[str, Stage] = {}

    def add(self, name: str, cpu_seconds: float, wall_seconds: float, count: int) -> None:
        """So much more of a stage; `count` bytes."""
        with self._lock:
            stage = self.by_name.get(name)
            if stage is None:
                stage = self.by_name[name] = Stage()
            stage.cpu += cpu_seconds
            stage.wall += wall_seconds
            stage.bytes += count
        if self._parent is not None:
            self._parent.add(name, cpu_seconds, wall_seconds, count)

    @contextmanager
    def timed(self, name: str, count: int) -> Iterator[None]:
        """Add what happens inside, in this thread."""
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.thread_time() - cpu, time.perf_counter() - wall, count)
