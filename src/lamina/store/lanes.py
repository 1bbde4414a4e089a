"""Work on many things, a few at a time: the largest first, so that none of them is left for the end."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from lamina.errors import LaminaError

T = TypeVar("T")

# Streams on their way at once.  Two keep two cores busy and SHA-256 interleaved; more than four gain nothing, for the
# look-up and the laying of chunks take turns.
LANES = min(4, max(2, os.cpu_count() or 1))
PATIENCE = 3.0


def run_lanes(jobs: Sequence[T], work: Callable[[T], None], stop: Callable[[], None], lanes: int = 0) -> None:
    """`work` on each job, in `lanes` threads (0: `LANES`); returns when all are done.

    A `LaminaError` ends its job alone.  Anything else, an interrupt of this thread among them, ends all: `stop` is called,
    the threads are waited for, and it is raised.  After an interrupt they are waited for `PATIENCE` seconds: one of them may
    sit in a call to a registry that does not answer.
    """
    todo: queue.SimpleQueue[T] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    failures: list[BaseException] = []

    def run() -> None:
        while not failures:
            try:
                work(todo.get_nowait())
            except queue.Empty:
                return
            except LaminaError:
                continue
            except BaseException as error:
                failures.append(error)
                stop()

    count = min(lanes or LANES, len(jobs))
    threads = [threading.Thread(target=run, name=f"lamina-lane-{n}", daemon=True) for n in range(count)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        failures.append(error)
        stop()
        until = time.monotonic() + PATIENCE
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        raise
    if failures:
        raise failures[0]
