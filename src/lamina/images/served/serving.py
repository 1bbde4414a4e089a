"""`lamina serve`: worker processes over one store, and what is to be done beside requests.

One process is enough for one core's worth of HTTP; hashing, compression and reading run in threads without the interpreter's
lock in any case.  With several, each opens the store itself; they share the sockets, which the first process has bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.images.served.contents import StoreContents

TENDING: Final = 5.0  # seconds between two looks at what nobody uses any more


@dataclass(frozen=True, slots=True)
class Served:
    """How a store is served.  `expiry`: seconds after which an upload that nobody goes on with is forgotten."""

    host: str = "127.0.0.1"
    port: int = 5000
    certificate: Path | None = None
    key: Path | None = None
    compression: str = "zstd:1"
    grace: float = 30.0
    expiry: float = 24 * 3600.0
    slots: int = 0


def serve(store: Path, options: Served, told: Callable[[str], None], problem: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.  `told` hears of each address, `problem` of what went wrong beside requests.

    `LaminaError`.
    """
    from lamina.registry.server.serve import bind

    try:
        sockets = bind(options.host, options.port)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise LaminaError(f"cannot listen: {error.strerror or error}", where, "choose another --listen") from error
    try:
        asyncio.run(_run(store, options, sockets, told, problem))
    finally:
        for each in sockets:
            each.close()


async def _run(path: Path, options: Served, sockets: list[socket.socket], told: Callable[[str], None],
               problem: Callable[[str], None]) -> None:
    from lamina.images.served.contents import StoreContents
    from lamina.registry.server.app import Service
    from lamina.registry.server.serve import Listener
    from lamina.store import BlobStore

    with BlobStore.open(path) as store:
        contents = StoreContents(store, compression=options.compression, slots=options.slots)
        try:
            listener = Listener(Service(contents))
            stop = _stopped()
            await listener.start(sockets, _tls(options))
            for each in sockets:
                told(_url(each, options))
            tending = asyncio.create_task(_tend(contents, options.expiry, problem))
            await stop.wait()
            await listener.stop(options.grace)
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
        finally:
            contents.close()


def _stopped() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop


async def _tend(contents: StoreContents, expiry: float, problem: Callable[[str], None]) -> None:
    while True:
        try:
            await asyncio.to_thread(contents.tend, expiry)
        except LaminaError as error:
            problem(str(error))
        await asyncio.sleep(TENDING)


def _tls(options: Served):  # type: ignore[no-untyped-def]
    import ssl

    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    return context


def _url(one: socket.socket, options: Served) -> str:
    host, port = one.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if options.certificate else 'http'}://{shown}:{port}"
