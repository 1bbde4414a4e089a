"""A registry server that is killed and started again, and clients that push to it all the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from store.storekit import noise, tar_of, words

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

WAIT = 60.0  # seconds, for what must come
GONE = (OSError, http.client.HTTPException)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lamina.images.served.worker", "lamina.images.served.contents", "lamina.registry.server.app",
                                 "lamina.store.session", "reliability.serving"])


def _serve(path: str, grace: float, out: Connection) -> None:
    from lamina.images.served.serving import Served, serve

    serve(Served(path, listen="127.0.0.1:0", workers=1, grace=grace), out.send, lambda text: print("server:", text))


class Server:
    """One store's server, again and again; clients ask for the port of the one that is there now."""

    def __init__(self, path: Path, grace: float = 30.0) -> None:
        self._path, self._grace = path, grace
        self._changed = threading.Condition()
        self._port = 0
        self.starts = 0

    def start(self) -> None:
        inside, out = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=_serve, args=(str(self._path), self._grace, out))
        self.process.start()
        out.close()
        with inside:
            assert inside.poll(WAIT), "the server does not come up"
            port = urlsplit(inside.recv()).port
        assert port
        with self._changed:
            self._port = port
            self.starts += 1
            self._changed.notify_all()

    def end(self, number: signal.Signals) -> int:
        """By that signal; its exit code."""
        with self._changed:
            self._port = 0
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        self.process.join(WAIT)
        code = self.process.exitcode
        assert code is not None, "the server does not end"
        self.process.close()
        return code

    def port(self) -> int:
        """Waited for."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._port, WAIT), "no server"
            return self._port


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Wire:
    """A connection to whatever server there is; `GONE` when it dies."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str) -> Reply:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._server.port(), timeout=WAIT)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            self._connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()},
                                     encode_chunked=chunked)
            answer = self._connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
            if answer.will_close:
                self.close()
            return reply
        except GONE:
            self.close()
            raise

    def surely(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """However often the server dies meanwhile: for what may be done twice."""
        while True:
            try:
                return self.ask(method, path, body, **headers)
            except GONE:
                continue

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Counts:
    """What one client has seen."""

    pushed: dict[str, bytes] = field(default_factory=dict)  # acknowledged: path -> bytes
    resumed: int = 0  # uploads that went on from their middle
    anew: int = 0  # that began once more: nothing had arrived, or nobody knew of them
    through: int = 0  # whose end was not heard of, and which were there
    cut: int = 0  # requests in the middle of which the server died
    problems: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Pushes images, one after the other, until it is told to stop, and then to the end of the one that it is at."""

    def __init__(self, server: Server, number: int, seed: int) -> None:
        super().__init__(name=f"client-{number}")
        self._wire, self._rng, self._number = Wire(server), random.Random(f"{seed} {number}"), number
        self.counts, self.stopping = Counts(), threading.Event()

    def run(self) -> None:
        try:
            turn = 0
            while not self.stopping.is_set():
                self._image(turn)
                turn += 1
        except BaseException as error:
            self.counts.problems.append(f"{self.name}: {error!r}")
        finally:
            self._wire.close()

    def _image(self, turn: int) -> None:
        name, rng = f"app{self._rng.randrange(3)}", self._rng
        seed = self._number * 1_000_000 + turn
        size = rng.choice([1000, 300_000, 3_000_000, 8_000_000])
        layer = tar_of({"shared": words(rng.randrange(4), 400_000), "own": noise(seed, size)})
        config = json.dumps({"architecture": "amd64", "os": "linux", "author": str(seed), "rootfs": {
            "type": "layers", "diff_ids": [Digest.of(layer)]}}).encode()
        for blob in (layer, config):
            self._blob(name, blob)
        data = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {
            "mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)}, "layers": [
            {"mediaType": OCI_LAYER, "digest": Digest.of(layer), "size": len(layer)}]}).encode()
        path = f"/v2/{name}/manifests/t{seed}"
        self._expect(self._wire.surely("PUT", path, data, Content_Type=OCI_MANIFEST), 201)
        self.counts.pushed[path] = data

    def _expect(self, reply: Reply, *statuses: int) -> Reply:
        assert reply.status in statuses, f"{reply.status} {reply.body[:300]!r}"
        return reply

    def _blob(self, name: str, data: bytes) -> None:
        digest = Digest.of(data)
        path = f"/v2/{name}/blobs/{digest}"
        while not self._upload(name, data, digest, path):
            self.counts.anew += 1
        self.counts.pushed[path] = data

    def _upload(self, name: str, data: bytes, digest: Digest, path: str) -> bool:
        """Whether it came through; if not it is to begin anew."""
        where = self._expect(self._wire.surely("POST", f"/v2/{name}/blobs/uploads/"), 202).headers["Location"]
        known = sent = 0  # bytes that the server has confirmed, and that it may have
        while True:
            try:
                if known < len(data):
                    piece = data[known : known + self._rng.randrange(1, 2 << 20)]
                    sent = known + len(piece)
                    body = piece if self._rng.random() < 0.5 else _dripping(piece)
                    self._expect(self._wire.ask("PATCH", where, body, Content_Range=f"{known}-{sent - 1}"), 202)
                    known = sent
                    continue
                self._expect(self._wire.ask("PUT", f"{where}?digest={digest}"), 201)
                return True
            except GONE:
                self.counts.cut += 1
            status = self._expect(self._wire.surely("GET", where), 204, 404)
            if status.status == 404:  # it is over: if it was not lost, the blob is there
                there = self._wire.surely("HEAD", path).status == 200
                assert there or known < len(data), "an upload of which all was there has gone, and so has the blob"
                self.counts.through += there
                return there
            offset = int(status.headers["Range"].partition("-")[2]) + 1
            if offset == 1 and known == 0:  # nothing or one byte, as it may be
                return False
            assert known <= offset <= sent, f"{known} bytes were confirmed, {sent} sent, {offset} are there"
            known = offset
            self.counts.resumed += 1



def _dripping(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 60_000):
        yield data[at : at + 60_000]


@contextlib.contextmanager
def clients(server: Server, count: int, seed: int) -> Iterator[list[Client]]:
    """So many; at the end of the block each ends with what it is at, and there must be a server until then."""
    all_of_them = [Client(server, number, seed) for number in range(count)]
    for each in all_of_them:
        each.start()
    try:
        yield all_of_them
    finally:
        for each in all_of_them:
            each.stopping.set()
        for each in all_of_them:
            each.join(WAIT)
        assert not any(each.is_alive() for each in all_of_them)


def wait_for(what: str, done: object) -> None:
    """Until `done()`."""
    late = time.monotonic() + WAIT
    while not done():  # type: ignore[operator]
        assert time.monotonic() < late, what
        time.sleep(0.01)
