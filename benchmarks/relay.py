"""A relay between a client and a registry on loopback: it counts what passes, and can be told to act when so much has."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

PIECE = 256 << 10


class Relay:
    """Passes bytes on both ways.  `down` and `up` count those given to the client's and the registry's side."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.down = self.up = 0
        self._lock = threading.Lock()
        self._when: tuple[int, Callable[[], None]] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def when(self, total: int, act: Callable[[], None]) -> None:
        """Call `act` once, when `total` bytes more have passed."""
        self._when = (self.down + self.up + total, act)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._port))
                for one, other, way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, way: str) -> None:
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        with contextlib.suppress(OSError):
            while count := one.recv_into(buffer):
                other.sendall(view[:count])
                self._count(way, count)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _count(self, way: str, count: int) -> None:
        act = None
        with self._lock:
            setattr(self, way, getattr(self, way) + count)
            if self._when is not None and self.down + self.up >= self._when[0]:
                act, self._when = self._when[1], None
        if act is not None:
            act()


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to a port of loopback."""
    running = Relay(port)
    try:
        yield running
    finally:
        running.close()
