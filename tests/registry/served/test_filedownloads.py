"""Blobs whose bytes lie in files: the kernel sends them, over plain HTTP; TLS and everything else reads."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamina.content import Reader, Run
from lamina.digest import Digest
from lamina.registry.server.settings import Limits, Settings
from registry.conftest import Pki
from registry.served.kit import WAIT, Server, read, rest
from registry.served.memory import Memory

SIZE = 9_000_000  # more than the buffers of two sockets


class InFiles:
    """`FileRuns` over one file; reading it is another thing, and counted."""

    def __init__(self, owner: FilesMemory, runs: Sequence[Run]) -> None:
        self._owner, self._runs = owner, list(runs)
        owner.open += 1

    @property
    def size(self) -> int:
        return sum(run.length for run in self._runs)

    def runs(self) -> Sequence[Run]:
        return self._runs

    def readinto(self, buffer: memoryview, /) -> int:
        self._owner.read += 1
        while self._runs and not self._runs[0].length:
            del self._runs[0]
        if not self._runs:
            return 0
        fd, offset, length = self._runs[0]
        count = os.preadv(fd, [buffer[:length]], offset)
        self._runs[0] = Run(fd, offset + count, length - count)
        return count

    def close(self) -> None:
        self._owner.open -= 1


class FilesMemory(Memory):
    """Blobs lie in a file, in three pieces that stand in another order."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__()
        self.open = self.read = 0
        third = len(data) // 3
        path.write_bytes(data[2 * third :] + b"gap" + data[:third] + data[third : 2 * third])
        self.fd = os.open(path, os.O_RDONLY)
        rest = len(data) - 2 * third
        self.pieces = [Run(self.fd, rest + 3, third), Run(self.fd, rest + 3 + third, third), Run(self.fd, 0, rest)]

    def open_blob(self, repository: str, digest: Digest, start: int, stop: int) -> Reader:
        runs, at = [], 0
        for fd, offset, length in self.pieces:
            first, last = max(start - at, 0), min(stop - at, length)
            if first < last:
                runs.append(Run(fd, offset + first, last - first))
            at += length
        return InFiles(self, runs)


DATA = random.Random(5).randbytes(SIZE)
PATH = f"/v2/one/blobs/{Digest.of(DATA)}"
HEAD = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[FilesMemory]:
    found = FilesMemory(tmp_path / "file", DATA)
    found.add("one", DATA)
    yield found
    os.close(found.fd)
    assert found.open == 0, "a reader was not closed"


def test_all_of_it_and_the_next_request(memory: FilesMemory) -> None:
    with Server(memory) as server, server.connect() as one:
        for _ in range(2):
            one.sendall(HEAD)
            reply = read(one)
            assert reply.status == 200 and reply["Content-Length"] == str(SIZE) and reply.body == DATA
        one.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read(one).status == 200
        assert [seen.sent for seen in server.over(3)] == [SIZE, SIZE, 2]
    assert memory.read == 0


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (5, 3_000_001), (2_999_999, 3_000_001), (SIZE - 7, SIZE)])
def test_ranges(memory: FilesMemory, start: int, stop: int) -> None:
    with Server(memory) as server:
        reply = server.ask("GET", PATH, headers={"Range": f"bytes={start}-{stop - 1}"})
    assert reply.status == 206 and reply.body == DATA[start:stop] and memory.read == 0


def test_several_at_once(memory: FilesMemory) -> None:
    with Server(memory) as server, ThreadPoolExecutor(8) as pool:
        assert all(reply.body == DATA for reply in pool.map(lambda _: server.ask("GET", PATH), range(16)))
    assert memory.read == 0


def test_over_tls_it_is_read(memory: FilesMemory, pki: Pki) -> None:
    with Server(memory, tls=pki.context("server")) as server:
        trusting = ssl.create_default_context(cafile=pki.ca)
        trusting.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusting, timeout=WAIT)
        with contextlib.closing(connection):
            connection.request("GET", PATH)
            assert connection.getresponse().read() == DATA
    assert memory.read > 0


def test_a_client_that_leaves(memory: FilesMemory) -> None:
    with Server(memory) as server:
        with server.connect() as one:
            one.sendall(HEAD)
            assert one.recv(1000)
        (seen,) = server.over(1)
    assert not seen.whole and seen.sent < SIZE


def test_a_client_that_dawdles_is_cut_off(memory: FilesMemory) -> None:
    with Server(memory, Settings(Limits(patience=0.2, rate=1 << 40))) as server, server.connect() as one:
        one.sendall(HEAD)
        (seen,) = server.over(1)
        assert rest(one) < SIZE
    assert not seen.whole


def test_a_file_that_has_become_shorter_cuts_the_connection(memory: FilesMemory, tmp_path: Path) -> None:
    os.truncate(tmp_path / "file", 4_000_000)
    with Server(memory) as server, server.connect() as one:
        one.sendall(HEAD)
        assert rest(one) < SIZE
        (seen,) = server.over(1)
    assert not seen.whole


def test_a_stop_waits_for_it_and_no_longer(memory: FilesMemory) -> None:
    with Server(memory, grace=0.2) as server, server.connect() as one:
        one.sendall(HEAD)
        assert one.recv(1000)
        server.stop()
        assert rest(one) < SIZE
