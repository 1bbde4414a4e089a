"""A value that is dear to make, kept by a thread: whoever asks gets what is there, and waits a moment at most for newer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
REST: Final = 10  # what takes a second to make is not made again for ten


class Kept(Generic[T]):
    """`make` is run by one thread at a time: when the value is asked for and is older than `age` seconds, and `key` says that
    it has changed, or it is older than `oldest`."""

    def __init__(self, make: Callable[[], T | None], key: Callable[[], object], *, age: float, patience: float,
                 oldest: float = float("inf")) -> None:
        self._make, self._key, self._age, self._patience, self._oldest = make, key, age, patience, oldest
        self._lock = threading.Lock()
        self._value: T | None = None
        self._known: object = None
        self._made = 0.0
        self._due = 0.0  # not before
        self._running: threading.Thread | None = None
        self._closed = False
        self._failed: Exception | None = None

    def get(self) -> T | None:
        """The value, at most `patience` seconds later; None if there has been none yet.

        If there is none because it failed, what `make` or `key` raised.
        """
        thread = self._refresh()
        if thread is not None:
            thread.join(self._patience)
        if self._value is None and self._failed is not None:
            raise self._failed
        return self._value

    def close(self) -> None:
        """Wait for the thread; no other is begun."""
        with self._lock:
            self._closed, thread = True, self._running
        if thread is not None:
            thread.join()

    def _refresh(self) -> threading.Thread | None:
        with self._lock:
            if self._running is None and not self._closed and time.monotonic() >= self._due:
                self._running = threading.Thread(target=self._run, name="showcase", daemon=True)
                self._running.start()
            return self._running

    def _run(self) -> None:
        began = time.monotonic()
        try:
            key = self._key()
            if self._value is None or key != self._known or began - self._made >= self._oldest:
                self._value, self._known, self._made, self._failed = self._make(), key, began, None
        except Exception as error:  # told to whoever asks, and tried again
            self._failed = error
        now = time.monotonic()
        with self._lock:
            self._running = None
            self._due = now + max(self._age, REST * (now - began))
