"""Signals that end a command: raised in the main thread, wherever that is.

A signal that comes just before the main thread enters a system call that does not return (a read of a pipe that says nothing
more) does not interrupt it: Python runs a handler between its own steps, and there is none until then.  One of a hundred did so
on a busy machine.  A thread hears of the first signal by the wake-up descriptor, and interrupts such a call by SIGURG until the
handler has run.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WAIT, _TIMES = 0.05, 100  # seconds before each nudge: by far most signals have been handled by the first


class Interrupted(KeyboardInterrupt):
    """A signal came; raised in the main thread, so that `finally` and `with` clean up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def signals() -> Iterator[None]:
    """Let the first signal raise `Interrupted`; the second is passed over, since the clean-up runs; the third ends the process.

    A signal that the caller ignores (nohup) stays ignored.  In the main thread only.
    """
    seen = 0

    def came(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            raise Interrupted(number)
        if seen > 2:
            os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = {number: came for number, handler in before.items() if handler != signal.SIG_IGN}
    with _nudged(lambda: not seen, set(ours)), _handled({**ours, signal.SIGURG: _nothing}):
        yield


def _nothing(number: int, frame: FrameType | None) -> None:
    """That there is a handler makes a system call return."""


@contextmanager
def _handled(handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # of C
                signal.signal(number, handler)


@contextmanager
def _nudged(waiting: Callable[[], bool], numbers: set[signal.Signals]) -> Iterator[None]:
    """After one of these signals the main thread is interrupted as long as it is `waiting`."""
    main = threading.get_ident()

    def run(heard: int) -> None:
        with open(heard, "rb", buffering=0) as file:
            while number := file.read(1):
                for _ in range(_TIMES if number[0] in numbers else 0):
                    time.sleep(_WAIT)
                    if not waiting():
                        break
                    signal.pthread_kill(main, signal.SIGURG)

    tell = _listened(run)
    if tell < 0:
        yield
        return
    former = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        yield
    finally:
        with suppress(ValueError, OSError):  # closed meanwhile
            signal.set_wakeup_fd(former)
        os.close(tell)


def _listened(run: Callable[[int], None]) -> int:
    """The end of a pipe whose other end a thread reads by `run`; -1 where there can be none: a signal may be noticed later."""
    try:
        heard, tell = os.pipe()
    except OSError:
        return -1
    os.set_blocking(tell, False)
    # Who holds signals back in the main thread, while it cleans up, must not get them by this one.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        threading.Thread(target=run, args=(heard,), name="lamina-signals", daemon=True).start()
    except RuntimeError:
        os.close(heard)
        os.close(tell)
        return -1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return tell
