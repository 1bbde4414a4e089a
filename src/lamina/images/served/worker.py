"""One process of a server: an event loop, a store of its own; SIGTERM and SIGINT end it, SIGHUP reads files again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from lamina.images.served.serving import Say, Served
    from lamina.registry.server.access.live import Live
    from lamina.registry.server.accesslog import AccessLog
    from lamina.registry.server.app import Service
    from lamina.registry.server.settings import Settings
    from lamina.store import BlobStore

COUNTERS = "counters"
_WAITING = 16  # threads more, where there are other registries to wait for


def run(options: Served, sockets: Sequence[socket.socket], say: Say, ready: Callable[[], None], *, keeper: bool) -> None:
    """Serve until a signal says to end; `ready` is called when connections are accepted."""
    from lamina.registry.server.counters import clear
    from lamina.store import BlobStore

    live = options.live(say)
    with BlobStore.open(Path(options.store)) as store:
        if keeper:
            clear(store.state_dir / COUNTERS)
        asyncio.run(_run(options, store, live, sockets, say, ready, keeper))


async def _run(options: Served, store: BlobStore, live: Live, sockets: Sequence[socket.socket], say: Say,
               ready: Callable[[], None], keeper: bool) -> None:
    from lamina.registry.server.serve import Listener

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with _service(options, store, live, say, keeper) as service:
        loop.add_signal_handler(signal.SIGHUP, lambda: _later(asyncio.to_thread(live.reload)))
        listener = Listener(service)
        await listener.start(sockets, live.tls.context if live.tls is not None else None)
        ready()
        _later(asyncio.to_thread(_warm))
        await stop.wait()
        await listener.stop(options.grace)


def _warm() -> None:
    """Load what the first push would wait for: 0.3 s."""
    import lamina.store.ingest
    import lamina.store.session  # noqa: F401


_tasks: set[asyncio.Task[None]] = set()


def _later(what: object) -> None:
    task = asyncio.ensure_future(what)  # type: ignore[call-overload]
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


@asynccontextmanager
async def _service(options: Served, store: BlobStore, live: Live, say: Say, keeper: bool) -> AsyncIterator[Service]:
    """All that one process has, and its upkeep."""
    from lamina.images.served.beside import Beside
    from lamina.images.served.contents import StoreContents
    from lamina.images.served.gate import Gate
    from lamina.images.served.names import repository_of
    from lamina.images.served.proxied.contents import Proxied
    from lamina.images.served.proxied.upstream import connect
    from lamina.images.served.upkeep import Upkeep
    from lamina.images.showcase.showcase import Showcase
    from lamina.registry.server.app import Service
    from lamina.registry.server.metrics import Metrics

    with contextlib.ExitStack() as stack:
        metrics = Metrics(store.state_dir / COUNTERS)
        stack.callback(metrics.close)
        showcase = Showcase(store, named=lambda reference: repository_of(reference.name), traffic=metrics.traffic)
        stack.callback(showcase.close)
        if live.settings.page:
            showcase.start()
        contents = StoreContents(store, compression=options.compression, slots=options.slots)
        stack.callback(contents.close)
        if live.settings.workers > 1:
            contents.listen()
        proxied = Proxied(contents, lambda: live.settings.proxies, lambda: connect([base for _, base in live.settings.proxies]),
                          slots=_WAITING if live.settings.proxies else 4, largest=lambda: live.settings.limits.max_blob)
        stack.callback(proxied.close)
        gate = Gate(live)
        log = stack.enter_context(_access_log(live.settings.access_log))
        beside = Beside(showcase, metrics, gate, log, lambda: live.settings.page)

        @contextmanager
        def holding(request: BaseRequest) -> Iterator[None]:
            with gate.holding(request), beside.uploading(request):
                yield

        service = Service(proxied, gate, _roomy(gate.settings(), live), beside=beside.answer, before=gate.before,
                          holding=holding, observe=beside.observe, warnings=proxied.warnings)
        beside.threads = service.threads
        upkeep = Upkeep(contents, live, metrics, say, lambda: service.change(gate.settings()), keeper=keeper)
        task = asyncio.create_task(upkeep.run())
        try:
            yield service
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _roomy(settings: Settings, live: Live) -> Settings:
    """With threads that may wait for other registries, if there are any."""
    if not live.settings.proxies:
        return settings
    limits = settings.limits
    return replace(settings, limits=replace(limits, quick=limits.quick + _WAITING, bulk=limits.bulk + 2 * _WAITING))


@contextmanager
def _access_log(where: str) -> Iterator[AccessLog | None]:
    """'' for none, '-' for standard output, else a file."""
    from lamina.registry.server.accesslog import AccessLog
    from lamina.storage.problems import storage_errors

    if where in ("", "-"):
        yield AccessLog(sys.stdout.fileno()) if where else None
        return
    with storage_errors("open the access log", Path(where)):
        fd = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        yield AccessLog(fd)
    finally:
        os.close(fd)


def main(words: Sequence[str]) -> int:
    """One of several: options, number, the pipe that says when it accepts, the sockets."""
    from lamina.images.served.serving import Served

    options, number, pipe = Served.decode(words[0]), int(words[1]), int(words[2])
    sockets = [socket.socket(fileno=int(word)) for word in words[3:]]

    def say(text: str) -> None:
        print(f"lamina: worker {number}: {text}", file=sys.stderr, flush=True)

    def ready() -> None:
        os.write(pipe, b".")
        os.close(pipe)

    try:
        run(options, sockets, say, ready, keeper=number == 0)
    except LaminaError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
