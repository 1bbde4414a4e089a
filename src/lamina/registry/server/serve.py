"""Run a `Service`: listen, hand over, stop gracefully."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

from lamina.registry.server.app import Service
from lamina.registry.server.connections import Connections

_BACKLOG = 1024


class Listener:
    """A service on sockets that listen.  To be made and used in the event loop that serves.

    `tls` is asked anew for every connection's handshake: a caller that calls its `load_cert_chain` again has changed the
    certificate for all that come after.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections = Connections(service)
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Begin to accept; the sockets are bound, and closed by `stop`."""
        loop = asyncio.get_running_loop()
        for one in sockets:
            self._servers.append(await loop.create_server(
                self._connections, sock=one, ssl=tls, backlog=_BACKLOG,
                ssl_handshake_timeout=self._service.limits.patience if tls else None))

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections.connections)

    async def stop(self, grace: float) -> None:
        """Accept no more, give requests that run `grace` seconds to end, and end the others.

        Uploads that are cut off keep what has arrived; their clients go on with whoever serves next.
        """
        for server in self._servers:
            server.close()
        self._service.stopping = True
        self._connections.close_idle()
        if self._service.active:  # before aiohttp is told: from then on it throws away what still comes of a body
            began = asyncio.get_running_loop().time()
            await asyncio.wait(self._service.active, timeout=grace)
            grace = max(0.1, grace - (asyncio.get_running_loop().time() - began))  # 0 is for ever, to aiohttp
        self._connections.pre_shutdown()
        await self._connections.shutdown(grace)
        # What was cancelled still has threads to wait for and sessions to leave.
        if self._service.active:
            await asyncio.wait(self._service.active)
        await asyncio.get_running_loop().run_in_executor(None, self._service.close)


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Sockets for every address of a host ('' is all); OSError.

    `shared`: several processes may bind the same port, and the kernel deals out the connections.
    """
    found: list[socket.socket] = []
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM,
                                                              flags=socket.AI_PASSIVE):
            one = socket.socket(family, kind)
            found.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.setblocking(False)
    except OSError:
        for one in found:
            one.close()
        raise
    return found
