"""Where blocking calls run: two bounded pools, so that streams which wait never keep a small request from its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from lamina.registry.server.settings import Limits

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """`quick` for what ends by itself, `bulk` for what may wait for disks and pipelines."""

    def __init__(self, limits: Limits) -> None:
        self._quick = ThreadPoolExecutor(limits.quick, "serve")
        self._bulk = ThreadPoolExecutor(limits.bulk, "stream")

    async def quick(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns."""
        return await _run(self._quick, lambda: function(*args, **kwargs))

    async def bulk(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns."""
        return await _run(self._bulk, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Wait for what runs."""
        self._quick.shutdown()
        self._bulk.shutdown()


async def _run(pool: Executor, work: Callable[[], T]) -> T:
    """The work's result.

    A task that is cancelled meanwhile waits for its thread: what that uses must not be let go under it.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await settled(future)
        raise


async def settled(future: asyncio.Future[T]) -> None:
    """Wait until it has ended, however, and however often one is told to stop waiting."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # It has been looked at.
