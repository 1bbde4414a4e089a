"""How far the work has come, on standard error: bars on a terminal, a line for each finished item otherwise."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.cli.progress.words import COPY, LABEL, PULL, PUSH, Words, title
from lamina.cli.say import note
from lamina.cli.units import human_size
from lamina.content.progress import Progress, Silent

if TYPE_CHECKING:
    import rich.progress

__all__ = ["COPY", "PULL", "PUSH", "Lines", "Relay", "Words", "bars", "display", "title"]

REDRAW = 0.1        # seconds between two pictures: 10 a second cost no measurable time
FINISHED_SHOWN = 8  # finished bars that stay in view; an archive may have a thousand layers


@contextmanager
def display(*, quiet: bool, events: bool = False, words: Words | None = None) -> Iterator[Progress]:
    """The display that suits standard error, or events on standard output; it is gone or complete at the end."""
    if quiet or sys.stderr is None:
        yield Silent()
    elif events:
        from lamina.cli.progress.events import Events

        told = Events()
        yield told
        if told.problem is not None:
            raise told.problem
    elif sys.stderr.isatty():
        with bars() as shown:
            yield shown
    else:
        yield Lines()


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


class Lines:
    """One line for each finished item: status, label, bytes, seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[str, tuple[str, float]] = {}
        self._counts: dict[str, int] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins."""
        with self._lock:
            self._items[key] = title(key, label), time.monotonic()
            self._counts[key] = 0

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + count

    def state(self, key: str, status: str) -> None:
        """Lines tell of ends alone."""

    def done(self, key: str, status: str) -> None:
        """The item ended: its line."""
        with self._lock:
            label, since = self._items.pop(key, (title(key), time.monotonic()))
            count = self._counts.pop(key, 0)
            seconds = time.monotonic() - since
            note(f"{status} {label} {human_size(count)} in {seconds:.1f} s" if count else f"{status} {label}")


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars by rich, imported here: it takes 60 ms."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Rich

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=32), DownloadColumn(), TransferSpeedColumn(),
               TextColumn("{task.fields[status]}", markup=False))
    # rich would send standard output to its own console, which is standard error.
    with Rich(*columns, console=Console(stderr=True), refresh_per_second=1 / REDRAW, redirect_stdout=False,
              redirect_stderr=False) as rich_bars:
        yield _Bars(rich_bars)


class _Bars:
    """A bar for each item; finished ones go from view beyond the last few."""

    def __init__(self, shown: rich.progress.Progress) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self._tasks: dict[str, rich.progress.TaskID] = {}
        self._finished: list[rich.progress.TaskID] = []
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        """A bar begins."""
        with self._lock:
            self._tasks[key] = self._shown.add_task(title(key, label).ljust(LABEL), total=total, status="")
            self._counts[key], self._totals[key] = 0, total or 0

    def advance(self, key: str, count: int) -> None:
        """The bar grows."""
        with self._lock:
            task = self._tasks.get(key)
            self._counts[key] = self._counts.get(key, 0) + count
        if task is not None:
            self._shown.advance(task, count)

    def state(self, key: str, status: str) -> None:
        """What is done with the item now stands behind its bar."""
        with self._lock:
            task = self._tasks.get(key)
        if task is not None:
            self._shown.update(task, status=status)

    def done(self, key: str, status: str) -> None:
        """The bar is full and says how the item ended."""
        with self._lock:
            task = self._tasks.pop(key, None)
            size = max(self._counts.pop(key, 0), self._totals.pop(key, 0))
            if task is None:
                return
            self._shown.update(task, total=size, completed=size, status=status)
            self._finished.append(task)
            gone = self._finished[:-FINISHED_SHOWN]
            self._finished = self._finished[-FINISHED_SHOWN:]
        for old in gone:
            self._shown.remove_task(old)
