"""Connections: how many, how long they may stay silent, and what is said to what is no HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web import BaseRequest, RequestHandler, Response, Server, StreamResponse

from lamina.registry.server.answers import COMMON, refusal
from lamina.registry.server.app import Service
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.settings import Limits

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(RequestHandler):
    """One connection, of at most `limits.connections`.

    aiohttp's keep-alive timer runs from the start of the connection and is not moved by bytes that come, so it bounds the time
    in which a whole head must have come as well.
    """

    __slots__ = ("_head", "_last", "_limits")

    def __init__(self, server: Connections, limits: Limits, **options: Any) -> None:
        super().__init__(server, **options)
        self._limits = limits
        self._head = 0  # bytes of a head that is not whole, and of all that lies behind the next request in turn
        self._last: StreamReader = EMPTY_PAYLOAD

    def data_received(self, data: bytes) -> None:
        """aiohttp bounds each header and their number; this bounds their sum, and what comes before its turn.

        The next request in turn counts for nothing, its body comes by aiohttp's flow control: a client that has its answer may
        send it, the body in the same breath, before the handler has come round to waiting.
        """
        idle = self._waiter is not None and not self._waiter.done()
        next_in_turn = not self._messages
        if self._last.is_eof():
            self._head += len(data)
        known = self._request_count
        super().data_received(data)
        if self._request_count != known:
            if self._messages:
                self._last = self._messages[-1][1]
            if next_in_turn:
                body = self._messages[0][1] if self._messages else EMPTY_PAYLOAD
                self._head = 0 if idle or not body.is_eof() else len(data) - body.total_bytes
        if self._head > self._limits.heads and self.transport is not None:
            if idle:
                self.transport.write(_TOO_LONG)
                self.force_close()
            else:
                self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # So that `drain` waits until nothing of ours is held on to: buffers are used again then.  asyncio's TLS has its own
        # copy by then; it compares the other way round, and would stay paused for ever at a high-water mark of 0.
        over_tls = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if over_tls else 0, low=0)
        super().connection_made(transport)
        manager = self._manager
        if manager is not None and len(manager.connections) > self._limits.connections:
            transport.write(_TOO_MANY)
            self.force_close()

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self._current_request is None

    def handle_error(self, request: BaseRequest, status: int = 500, exc: BaseException | None = None,
                     message: str | None = None) -> StreamResponse:
        """The envelope for what could not be parsed (400, 414, 431), or went wrong unforeseen (500); the connection ends."""
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
            error = Refusal("UNKNOWN", status=status)
        elif isinstance(exc, LineTooLong):
            in_line = exc.args[-1] == str(self._limits.line) or self._limits.line in exc.args
            error = Refusal("UNSUPPORTED", "too long", status=414 if in_line else 431)
        elif "Too many headers" in str(exc):
            error = Refusal("UNSUPPORTED", "too many headers", status=431)
        else:
            error = Refusal("UNSUPPORTED", "not HTTP", status=400)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        answer = refusal(error)
        response = Response(status=answer.status, body=answer.body, headers={**COMMON, **answer.headers, "Connection": "close"})
        response.force_close()
        return response


class Connections(Server):
    """Makes a `Connection` of every client that comes."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.handle)
        self._limits = service.limits

    def close_idle(self) -> None:
        """End those that wait for a request."""
        for each in self.connections:
            if isinstance(each, Connection) and each.idle:
                each.close()
                if each.transport is not None:  # aiohttp 3.14 only ends the task
                    each.transport.close()

    def __call__(self) -> RequestHandler:
        limits = self._limits
        return Connection(
            self, limits, loop=self._loop, keepalive_timeout=limits.head, max_line_size=limits.line,
            max_field_size=limits.field, max_headers=limits.headers, lingering_time=limits.linger,
            read_bufsize=limits.read_ahead, auto_decompress=False, access_log=None,
        )
