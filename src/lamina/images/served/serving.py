"""`lamina serve`: a registry over one store, in one process or several.

    serving.py      what is asked for; sockets; one process, or a supervisor of several
    supervisor.py   starts worker processes, and starts those again that have died
    worker.py       one process: an event loop, a store of its own, stop and reload by signals
    beside.py       what answers beside the API: the page, metrics, health
    upkeep.py       what is to be done beside requests: leases, uploads that are over, collections

Hashing, compression and reading run in threads without the interpreter's lock, so that one process is enough for large blobs;
small requests are Python's, and want one a core.  Every process opens the store itself; all accept on the same sockets, which
the first has bound.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lamina.errors import StorageError, UsageError

if TYPE_CHECKING:
    from lamina.registry.server.access.live import Live
    from lamina.registry.server.configured import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Served:
    """What the command line says; None: what the configuration says.

    `proxies`: (name, origin) beside those of the configuration, and in their place where the name is the same.
    `listen`: HOST:PORT; `certificate`, `key`: PEM files; `grace`: seconds that requests have to end in; `slots`: large blobs
    that run through the pipeline at once in each process (0: one a core).
    """

    store: str
    config: str | None = None
    listen: str | None = None
    certificate: str | None = None
    key: str | None = None
    workers: int | None = None
    read_only: bool = False
    proxies: tuple[tuple[str, str], ...] = ()
    compression: str = "zstd:1"
    grace: float = 30.0
    slots: int = 0

    def encode(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Self:
        """The inverse."""
        value: dict[str, Any] = json.loads(text)
        value["proxies"] = tuple((name, base) for name, base in value["proxies"])
        return cls(**value)

    def live(self, say: Say) -> Live:
        """The configuration as it is now and will be; `LaminaError`."""
        from lamina.images.served.gate import rule_names
        from lamina.registry.server.access.live import Live

        return Live(Path(self.config) if self.config is not None else None, override=self._override, say=say,
                    naming=rule_names)

    def _override(self, settings: Settings) -> Settings:
        from lamina.registry.server.access.values import listen
        from lamina.registry.server.configured import TlsFiles

        if self.listen is not None:
            where = listen(self.listen)
            if where is None:
                raise UsageError(f"{self.listen[:160]!r} is no address to listen on", hint="expected HOST:PORT or :PORT")
            settings = replace(settings, listen=where)
        if self.certificate is not None and self.key is not None:
            settings = replace(settings, tls=TlsFiles(Path(self.certificate).resolve(), Path(self.key).resolve()))
        if self.workers is not None:
            settings = replace(settings, workers=self.workers)
        if self.proxies:
            settings = replace(settings, proxies=tuple({**dict(settings.proxies), **dict(self.proxies)}.items()))
        return replace(settings, read_only=True) if self.read_only else settings


def serve(options: Served, told: Say, say: Say) -> None:
    """Serve until SIGTERM or SIGINT.  `told` hears of each address, `say` of what goes wrong or changes; `LaminaError`."""
    _need_aiohttp()
    from lamina.images.served.supervisor import supervise
    from lamina.images.served.worker import run
    from lamina.registry.server.serve import bind
    from lamina.store import BlobStore

    live = options.live(say)
    settings = live.settings
    with BlobStore.open(Path(options.store)) as store:  # what is wrong with it is said before anybody connects
        for note in store.notes:
            say(note)
    host, port = settings.listen.host, settings.listen.port
    try:
        sockets = bind(host, port)
    except OSError as error:
        raise StorageError(f"cannot listen: {error.strerror or error}", f"{host}:{port}", "choose another --listen") from error
    try:
        for text in settings.cautions():
            say(text)

        def ready() -> None:
            for url in dict.fromkeys(_url(each, settings) for each in sockets):
                told(url)

        if settings.workers == 1:
            run(options, sockets, say, ready, keeper=True)
        else:
            supervise(options, sockets, settings.workers, say, ready)
    finally:
        for each in sockets:
            each.close()


def _need_aiohttp() -> None:
    """Only servers need it: who does not serve need not install it."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise UsageError("a server needs the library aiohttp", hint="install lamina[serve]") from None


def _url(one: socket.socket, settings: Settings) -> str:
    host, port = one.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}"
