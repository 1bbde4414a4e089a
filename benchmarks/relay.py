"""A relay between a client and a registry on loopback: it counts what passes, and can be told to act when so much has."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

PIECE = 256 << 10


class Relay:
    """Passes bytes on both ways.  `down` and `up` count those given to the client's and the registry's side.

    `rate`: bytes a second that each connection gets each way, 0 for as many as there are.
    """

    def __init__(self, port: int, rate: float = 0) -> None:
        self._port, self._rate = port, rate
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
                for end in (client, server):  # what waits here to be sent on has not passed, and would be counted
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 << 10)
                for one, other, way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, way: str) -> None:
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        passed, began = 0, time.monotonic()
        with contextlib.suppress(OSError):
            while count := one.recv_into(buffer):
                other.sendall(view[:count])
                self._count(way, count)
                passed += count
                if self._rate and (early := passed / self._rate - (time.monotonic() - began)) > 0:
                    time.sleep(early)
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
def relay(port: int, rate: float = 0) -> Iterator[Relay]:
    """A relay to a port of loopback."""
    running = Relay(port, rate)
    try:
        yield running
    finally:
        running.close()
