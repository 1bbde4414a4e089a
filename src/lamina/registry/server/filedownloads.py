"""A blob on its way out from files, by the kernel: 0.7 CPU seconds a GB on loopback, nearly all of it TCP's own.

`loop.sendfile` would read cold files in the event loop; here a thread of the pool hands over as much as the socket takes, and
comes back: nobody waits for a client but the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from aiohttp.web import BaseRequest, StreamResponse

from lamina.content import FileRuns, Reader, Run
from lamina.errors import StorageError
from lamina.registry.server.pace import Pace
from lamina.registry.server.settings import Limits
from lamina.registry.server.threads import Threads

_AT_ONCE = 8 << 20  # bytes of a call; a socket takes no more than its buffer has room for (some 2.5 MB)
_RUNS = 256  # taken from the reader at once: one by one they took 5 % of a download's processor time, all would be 60,000


def socket_of(request: BaseRequest) -> socket.socket | None:
    """The client's socket, if what is written to it leaves as it is; None for TLS."""
    transport = request.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return None
    found: socket.socket | None = transport.get_extra_info("socket")
    return found


class FileDownload:
    """All of a reader's runs, to a socket that nobody else writes to meanwhile; as `Download`."""

    def __init__(self, threads: Threads, limits: Limits, reader: FileRuns, to: socket.socket) -> None:
        self._threads, self._reader = threads, reader
        self._pace = Pace(limits)
        self._to = os.dup(to.fileno())  # the loop knows the socket as its transport's, and that may close it at any time
        self._runs, self._at, self._done = reader.runs(), 0, 0
        self._taken: Sequence[Run] = ()  # some of them, from `_since` on
        self._since = 0

    async def first(self) -> None:
        """Nothing can fail before the first bytes."""

    async def send(self, request: BaseRequest, _response: StreamResponse) -> None:
        """All of it.  `TooSlowError`; OSError, after which the connection must be cut."""
        transport = request.transport
        while transport is not None and transport.get_write_buffer_size():  # the head
            await self._pace.wait(request.writer.drain())
        while self._at < len(self._runs):
            sent = await self._threads.bulk(self._some)
            self._pace.passed(sent)
            if self._at < len(self._runs):
                await self._pace.wait(self._room(), _AT_ONCE)

    @property
    def bytes(self) -> int:
        """How many have been sent."""
        return self._pace.bytes

    async def close(self) -> None:
        """Let go of socket and reader."""
        os.close(self._to)
        await self._threads.bulk(self._reader.close)

    def _some(self) -> int:
        """In a thread: as much as the socket takes now."""
        total = 0
        with suppress(BlockingIOError):
            while self._at < len(self._runs) and total < _AT_ONCE:
                fd, offset, length = self._run()
                count = os.sendfile(self._to, fd, offset + self._done, min(length - self._done, _AT_ONCE))
                if not count:
                    raise StorageError("a file of the store has become shorter", offset, "run lamina verify")
                total += count
                self._done += count
                if self._done == length:
                    self._at, self._done = self._at + 1, 0
        return total

    def _run(self) -> Run:
        """The one that is next."""
        if self._at == self._since + len(self._taken):
            self._since, self._taken = self._at, self._runs[self._at : self._at + _RUNS]
        return self._taken[self._at - self._since]

    async def _room(self) -> None:
        """Wait until the socket takes more."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._to, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._to)


def by_kernel(reader: Reader, request: BaseRequest) -> tuple[FileRuns, socket.socket] | None:
    """Whether a reader's bytes can go out so; and by which socket."""
    to = socket_of(request)
    return (reader, to) if to is not None and isinstance(reader, FileRuns) else None
