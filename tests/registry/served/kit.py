"""A server in a thread, and clients that say whatever a test wants said."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from lamina.digest import Digest
from lamina.oci import OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from lamina.registry.server.app import Seen, Service
from lamina.registry.server.serve import Listener, bind
from lamina.registry.server.settings import Limits, Settings
from registry.served.memory import Memory

WAIT = 20.0  # seconds, for what must come


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str:
        value = self.headers[name]
        assert value is not None, f"no {name} in {self.headers.items()}"
        return str(value)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error envelope, which must be as the specification has it."""
        document = self.json
        assert set(document) == {"errors"} and self["Content-Type"] == "application/json"
        (error,) = document["errors"]
        assert set(error) == {"code", "message", "detail"}
        return str(error["code"])


class _NothingAhead:
    """A connection of which no byte is read before it is wanted: the next answer may be there already."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> IO[bytes]:
        return self._connection.makefile("rb", buffering=1)


def read(connection: socket.socket, method: str = "GET") -> Reply:
    """The next answer on a connection."""
    response = http.client.HTTPResponse(_NothingAhead(connection), method=method)  # type: ignore[arg-type]
    response.begin()
    return Reply(response.status, response.headers, response.read())


def rest(connection: socket.socket) -> int:
    """How many bytes still come until the server ends the connection, however it does."""
    received = 0
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            received += len(data)
    return received


@dataclass
class Server:
    """One that runs; `contents` is what it serves."""

    contents: Memory
    settings: Settings = field(default_factory=Settings)
    options: dict[str, Any] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    grace: float = WAIT

    def __enter__(self) -> Server:
        (self._socket,) = bind("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.seen: list[Seen] = []
        self._saw = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin_stop(self) -> None:
        """Tell it to stop."""
        self.loop.call_soon_threadsafe(self._over.set)

    def stop(self) -> None:
        """Stop it gracefully; again is harmless."""
        if self._thread.is_alive():
            self.begin_stop()
            self._thread.join(WAIT)
            assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error

    async def _main(self) -> None:
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.service = Service(self.contents, settings=self.settings, observe=self._observe, **self.options)
        self.listener = Listener(self.service)
        await self.listener.start([self._socket], self.tls)
        self._ready.set()
        await self._over.wait()
        await self.listener.stop(self.grace)

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None,
            headers: Mapping[str, str] | None = None) -> Reply:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        with contextlib.closing(connection):
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, path, body, {**(headers or {})}, encode_chunked=chunked)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())

    @contextlib.contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT) as connection:
            yield connection

    def raw(self, data: bytes, method: str = "GET") -> Reply:
        """The answer to bytes."""
        with self.connect() as connection:
            connection.sendall(data)
            return read(connection, method)

    def over(self, count: int) -> list[Seen]:
        """Wait until so many requests are over, since the start: all that they held is let go."""
        with self._saw:
            assert self._saw.wait_for(lambda: len(self.seen) >= count, WAIT), self.seen
            return list(self.seen)

    def _observe(self, seen: Seen) -> None:
        with self._saw:
            self.seen.append(seen)
            self._saw.notify_all()

    def begin(self, name: str = "one") -> str:
        """The location of a new upload."""
        reply = self.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert reply.status == 202
        return reply["Location"]


# Times that a test can wait for.
SHORT = Limits(head=0.3, patience=0.3, linger=0.3)


def manifest(config: str | None = None, layers: Sequence[str] = (), **fields: object) -> bytes:
    """An OCI manifest; of blobs by digest, by default of the empty config, which has to be there."""
    config = config or Digest.of(b"{}")
    return json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_EMPTY, "digest": config, "size": 2},
        "layers": [{"mediaType": OCI_LAYER, "digest": one, "size": 1} for one in layers], **fields,
    }).encode()


def index(*digests: str, **fields: object) -> bytes:
    """An OCI index."""
    return json.dumps({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": one, "size": 1} for one in digests], **fields,
    }).encode()


def put(server: Server, data: bytes, reference: str = "latest", media_type: str | None = OCI_MANIFEST, name: str = "one",
        query: str = "") -> Reply:
    """Push a manifest to a repository that has the empty config."""
    server.contents.add(name, b"{}")
    headers = {} if media_type is None else {"Content-Type": media_type}
    return server.ask("PUT", f"/v2/{name}/manifests/{reference}{query}", data, headers)
