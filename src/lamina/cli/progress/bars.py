"""Progress on a terminal: a line for each item and one for all together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.cli.progress.picture import chosen, ended_line, running_line, summary_line
from lamina.cli.progress.screen import live
from lamina.cli.progress.tally import KEPT, Clock, Tally
from lamina.cli.progress.words import Words, moving, noun


class Bars(Tally):
    """A `Progress` that gives the lines of its picture when it is asked."""

    def __init__(self, words: Words | None = None, clock: Clock = time.monotonic) -> None:
        super().__init__(clock, moving(words))
        self._words = words

    def lines(self, width: int, rows: int) -> list[str]:
        """At most so many lines of at most so many columns: at most `KEPT` items and the sum; none before the first item."""
        working, ended = self.items()
        all_ = self.summary()
        if not all_.items or rows < 1:
            return []
        under_way = {item.key for item in working}
        shown = [(running_line if item.key in under_way else ended_line)(item, self._words, width)
                 for item in chosen(working, ended, min(KEPT, rows - 1))]
        return [*shown, summary_line(all_, noun(self._words), width)]


@contextmanager
def bars(words: Words | None = None) -> Iterator[Bars]:
    """Bars on standard error."""
    shown = Bars(words)
    with live(shown.lines):
        yield shown
