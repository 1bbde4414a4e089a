"""What a display knows: each item's count and state, and what they come to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lamina.cli.progress.words import WAITING

KEPT = 24      # ended items that are remembered for being shown; there may be 100,000 of them
WINDOW = 5.0   # seconds that `lately` looks back

Clock = Callable[[], float]


@dataclass(slots=True)
class Item:
    """One layer, file or pack: `count` bytes of `total`, since `since` on the clock."""

    key: str
    label: str
    total: int | None
    order: int
    since: float
    status: str = ""
    count: int = 0
    known: int = 0  # what it adds to the bytes known: its total, or its count beyond that


@dataclass(frozen=True, slots=True)
class Summary:
    """All items together: `current` bytes of `known`; bytes a second lately and since the beginning; seconds left."""

    items: int = 0
    ended: int = 0
    current: int = 0
    known: int = 0
    open: bool = False  # an item's total is not known
    lately: float = 0.0
    overall: float = 0.0
    left: float | None = None


class Tally:
    """Counts what it is told, from any thread: an `advance` is a lock and four additions.

    `moving` is the state of an item whose bytes move and that was told of as waiting, or not at all.
    """

    def __init__(self, clock: Clock = time.monotonic, moving: str = "") -> None:
        self.clock, self._moving = clock, moving
        self._lock = threading.Lock()
        self._live: dict[str, Item] = {}
        self._ended: dict[str, Item] = {}
        self._items = self._finished = self._open = 0
        self._current = self._known = self._moved = 0
        self._speed = Speed()
        self._rested = 0.0  # since when nothing is under way: that time is nobody's slowness

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins; one that began before counts from nothing again."""
        with self._lock:
            before = self._live.get(key)
            item = self._new(key, label, total)
            item.status = before.status if before is not None else ""

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            item = self._live.get(key)
            if item is None:
                return
            self._moved += count
            self._current += count
            item.count += count
            if item.status in ("", WAITING):
                item.status = self._moving
            if item.count > item.known:
                self._known += item.count - item.known
                item.known = item.count

    def state(self, key: str, status: str) -> None:
        """What is done with the item now; it is one from now on, if it was none."""
        with self._lock:
            item = self._live.get(key) or self._new(key, "", None)
            item.status = status

    def done(self, key: str, status: str) -> None:
        """The item ended."""
        self.end(key, status)

    def end(self, key: str, status: str) -> Item | None:
        """The item ended; what it was, or None if it had ended before (a layer of two images) and did not begin again."""
        with self._lock:
            if key not in self._live and key in self._ended:
                return None
            item = self._live.get(key) or self._new(key, "", None)
            del self._live[key]
            self._finished += 1
            if not self._live:
                self._rested = self.clock()
            self._open -= item.total is None
            self._known -= item.known - item.count
            item.known, item.status = item.count, status
            self._ended[key] = item
            if len(self._ended) > KEPT:
                del self._ended[next(iter(self._ended))]
            return item

    def summary(self) -> Summary:
        """What it comes to at this moment."""
        with self._lock:
            if not self._items:
                return Summary()
            lately, overall = self._speed.at(self.clock() if self._live else self._rested, self._moved)
            unsure, rest = self._open > 0, self._known - self._current
            left = rest / lately if rest and not unsure and lately >= 1 else None
            return Summary(self._items, self._finished, self._current, self._known, unsure, lately, overall, left)

    def items(self) -> tuple[list[Item], list[Item]]:
        """Those under way, and the last that ended."""
        with self._lock:
            return list(self._live.values()), list(self._ended.values())

    def _new(self, key: str, label: str, total: int | None) -> Item:
        now = self.clock()
        if not self._items:
            self._speed.at(now, 0)
        live, ended = self._live.pop(key, None), self._ended.pop(key, None)
        before = live or ended
        if before is None:
            self._items += 1
        else:
            self._current -= before.count
            self._known -= before.known
            self._open -= live is not None and live.total is None
            self._finished -= ended is not None
        item = Item(key, label, total, before.order if before else self._items, now, known=total or 0)
        self._known += item.known
        self._open += total is None
        self._live[key] = item
        return item


class Speed:
    """Bytes a second, from what was moved at some moments."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None

    def at(self, now: float, moved: int) -> tuple[float, float]:
        """Lately (in the last `WINDOW` seconds, or since the moment before those) and since the first moment."""
        samples = self._samples
        samples.append((now, moved))
        self._first = self._first or (now, moved)
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()
        return _rate(samples[0], now, moved), _rate(self._first, now, moved)


def _rate(since: tuple[float, int], now: float, moved: int) -> float:
    return (moved - since[1]) / (now - since[0]) if now > since[0] else 0.0
