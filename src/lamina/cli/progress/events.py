"""Progress for programs: one JSON object a line on standard output (`--format json`).

    {"event": "start", "id": "sha256:…", "status": "waiting", "current": 0, "total": 1234, "rate": 0}
    {"event": "state", "id": "sha256:…", "status": "downloading", "current": 0, "total": 1234, "rate": 0}
    {"event": "progress", "id": "sha256:…", "status": "downloading", "current": 600, "total": 1234, "rate": 6000}
    {"event": "done", "id": "sha256:…", "status": "loaded", "current": 1234, "total": 1234, "rate": 5800}
    {"event": "result", "id": "docker.io/library/app:1", "status": "pulled", …}
    {"event": "error", "id": "docker.io/library/app:1", "what": "…", "where": "…", "hint": "…"}

start     an item begins, or begins again after a failed try (`current` is 0 again)
state     what is done with it now: waiting, downloading, verifying, compressing, uploading, …
progress  it came further; at most ten a second for each item
done      it ended: loaded, exists, pushed, mounted, …; an item that had nothing to do has a `done` without a `start`
result    what one image came to; a command may add keys of its own (`digest`)
error     what went wrong; `id` is the image, or empty where the whole command failed, and the exit code is not 0

`id` is the digest of a blob or the name of what has none; `current` and `total` are bytes, `rate` is bytes a second (since
the item's start in `done`, lately else).  The keys of an event are always there; `total` is null where it is not known.
Keys may be added in later versions, none goes.  Other text (warnings, the error's line) is on standard error.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass

from lamina.cli.progress.tally import Clock
from lamina.cli.progress.words import WAITING, Words, moving
from lamina.cli.say import system_words
from lamina.errors import LaminaError

EVERY = 0.1  # seconds between two `progress` events of one item

_writing = threading.Lock()


@dataclass(slots=True)
class _Item:
    total: int | None
    since: float
    told: float         # when the last event was written ...
    said: int = 0       # ... and how many bytes it told of
    current: int = 0
    status: str = ""


class Events:
    """A `Progress` that writes events.

    It never raises into the work: `problem` is what the writing met, and from then on it is silent.  (A closed pipe is
    a connection error by its type: the thread that fetches would take it for one of its own.)
    """

    def __init__(self, words: Words | None = None, clock: Clock = time.monotonic) -> None:
        self._moving, self._clock = moving(words), clock
        self._lock = threading.Lock()
        self._items: dict[str, _Item] = {}
        self.problem: OSError | None = None

    def start(self, key: str, label: str, total: int | None) -> None:
        """An item begins."""
        with self._lock:
            now = self._clock()
            # A command may say what state an item is in before it begins.
            before = self._items.get(key)
            self._items[key] = item = _Item(total, now, now, status=before.status if before else WAITING)
            self._write("start", key, item, 0)

    def advance(self, key: str, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return
            item.current += count
            now = self._clock()
            if item.status == WAITING and self._moving:
                item.status = self._moving
                self._write("state", key, item, 0)
            if now - item.told >= EVERY:
                rate = (item.current - item.said) / (now - item.told)
                item.told, item.said = now, item.current
                self._write("progress", key, item, rate)

    def state(self, key: str, status: str) -> None:
        """The item is in another state; its event comes at once."""
        with self._lock:
            now = self._clock()
            item = self._items.setdefault(key, _Item(None, now, now))
            if item.status != status:
                item.status = status
                self._write("state", key, item, 0)

    def done(self, key: str, status: str) -> None:
        """The item ended."""
        with self._lock:
            now = self._clock()
            item = self._items.pop(key, None) or _Item(None, now, now)
            item.status = status
            self._write("done", key, item, item.current / (now - item.since) if now > item.since else 0)

    def _write(self, event: str, key: str, item: _Item, rate: float) -> None:
        if self.problem is None:
            try:
                write(event, key, status=item.status, current=item.current, total=item.total, rate=round(rate))
            except OSError as problem:
                self.problem = problem


def write(event: str, name: str, **more: object) -> None:
    """One event on standard output, at once.  `OSError`."""
    line = json.dumps({"event": event, "id": name, **more})
    with _writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def write_error(problem: BaseException, name: str = "") -> None:
    """The `error` event of what went wrong."""
    what, where, hint = parts(problem)
    write("error", name, what=what, where=where, hint=hint)


def parts(problem: BaseException) -> tuple[str, str, str]:
    """What went wrong, where, and what to do."""
    if isinstance(problem, LaminaError):
        return problem.what, problem.where, problem.hint
    if isinstance(problem, OSError):
        what, _, where = system_words(problem).partition(", ")
        return what, where, ""
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", "", ""
    if isinstance(problem, MemoryError):
        return "out of memory", "", ""
    return f"internal error, {type(problem).__name__}: {problem}", "", "set LAMINA_DEBUG=1 to see where"
