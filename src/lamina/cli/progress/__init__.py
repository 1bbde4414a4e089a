"""How far the work has come: bars on a terminal, lines off one, both on standard error, or events on standard output.

    words.py    what states and ends are called
    tally.py    what is known of the items, and the rates
    picture.py  the texts of lines that fit a width
    screen.py   a block of lines in its place on a terminal
    bars.py     a display for terminals
    lines.py    a display for logs
    events.py   a display for programs, and what its events are
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.cli.progress.bars import bars
from lamina.cli.progress.lines import Lines
from lamina.cli.progress.words import COPY, PULL, PUSH, Words, title
from lamina.content.progress import Progress, Silent

__all__ = ["COPY", "PULL", "PUSH", "Lines", "Relay", "Words", "bars", "display", "title"]


@contextmanager
def display(*, quiet: bool, events: bool = False, words: Words | None = None) -> Iterator[Progress]:
    """The display that suits; it is complete at the end.

    `events`: one JSON object a line on standard output.  `words`: docker's for a transfer, `PULL`, `PUSH` or `COPY`.
    """
    if quiet or sys.stderr is None:
        yield Silent()
    elif events:
        from lamina.cli.progress.events import Events

        told = Events(words)
        yield told
        if told.problem is not None:
            raise told.problem
    elif sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with bars(words) as shown:
            yield shown
    else:
        yield Lines(words)


class Relay:
    """Passes on to the display that is shown at the moment."""

    def __init__(self) -> None:
        self.shown: Progress = Silent()

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins."""
        self.shown.start(key, label, total)

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""
        self.shown.advance(key, count)

    def state(self, key: str, status: str) -> None:
        """What is done with the item now."""
        self.shown.state(key, status)

    def done(self, key: str, status: str) -> None:
        """The item ended."""
        self.shown.done(key, status)
