"""Digests of several streams side by side: one thread hashes a piece of each in turn, all of them in one kernel.

SHA-256 is bound by latency: two interleaved streams take little longer than one (see `_native/sha256many`), so the
streams of all lanes go to one thread rather than each to its own.  A piece waits for one of another stream to run beside
it, but no longer than its giver can go on without it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable

from lamina._native.sha256many import Sha256, update_many
from lamina.digest import Digest
from lamina.store.stages import Stages

SLICE = 1 << 20  # bytes that a stream is hashed alone (0.6 ms) before the others are looked at again


class Stream:
    """One stream's digests.  Pieces are given in order and stay untouched until `wait` says that they are done with."""

    def __init__(self, hub: HashHub, algorithms: Iterable[str], stages: Stages) -> None:
        self._hub = hub
        self._others = {name: hashlib.new(name) for name in algorithms if name != "sha256"}
        self.stages = stages
        self.state = Sha256()
        self.pending: deque[memoryview] = deque()
        self.waited = False  # its giver cannot go on without it
        self.behind = 0  # then, how many pieces may still be to do
        # Each giver sleeps on its own: nobody is woken to find that somebody else's piece is done.
        self.done = threading.Condition(hub.lock)
        self.failure: BaseException | None = None

    def give(self, piece: memoryview) -> None:
        """Hash this next."""
        if len(piece):
            with self._hub.lock:
                self.pending.append(piece)
                self._hub.wake()

    def wait(self, behind: int = 0) -> None:
        """Until no more than the last `behind` pieces are still to be hashed."""
        with self._hub.lock:
            self.behind = behind
            while len(self.pending) > behind and self.failure is None:
                self.waited = True
                self._hub.wake()
                self.done.wait()
            self.waited = False
        if self.failure is not None:
            raise self.failure

    def digests(self) -> dict[str, Digest]:
        """By algorithm, when all is done."""
        self.wait()
        found = {name: Digest.done(name, each) for name, each in self._others.items()}
        found["sha256"] = Digest(f"sha256:{self.state.hexdigest()}")
        return found

    def end(self) -> None:
        """Nothing more is hashed; returns when no piece is in use any more."""
        self._hub.leave(self)

    def update_others(self, piece: memoryview) -> None:
        """The digests that have no kernel of their own."""
        for each in self._others.values():
            each.update(piece)


class HashHub:
    """The thread, started with the first stream."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._work = threading.Condition(self.lock)  # the thread sleeps on it
        self._idle = False
        self._streams: list[Stream] = []
        self._busy: list[Stream] = []
        self._closed = False
        self._thread: threading.Thread | None = None

    def stream(self, algorithms: Iterable[str], stages: Stages) -> Stream:
        """A new stream; always with sha256."""
        stream = Stream(self, algorithms, stages)
        with self.lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lamina-hash", daemon=True)
                self._thread.start()
            self._streams.append(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream, and wait until it is not being worked on."""
        with self.lock:
            if stream in self._streams:
                self._streams.remove(stream)
                self.wake()  # another one may be alone now
            while stream in self._busy:
                stream.done.wait()

    def close(self) -> None:
        """Stop the thread."""
        with self.lock:
            self._closed = True
            self.wake()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def wake(self) -> None:
        """There may be something to do; with the lock held."""
        if self._idle:
            self._work.notify()

    def _run(self) -> None:
        while work := self._next():
            streams, pieces = work
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                update_many([stream.state for stream in streams], pieces)
                for stream, piece in zip(streams, pieces, strict=True):
                    stream.update_others(piece)
            except BaseException as error:  # raised again by wait
                for stream in streams:
                    stream.failure = error
            cpu, wall = (time.thread_time() - cpu) / len(streams), (time.perf_counter() - wall) / len(streams)
            with self.lock:
                self._busy = []
                for stream, piece in zip(streams, pieces, strict=True):
                    stream.stages.add("hash", cpu, wall, len(piece))
                    self._done(stream, len(piece))

    def _next(self) -> tuple[list[Stream], list[memoryview]] | None:
        """A piece of each stream that has one, all as long as the shortest; None at the end."""
        with self.lock:
            while not self._worth_it(ready := [stream for stream in self._streams if stream.pending]):
                if self._closed:
                    return None
                self._idle = True
                self._work.wait()
                self._idle = False
            length = min(len(stream.pending[0]) for stream in ready)
            if len(ready) == 1 < len(self._streams):
                length = min(length, SLICE)
            self._busy = ready
            return ready, [stream.pending[0][:length] for stream in ready]

    def _worth_it(self, ready: list[Stream]) -> bool:
        """Whether to begin: two run side by side, or somebody waits, or nobody else could come."""
        return len(ready) >= min(2, max(1, len(self._streams))) or any(stream.waited for stream in ready)

    def _done(self, stream: Stream, count: int) -> None:
        piece = stream.pending.popleft()
        if len(piece) > count:
            stream.pending.appendleft(piece[count:])
        # Its giver, or who lets it leave.
        if len(stream.pending) <= stream.behind or stream.failure is not None or stream not in self._streams:
            stream.done.notify_all()
