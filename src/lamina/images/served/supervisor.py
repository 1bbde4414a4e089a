"""Worker processes: each is a fresh interpreter that is handed the sockets, so that nothing of this one comes along.

One that dies is started again, not more often than once a second; what it had taken in is in the store or in the files of its
uploads.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lamina.images.served.serving import Say, Served

_PAUSE: Final = 1.0  # seconds between two starts of one worker
_LOOK: Final = 0.2


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    ready: int  # a pipe that it closes when it accepts
    started: float


def supervise(options: Served, sockets: Sequence[socket.socket], count: int, say: Say, ready: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT; SIGHUP is handed on."""
    wanted: list[int] = []
    before = {each: signal.signal(each, lambda number, _: wanted.append(number))
              for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    workers: list[_Worker] = []
    try:
        workers += [_start(options, sockets, number) for number in range(count)]
        if not _all_ready(workers, wanted):
            return
        ready()
        while not _told_to_stop(workers, wanted):
            time.sleep(_LOOK)  # a signal ends it early
            for i, each in enumerate(workers):
                if each.process.poll() is not None and time.monotonic() - each.started > _PAUSE:
                    say(f"worker {each.number} has ended with {each.process.returncode}: it is started again")
                    workers[i] = _start(options, sockets, each.number)
    finally:
        for each in workers:
            with suppress(ProcessLookupError):
                each.process.send_signal(signal.SIGTERM)
        for each in workers:
            each.process.wait()
            with suppress(OSError):
                os.close(each.ready)
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(options: Served, sockets: Sequence[socket.socket], number: int) -> _Worker:
    reading, writing = os.pipe()
    descriptors = [each.fileno() for each in sockets]
    command = [sys.executable, "-m", "lamina.images.served.worker", options.encode(), str(number), str(writing),
               *map(str, descriptors)]
    try:
        # A group of its own: Ctrl-C on a terminal is for this process, which tells the workers.
        process = subprocess.Popen(command, pass_fds=[writing, *descriptors], stdin=subprocess.DEVNULL, process_group=0)
    finally:
        os.close(writing)
    return _Worker(number, process, reading, time.monotonic())


def _all_ready(workers: Sequence[_Worker], wanted: Sequence[int]) -> bool:
    """Wait until each accepts, or one has died, or this is to stop."""
    with selectors.DefaultSelector() as selector:
        for each in workers:
            selector.register(each.ready, selectors.EVENT_READ, each)
        while selector.get_map() and not wanted:
            for key, _ in selector.select(_LOOK):
                worker: _Worker = key.data
                word = os.read(worker.ready, 1)
                selector.unregister(worker.ready)
                if not word:  # it has said on its standard error why
                    return False
    return True


def _told_to_stop(workers: Sequence[_Worker], wanted: list[int]) -> bool:
    told, wanted[:] = list(wanted), []
    if signal.SIGHUP in told:
        for each in workers:
            with suppress(ProcessLookupError):
                each.process.send_signal(signal.SIGHUP)
    return bool(set(told) - {signal.SIGHUP})
