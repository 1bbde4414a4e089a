"""A crowd of clients at one registry: each pushes, pulls, deletes, asks, as it comes, and remembers what it was promised.

What was acknowledged and not deleted is pulled at the end and compared, byte for byte.  Answers that the specification does
not allow at that place, broken connections and wrong bytes are errors; `errors` has what was said.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import json
import random
import socket
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_KIND = "application/vnd.oci.image"
_BUSY = (429, 503)  # come again: the specification's TOOMANYREQUESTS, and HTTP's own


@dataclass
class Image:
    """One that was acknowledged: where, under which names, and what it consists of (digests of blobs in the pool)."""

    repository: str
    tag: str
    digest: str
    data: bytes
    blobs: dict[str, bytes]


@dataclass
class Told:
    """What has happened so far, of all clients."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    images: dict[str, Image] = field(default_factory=dict)  # by digest of the manifest: acknowledged, not deleted
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)  # (repository, digest): likewise
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    moved: int = 0

    def count(self, what: str, moved: int = 0) -> None:
        with self.lock:
            self.counts[what] += 1
            self.moved += moved

    def error(self, what: str) -> None:
        with self.lock:
            self.counts["errors"] += 1
            if len(self.errors) < 50:
                self.errors.append(what)


def pool(count: int = 60) -> list[bytes]:
    """Layers that clients share: half of them plain tars, half gzip; most are small, few have megabytes."""
    source, found = random.Random(7), []
    for number in range(count):
        size = int(source.lognormvariate(10.5, 1.6)) % 8_000_000 + 200
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(f"data/{number}")
            info.size = size
            words = source.randbytes(size // 4 + 1).hex().encode() * 2
            tar.addfile(info, io.BytesIO(words[:size]))
        data = out.getvalue()
        found.append(gzip.compress(data, 1, mtime=0) if number % 2 else data)
    return found


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Client:
    """One of the crowd, in a thread of its own."""

    def __init__(self, number: int, port: int, layers: list[bytes], told: Told) -> None:
        self.number, self.port, self.layers, self.told = number, port, layers, told
        self.random = random.Random(number)
        self.serial = 0
        self.repository = f"crowd/{number % 23}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    # -- one request

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case), body; again after `Retry-After` where the registry is busy."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for _ in range(200):
            status, found, data = self._once(method, path, body, named)
            if status not in _BUSY:
                return status, found, data
            self.told.count(f"busy {status}")
            time.sleep(min(1.0, float(found.get("retry-after", "1"))) * self.random.random())
        raise ValueError(f"{method} {path}: busy for ever")

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        fresh = self.connection.sock is None
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            data = answer.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.connection.close()
            if fresh:
                raise
            return self._once(method, path, body, headers)  # a connection that had been idle for long may be ended
        except BaseException:
            self.connection.close()
            raise
        if self.connection.sock is not None:
            with contextlib.suppress(OSError):
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def want(self, allowed: tuple[int, ...], method: str, path: str, body: bytes | None = None,
             **headers: str) -> tuple[int, dict[str, str], bytes]:
        """As `ask`; ValueError for another status."""
        answer = self.ask(method, path, body, **headers)
        if answer[0] not in allowed:
            raise ValueError(f"{method} {path}: {answer[0]} {answer[2][:300]!r}")
        return answer

    # -- what a client does

    def run(self, end: float) -> None:
        """Until then; an error is noted, and the next thing done."""
        choices: list[tuple[Callable[[], None], int]] = [
            (self.push, 30), (self.pull, 34), (self.delete, 10), (self.untag, 4), (self.blob, 8), (self.drop_blob, 3),
            (self.part, 5), (self.lists, 3), (self.leave, 3)]
        steps, weights = [step for step, _ in choices], [weight for _, weight in choices]
        while time.monotonic() < end:
            step = self.random.choices(steps, weights)[0]
            try:
                step()
                self.told.count(step.__name__)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.told.error(f"client {self.number}, {step.__name__}: {type(error).__name__}: {error}")

    def push(self) -> None:
        """An image of one to three layers, some shared with all, some its own."""
        self.serial += 1
        own = f"{self.number} {self.serial} ".encode() * self.random.randrange(1, 4000)
        layers = [*self.random.sample(self.layers, self.random.randrange(1, 3)), own]
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "made": [self.number, self.serial],
                             "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in layers]}}).encode()
        blobs = {digest_of(each): each for each in (*layers, config)}
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": f"{_KIND}.manifest.v1+json",
            "config": {"mediaType": f"{_KIND}.config.v1+json", "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": "application/octet-stream", "digest": digest_of(each), "size": len(each)}
                       for each in layers]}).encode()
        tag = f"t{self.number}-{self.random.randrange(8)}"
        for _ in range(5):
            for digest, data in blobs.items():
                if self.ask("HEAD", f"/v2/{self.repository}/blobs/{digest}")[0] != 200:
                    self.upload(digest, data)
            status, _, said = self.want((201, 400, 404), "PUT", f"/v2/{self.repository}/manifests/{tag}", manifest,
                                        Content_Type=f"{_KIND}.manifest.v1+json")
            if status == 201:
                with self.told.lock:
                    digest = digest_of(manifest)
                    self.told.images[digest] = Image(self.repository, tag, digest, manifest, blobs)
                return
            # A blob that was there by somebody else's manifest has gone with that: as if it had never been.
            if json.loads(said)["errors"][0]["code"] != "MANIFEST_BLOB_UNKNOWN":
                raise ValueError(f"PUT manifest: {status} {said[:300]!r}")
            self.told.count("blob gone before its manifest came")
        raise ValueError("a manifest's blobs go again and again")

    def upload(self, digest: str, data: bytes, *, remember: bool = True) -> None:
        """By one of the three ways, or a mount."""
        path = f"/v2/{self.repository}/blobs/uploads/"
        way = self.random.choice(("whole", "put", "chunks", "mount"))
        if way == "mount":
            status, headers, _ = self.want((201, 202), "POST", f"{path}?mount={digest}&from=crowd/{self.random.randrange(23)}",
                                           b"")
            if status == 201:
                return
        elif way == "whole":
            status, headers, _ = self.want((201, 202), "POST", f"{path}?digest={digest}", data,
                                           Content_Type="application/octet-stream")
            if status == 201:
                self._have(digest, data, remember)
                return
        else:
            _, headers, _ = self.want((202,), "POST", path, b"")
        where, rest = headers["location"], data
        if way == "chunks":
            step = max(1, len(data) // 3)
            for at in range(0, 2 * step, step):
                piece = data[at : at + step]
                _, headers, _ = self.want((202,), "PATCH", _local(where), piece, Content_Type="application/octet-stream",
                                          Content_Range=f"{at}-{at + len(piece) - 1}")
                where = headers["location"]
            rest = data[2 * step :]
        mark = "&" if "?" in where else "?"
        self.want((201,), "PUT", f"{_local(where)}{mark}digest={digest}", rest, Content_Type="application/octet-stream")
        self._have(digest, data, remember)

    def _have(self, digest: str, data: bytes, remember: bool) -> None:
        with self.told.lock:
            self.told.moved += len(data)
            if remember:
                self.told.blobs[self.repository, digest] = data

    def pull(self) -> None:
        """An image that somebody was promised; it may be deleted meanwhile."""
        image = self._some()
        if image is None:
            return
        status, _, data = self.want((200, 404), "GET", f"/v2/{image.repository}/manifests/{image.digest}",
                                    Accept=f"{_KIND}.manifest.v1+json")
        if status == 404:
            self._may_be_gone(image)
            return
        if data != image.data:
            raise ValueError(f"{image.digest}: another manifest")
        for digest, content in image.blobs.items():
            status, _, data = self.want((200, 404), "GET", f"/v2/{image.repository}/blobs/{digest}")
            if status == 404:
                self._may_be_gone(image)
                return
            if data != content:
                raise ValueError(f"{digest}: {len(data)} other bytes instead of {len(content)}")
            self.told.count("blobs pulled", len(data))

    def part(self) -> None:
        """A range of a blob."""
        image = self._some()
        if image is None:
            return
        digest, content = self.random.choice(list(image.blobs.items()))
        start = self.random.randrange(len(content))
        stop = self.random.randrange(start, len(content)) + 1
        status, _, data = self.want((206, 200, 404), "GET", f"/v2/{image.repository}/blobs/{digest}",
                                    Range=f"bytes={start}-{stop - 1}")
        if status == 404:
            self._may_be_gone(image)
        elif data != (content[start:stop] if status == 206 else content):
            raise ValueError(f"{digest} {start}-{stop}: other bytes")

    def _some(self) -> Image | None:
        with self.told.lock:
            return self.random.choice(list(self.told.images.values())) if self.told.images else None

    def _may_be_gone(self, image: Image) -> None:
        with self.told.lock:
            if image.digest in self.told.images:
                raise ValueError(f"{image.repository}@{image.digest} is lost")
        self.told.count("gone meanwhile")

    def delete(self) -> None:
        """An image, by its digest; from now on it may be gone."""
        with self.told.lock:
            mine = [each for each in self.told.images.values() if each.tag.startswith(f"t{self.number}-")]
            if not mine:
                return
            image = self.random.choice(mine)
            del self.told.images[image.digest]
        self.want((202,), "DELETE", f"/v2/{image.repository}/manifests/{image.digest}")

    def untag(self) -> None:
        """A tag alone: what it led to stays by its digest."""
        self.want((202, 404), "DELETE", f"/v2/{self.repository}/manifests/t{self.number}-{self.random.randrange(8)}")

    def blob(self) -> None:
        """A blob that no manifest names."""
        self.serial += 1
        data = f"{self.number} {self.serial} alone ".encode() * self.random.randrange(1, 2000)
        self.upload(digest_of(data), data)

    def drop_blob(self) -> None:
        """And one away again."""
        self.serial += 1
        data = f"{self.number} {self.serial} not for long ".encode() * self.random.randrange(1, 2000)
        digest = digest_of(data)
        self.upload(digest, data, remember=False)
        self.want((202,), "DELETE", f"/v2/{self.repository}/blobs/{digest}")
        self.want((404,), "HEAD", f"/v2/{self.repository}/blobs/{digest}")

    def lists(self) -> None:
        """Tags and repositories."""
        self.want((200, 404), "GET", f"/v2/{self.repository}/tags/list?n=50")
        self.want((200,), "GET", "/v2/_catalog?n=50")

    def leave(self) -> None:
        """Go away in the middle of an upload."""
        _, headers, _ = self.want((202,), "POST", f"/v2/{self.repository}/blobs/uploads/", b"")
        head = f"PATCH {_local(headers['location'])} HTTP/1.1\r\nHost: bench\r\nContent-Length: 100000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 30) as one:
            one.sendall(head.encode() + b"x" * self.random.randrange(100_000))

    # -- at the end

    def check(self, images: list[Image], blobs: list[tuple[tuple[str, str], bytes]]) -> None:
        """All of these are there, as they were."""
        for image in images:
            status, _, data = self.ask("GET", f"/v2/{image.repository}/manifests/{image.digest}",
                                       Accept=f"{_KIND}.manifest.v1+json")
            if status != 200 or data != image.data:
                self.told.error(f"lost: manifest {image.repository}@{image.digest}: {status}")
            blobs += [((image.repository, digest), content) for digest, content in image.blobs.items()]
        for (repository, digest), content in dict(blobs).items():
            status, _, data = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
            if status != 200 or data != content:
                self.told.error(f"lost: blob {repository}@{digest}: {status}, {len(data)} bytes of {len(content)}")
            self.told.count("checked at the end")


def _local(where: str) -> str:
    """The path of a Location, which may be whole."""
    return "/" + where.split("/", 3)[3] if where.startswith("http") else where


def crowd(port: int, clients: int, seconds: float) -> Told:
    """Let so many clients be at it for so long; then all that was promised is looked for."""
    told, layers = Told(), pool()
    all_of_them = [Client(number, port, layers, told) for number in range(clients)]
    end = time.monotonic() + seconds
    _together([lambda each=each: each.run(end) for each in all_of_them])  # type: ignore[misc]
    images, blobs, part = list(told.images.values()), list(told.blobs.items()), 16
    _together([lambda i=i: all_of_them[i].check(images[i::part], blobs[i::part])  # type: ignore[misc]
               for i in range(part)])
    return told


def _together(steps: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=step) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
