"""A blob on its way out: one buffer is sent while the next is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from aiohttp.web import BaseRequest, StreamResponse

from lamina.content import Reader
from lamina.registry.server.blobs import fill
from lamina.registry.server.buffers import Buffers
from lamina.registry.server.pace import Pace
from lamina.registry.server.settings import Limits
from lamina.registry.server.threads import Threads, settled


class Download:
    """`size` bytes of a reader, in buffers that are lent for as long as it takes."""

    def __init__(self, threads: Threads, buffers: Buffers, limits: Limits, reader: Reader, size: int) -> None:
        self._threads, self._buffers, self._reader = threads, buffers, reader
        self._pace = Pace(limits)
        self._left = size
        self._two = [buffers.take(), buffers.take()]
        self._turn = self._turns()
        self._next: asyncio.Task[memoryview | None] = asyncio.create_task(self._read())

    async def first(self) -> None:
        """Wait for the first bytes: what fails until then can still be said properly."""
        await asyncio.shield(self._next)

    async def send(self, request: BaseRequest, response: StreamResponse) -> None:
        """All of it.  `TooSlowError`; any error of the reader, after which the connection must be cut."""
        while (piece := await asyncio.shield(self._next)) is not None:
            self._next = asyncio.create_task(self._read())
            await self._pace.wait(_sent(request, response, piece), len(piece))
            self._pace.passed(len(piece))

    @property
    def bytes(self) -> int:
        """How many have been sent."""
        return self._pace.bytes

    async def close(self) -> None:
        """Let go of reader and buffers, once no thread is at them."""
        await settled(self._next)
        for buffer in self._two:
            self._buffers.give(buffer)
        await self._threads.bulk(self._reader.close)

    async def _read(self) -> memoryview | None:
        if not self._left:
            return None
        piece = next(self._turn)[: self._left]
        await self._threads.bulk(fill, self._reader, piece)
        self._left -= len(piece)
        return piece

    def _turns(self) -> Iterator[memoryview]:
        while True:
            yield from self._two


async def _sent(request: BaseRequest, response: StreamResponse, piece: memoryview) -> None:
    """Hand the piece to the kernel, all of it: the transport may hold on to the buffer until then."""
    await response.write(piece)
    await request.writer.drain()
