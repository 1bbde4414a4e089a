"""Connections that urllib3 keeps and that do not wait for ever: every byte in and out is timed and counted.

A socket's time-out bounds one silence only; a peer that sends one byte a second is never silent.  So reads and writes are
paced (`Pace`), below the parsing of heads and chunks, where every loop over a peer's bytes passes.
"""

from __future__ import annotations

import errno
import http.client
import io
import socket
import ssl
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from lamina.registry.hosts import is_link_local, is_loopback
from lamina.registry.timings import Timings

# Heads are parsed out of this much; what is read in larger pieces goes past it.
_BUFFER = 16 << 10
# A head is a few KiB; signed Locations and security policies make it 20.
_MAX_HEAD = 256 << 10
# What is sent at a time, so that a slow line is told from a dead one.
_PIECE = 256 << 10
# Bytes that wait in the socket of a peer on loopback, where the system would let them grow to 6 MB without any gain: a
# registry that is as near is faster than what is done with its bytes, and after a kill those have to come again.
_NEARBY = 512 << 10


class TooSlowError(TimeoutError):
    """The peer sends or takes less than it must."""


class TooMuchError(OSError):
    """A head, or what stands between the chunks of a body, has no end."""


class CutHeadError(ConnectionError):
    """A head that just ends; the standard library would take what there is of it for the whole."""


class ForbiddenAddressError(OSError):
    """A name that a registry sent us to leads to a link-local address."""


def patience_for(method: str, timings: Timings) -> float:
    """Seconds for the head of an answer: what writes may take long to be committed."""
    return timings.commit if method in {"PUT", "POST", "PATCH", "DELETE"} else timings.read


class Pace:
    """Time that was spent waiting for a peer, and what came of it."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._waited, self._moved = 0.0, 0

    def count(self, seconds: float, moved: int) -> None:
        """So long was waited for so many bytes; `TooSlowError` once a span of `slow_seconds` brought too few."""
        self._waited += seconds
        self._moved += moved
        if self._waited >= self._timings.slow_seconds:
            if self._moved < self._timings.slow_bytes:
                raise TooSlowError(f"less than {self._timings.slow_bytes} bytes in {self._timings.slow_seconds:g} s")
            self._waited, self._moved = 0.0, 0


class PacedRaw(io.RawIOBase):
    """The receiving side of a socket for one answer: first its head, against a deadline; then its body, against a pace."""

    def __init__(self, raw: Any, timings: Timings, patience: float) -> None:
        self._raw, self._timings, self._pace = raw, timings, Pace(timings)
        self._head_left: float | None = patience
        self._budget = _MAX_HEAD

    def body(self, budget: int) -> None:
        """The head is over; up to `budget` bytes may come before this is called again."""
        self._head_left, self._budget = None, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        before = self._timings.clock()
        count: int | None = self._raw.readinto(buffer)
        seconds = self._timings.clock() - before
        moved = count or 0
        self._budget -= moved
        if self._budget < 0:
            raise TooMuchError("an answer without end")
        if self._head_left is not None:
            if not moved and self._budget < _MAX_HEAD:
                raise CutHeadError
            self._head_left -= seconds
            if self._head_left < 0:
                raise TooSlowError("the head of an answer takes too long")
        elif moved:
            self._pace.count(seconds, moved)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class WireResponse(http.client.HTTPResponse):
    """The standard library's answer over a `PacedRaw`: it reads straight into the caller's buffer."""

    def __init__(self, sock: socket.socket, *args: Any, timings: Timings, patience: float, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        self.paced = PacedRaw(self.fp.detach(), timings, patience)
        self.fp = io.BufferedReader(self.paced, _BUFFER)


class _Wired:
    """What both kinds of connection have in common; mixed in before urllib3's class."""

    timings: Timings
    guarded: bool
    sock: Any

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.wire: WireResponse | None = None

    def response_class(self, sock: socket.socket, *args: Any, **keywords: Any) -> WireResponse:
        """Made by `http.client` for each answer, and remembered for who reads it past urllib3."""
        patience = patience_for(keywords.get("method") or "GET", self.timings)
        self.wire = WireResponse(sock, *args, timings=self.timings, patience=patience, **keywords)
        return self.wire

    def getresponse(self) -> Any:
        """The next answer; where there is none, what was opened to read it is closed at once."""
        try:
            return super().getresponse()  # type: ignore[misc]
        except BaseException:
            self._close_wire()
            raise

    def connect(self) -> None:
        """Connect; a proxy's answer to CONNECT is over then, or has no end."""
        self.wire = None
        try:
            super().connect()  # type: ignore[misc]
        finally:
            self._close_wire()

    def _close_wire(self) -> None:
        if self.wire is not None:
            self.wire.close()

    def _new_conn(self) -> socket.socket:
        """Connect; before a byte is sent, look where the name has led."""
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if self.guarded and self.proxy is None and is_link_local(str(sock.getpeername()[0])):  # type: ignore[attr-defined]
            sock.close()
            raise ForbiddenAddressError("a link-local address")
        if is_loopback(str(sock.getpeername()[0])):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NEARBY)
        return sock

    def send(self, data: Any) -> None:
        """Send a head, or a body whole.  `sendall` has one time-out for all of it, which a slow line with a large body
        exceeds while it does what it can; so the time-out here is for each piece, and the pace for the sum."""
        try:
            self._send(data)
        except ssl.SSLEOFError as error:  # TLS was spoken before; its loss is one of the connection's.
            raise ConnectionResetError(errno.ECONNRESET, "the connection ended") from error

    def _send(self, data: Any) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)) or len(data) <= _BUFFER or self.sock is None:
            super().send(data)  # type: ignore[misc]
            return
        pace, view, sent = Pace(self.timings), memoryview(data).cast("B"), 0
        while sent < len(view):
            before = self.timings.clock()
            count = self.sock.send(view[sent:sent + _PIECE])
            pace.count(self.timings.clock() - before, count)
            sent += count


def pool_classes(timings: Timings, *, guarded: bool) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools by scheme, over paced connections; `guarded` ones do not speak to link-local addresses."""
    shared = {"timings": timings, "guarded": guarded}
    plain = type("Plain", (_Wired, HTTPConnection), shared)
    tls = type("OverTls", (_Wired, HTTPSConnection), shared)
    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }
