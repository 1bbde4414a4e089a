"""Where blocking calls run: two bounded pools, so that streams which wait never keep a small request from its thread.

Not `run_in_executor`: its futures cost a small request 40 % of its CPU time.  Results come back to the event loop by the
handful, with one wake-up for as many as are there.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from lamina.registry.server.settings import Limits

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """`quick` for what ends by itself, `bulk` for what may wait for disks and pipelines.  For one event loop."""

    def __init__(self, limits: Limits) -> None:
        home = _Home(asyncio.get_running_loop())
        self._quick, self._bulk = _Pool(home, "serve", limits.quick), _Pool(home, "stream", limits.bulk)

    async def quick(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns."""
        return await self._quick.run(lambda: function(*args, **kwargs))

    async def bulk(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns."""
        return await self._bulk.run(lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Wait for what runs."""
        self._quick.close()
        self._bulk.close()


class _Job(Generic[T]):
    """One call, from its task to a thread and back."""

    __slots__ = ("done", "error", "result", "waiter", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.done = False
        self.result: T
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None


class _Home:
    """Where jobs come back to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ended: deque[_Job[Any]] = deque()
        self._woken = False

    def back(self, job: _Job[Any]) -> None:
        """Called in a thread.  Whoever finds `_woken` set has put its job down before the loop looks."""
        self._ended.append(job)
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._ended:
            job = self._ended.popleft()
            job.done = True
            if job.waiter is not None and not job.waiter.done():
                job.waiter.set_result(None)


class _Pool:
    """Up to `most` threads, begun as they are needed."""

    def __init__(self, home: _Home, name: str, most: int) -> None:
        self._home, self._name, self._most = home, name, most
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The work's result.

        A task that is cancelled meanwhile waits for its thread: what that uses must not be let go under it.
        """
        job = _Job(work)
        self._busy += 1
        if self._busy > len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)
        cancelled: BaseException | None = None
        while not job.done:
            job.waiter = self._home.loop.create_future()
            try:
                await job.waiter
            except asyncio.CancelledError as told:
                cancelled = told
        self._busy -= 1
        failed = cancelled or job.error
        if failed is None:
            return job.result
        try:
            raise failed
        finally:
            del failed, cancelled, job  # They lead in a circle to this frame.

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.result = job.work()
            except BaseException as error:
                job.error = error
            self._home.back(job)
            del job


async def settled(future: asyncio.Future[T]) -> None:
    """Wait until it has ended, however, and however often one is told to stop waiting."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # It has been looked at.
