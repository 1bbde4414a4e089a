"""How long a client may take over a body: some patience, and then a rate that it has to keep up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from lamina.registry.server.settings import Limits

T = TypeVar("T")


class TooSlowError(Exception):
    """The client has used up its time."""


class Pace:
    """Counts only time that is spent waiting for the client, not that of disks or pipelines.

    One wait lasts `patience` at most, all together `patience` and a second for every `rate` bytes that went through.
    """

    def __init__(self, limits: Limits) -> None:
        self._patience, self._rate = limits.patience, limits.rate
        self._waited, self.bytes = 0.0, 0

    async def wait(self, step: Awaitable[T], room: float = 0.0) -> T:
        """The step's result; `TooSlowError`.  `room`: bytes that are to go through in this step, and earn their time."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        left = self._patience + (self.bytes + room) / self._rate - self._waited
        try:
            async with asyncio.timeout(min(left, self._patience + room / self._rate)):
                return await step
        except TimeoutError:
            raise TooSlowError from None
        finally:
            self._waited += loop.time() - start

    def passed(self, size: int) -> None:
        """So many bytes went through."""
        self.bytes += size
