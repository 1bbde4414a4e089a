"""Progress off a terminal: a line on standard error for each item that ended, and now and then one for all together."""

from __future__ import annotations

import contextlib
import threading
import time

from lamina.cli.progress.picture import summary_line
from lamina.cli.progress.tally import Clock, Tally
from lamina.cli.progress.words import Words, moving, noun, title, worded
from lamina.cli.say import note
from lamina.cli.units import human_size

EVERY = 5.0  # seconds between two lines for all together


class Lines(Tally):
    """A `Progress` of lines: `loaded fedcba987654 4MB in 0.1 s`, with words `fedcba987654: Pull complete, 4MB in 0.1 s`.

    Whoever moves bytes writes the line for all, `3 of 7 layers, 120MB of 410MB, 38MB/s`, when it is due: no thread, no timer.
    """

    def __init__(self, words: Words | None = None, clock: Clock = time.monotonic) -> None:
        super().__init__(clock, moving(words))
        self._words = words
        self._telling = threading.Lock()
        self._due: float | None = None

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins."""
        super().start(key, label, total)
        if self._due is None:
            self._due = self.clock() + EVERY
        self._tell()

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""
        super().advance(key, count)
        self._tell()

    def state(self, key: str, status: str) -> None:
        """What is done with the item now; lines tell of ends alone."""
        super().state(key, status)
        self._tell()

    def done(self, key: str, status: str) -> None:
        """The item ended: its line."""
        item = self.end(key, status)
        size = f"{human_size(item.count)} in {self.clock() - item.since:.1f} s" if item is not None and item.count else ""
        name = title(key, item.label if item is not None else "")
        if self._words is None:
            parts = [status, name, size]
            self._note(" ".join(part for part in parts if part))
        else:
            self._note(f"{name}: {worded(self._words, status)}{', ' if size else ''}{size}")

    def _tell(self) -> None:
        if self._due is None or self.clock() < self._due:
            return
        with self._telling:
            now = self.clock()
            if now < self._due:
                return
            self._due = now + EVERY
        self._note(summary_line(self.summary(), noun(self._words), 200))

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens; the work goes on
            note(text)
