"""An HTTP/1.1 server for tests: threads on loopback, and every byte of an answer in the test's hand.

    def handle(exchange):
        exchange.reply(200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")

    with Server(handle) as server:
        ...  # server.base, server.host; what was asked: server.seen
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
_LINE = 65536
_JOIN = 10.0


@dataclass(slots=True)
class Seen:
    """A request as it came: `path` with its query, `headers` whatever their case, `size` bytes of body read so far."""

    method: str
    path: str
    headers: Message
    size: int = 0


class _Over(Exception):
    """The connection was ended by the handler."""


class Exchange:
    """One request and what the handler answers: one `reply`, or any `raw` bytes; then perhaps a `cut`."""

    def __init__(self, connection: socket.socket, stream: io.BufferedReader, seen: Seen) -> None:
        self._connection, self._stream, self.seen = connection, stream, seen
        self.method, self.path, self.headers = seen.method, seen.path, seen.headers
        self._body: bytes | None = None
        self.keep = True

    @property
    def open(self) -> bool:
        """Whether the client is still there, as far as it has told."""
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def read(self) -> bytes:
        """The body of the request, whole (by its length or chunked); again gives it again."""
        if self._body is None:
            parts = []
            for part in self._parts():
                self.seen.size += len(part)
                parts.append(part)
            self._body = b"".join(parts)
        return self._body

    def reply(self, status: int, headers: Headers | None = None, body: bytes = b"") -> None:
        """An answer; Content-Length is added where neither it nor Transfer-Encoding is given.  HEAD sends no body."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
        names = {name.lower() for name, _ in pairs}
        if not names & {"content-length", "transfer-encoding"} and status != 204:
            pairs.append(("Content-Length", str(len(body))))
        if "close" in (value.lower() for name, value in pairs if name.lower() == "connection"):
            self.keep = False
        head = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}", *(f"{n}: {v}" for n, v in pairs), "", ""]
        self.raw("\r\n".join(head).encode("latin-1") + (b"" if self.method == "HEAD" else body))

    def raw(self, data: bytes) -> None:
        """Whatever bytes; a client that has gone ends the exchange."""
        try:
            self._connection.sendall(data)
        except OSError:
            raise _Over from None

    def cut(self, *, reset: bool = False) -> None:
        """End the connection now, after what was sent; with `reset` by RST, as a crash or a firewall does."""
        if reset:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Over

    def stall(self) -> None:
        """Say nothing more until the client goes away (or the server is left)."""
        with contextlib.suppress(OSError):
            while self._stream.read1(_LINE):
                pass
        raise _Over

    def _parts(self) -> Iterable[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self._stream.readline(_LINE).split(b";")[0] or b"0", 16):
                yield self._exactly(size)
                self._stream.readline(_LINE)
            while self._stream.readline(_LINE).strip():
                pass
        else:
            left = int(self.headers.get("Content-Length", "0"))
            while left:
                part = self._exactly(min(left, 1 << 20))
                left -= len(part)
                yield part

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:  # The client broke off.
            raise _Over
        return data


class Server:
    """Serves until the `with` is left; what a handler raises (an assertion) is raised again there.

    `base` is the origin (`http://127.0.0.1:port`, or https with `tls`), `host` its host and port, `seen` all requests in
    the order in which their heads came.
    """

    def __init__(self, handle: Callable[[Exchange], None], *, tls: ssl.SSLContext | None = None) -> None:
        self._handle, self._tls = handle, tls
        self.seen: list[Seen] = []
        self.connections = 0
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.base = f"{'https' if tls else 'http'}://{self.host}"

    def __enter__(self) -> Server:
        self._start(self._accept)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if self._failures and error is None:
            raise self._failures[0]

    def close(self) -> None:
        """End all connections and the threads."""
        with contextlib.suppress(OSError):  # Wakes the accepting thread.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(_JOIN)

    def _start(self, call: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        plain = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open.add(connection)
            with connection.makefile("rb") as stream:
                while self._one(connection, stream):
                    pass
        except (_Over, OSError):  # OSError: the client went away, or did not like our certificate.
            pass
        except BaseException as error:
            self._failures.append(error)
        finally:
            with self._lock:
                self._open -= {connection, plain}
            connection.close()

    def _one(self, connection: socket.socket, stream: io.BufferedReader) -> bool:
        """Serve one request; whether there may be another on this connection."""
        line = stream.readline(_LINE)
        if not line:
            return False
        words = line.decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # A TLS hello on a plain port, say.
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return False
        seen = Seen(words[0], words[1], http.client.parse_headers(stream))
        self.seen.append(seen)
        exchange = Exchange(connection, stream, seen)
        self._handle(exchange)
        exchange.read()  # What the handler left lying is not the next request.
        return exchange.keep and seen.headers.get("Connection", "").lower() != "close"
