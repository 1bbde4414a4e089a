"""kill -9 of a registry server at random moments, in the middle of uploads by several clients; and SIGTERM.

`pytest tests/reliability/test_serve_kills.py --long`: 300 kills.  LAMINA_KILL_SEED says which.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reliability.serving import WAIT, Client, Server, Wire, clients
from store.storekit import leftovers, live_packs, noise, pack_files, problems

from lamina.digest import Digest
from lamina.store import BlobStore

SEED = int(os.environ.get("LAMINA_KILL_SEED", "1"))
LONGEST = 0.7  # seconds from a server's start to its end at most


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with BlobStore.open(tmp_path / "store"):
        return tmp_path / "store"


def pulled(server: Server, pushed: dict[str, bytes]) -> None:
    """All of it comes back."""
    wire = Wire(server)
    for each, data in pushed.items():
        reply = wire.ask("GET", each)
        assert (reply.status, len(reply.body)) == (200, len(data)), each
        assert reply.body == data, each
    wire.close()


def kept(path: Path, pushed: dict[str, bytes]) -> None:
    """Collected or not, all of it is there, nothing is wrong and nothing left over."""
    with BlobStore.open(path) as store:
        assert problems(store) == []
        store.collect(max_unused=0)
        for each in pushed:
            assert store.catalog.blob(each.rpartition("/")[2]) is not None or "/manifests/" in each, each
        assert problems(store) == []
        assert leftovers(store) == []
        assert pack_files(store) == live_packs(store)
        assert store.usage().dead == 0
        assert list(store.receiving.all()) == [] or store.receiving.size() >= 0


def total(everybody: list[Client], name: str) -> int:
    return sum(getattr(each.counts, name) for each in everybody)


def test_kill_at_any_moment(path: Path, long: bool, tally) -> None:
    kills, rng = 300 if long else 10, random.Random(SEED)
    server = Server(path)
    server.start()
    with clients(server, 4, SEED) as everybody:
        try:
            for _ in range(kills):
                # A moment on the clock is the whole point here.
                time.sleep(rng.uniform(0, LONGEST))
                assert server.end(signal.SIGKILL) == -signal.SIGKILL
                server.start()
                assert not any(each.counts.problems for each in everybody), [each.counts.problems for each in everybody]
        except BaseException:
            server.process.kill()
            raise
    try:
        pushed = {each: data for one in everybody for each, data in one.counts.pushed.items()}
        assert not any(each.counts.problems for each in everybody), [each.counts.problems for each in everybody]
        pulled(server, pushed)
    finally:
        code = server.end(signal.SIGTERM)
    assert code == 0
    kept(path, pushed)
    server.start()  # and after all that the registry has it still
    try:
        pulled(server, pushed)
    finally:
        assert server.end(signal.SIGTERM) == 0
    blobs = sum("/blobs/" in each for each in pushed)
    assert blobs and len(pushed) > blobs
    tally("serve", kills=kills, blobs_pushed=blobs, manifests_pushed=len(pushed) - blobs, lost=0,
          requests_cut=total(everybody, "cut"), resumed_in_the_middle=total(everybody, "resumed"),
          begun_anew=total(everybody, "anew"), done_and_not_heard_of=total(everybody, "through"))


class Body:
    """The pieces of a body, the last of them when it is let go."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.half, self.on = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield self._data[: len(self._data) // 2]
        self.half.set()
        assert self.on.wait(WAIT)
        yield self._data[len(self._data) // 2 :]


class Push(threading.Thread):
    """A blob in one PATCH that stands still in its middle."""

    def __init__(self, server: Server, data: bytes) -> None:
        super().__init__()
        self.wire, self.body = Wire(server), Body(data)
        self.where = self.wire.ask("POST", "/v2/app/blobs/uploads/").headers["Location"]
        self.result: object = None
        self.start()
        assert self.body.half.wait(WAIT)

    def run(self) -> None:
        try:
            self.result = self.wire.ask("PATCH", self.where, iter(self.body)).status
        except Exception as error:
            self.result = error


def test_a_graceful_stop_lets_an_upload_end(path: Path) -> None:
    data = noise(1, 9_000_000)
    server = Server(path, grace=WAIT)
    server.start()
    push = Push(server, data)
    server.process.terminate()
    push.body.on.set()
    push.join(WAIT)
    push.wire.close()
    assert push.result == 202
    server.process.join(WAIT)
    assert server.process.exitcode == 0
    server.start()
    try:
        assert push.wire.ask("GET", push.where).headers["Range"] == f"0-{len(data) - 1}"
        assert push.wire.ask("PUT", f"{push.where}?digest={Digest.of(data)}").status == 201
        pulled(server, {f"/v2/app/blobs/{Digest.of(data)}": data})
        push.wire.close()
    finally:
        assert server.end(signal.SIGTERM) == 0


def test_a_stop_that_cannot_wait_lets_it_resume(path: Path) -> None:
    data = noise(2, 9_000_000)
    server = Server(path, grace=0.1)
    server.start()
    push = Push(server, data)
    assert server.end(signal.SIGTERM) == 0
    push.body.on.set()
    push.join(WAIT)
    push.wire.close()
    assert push.result != 202
    with BlobStore.open(path) as store:
        assert leftovers(store) == []
    server.start()
    try:
        wire = Wire(server)
        offset = int(wire.ask("GET", push.where).headers["Range"].partition("-")[2]) + 1
        assert 1 < offset <= len(data)
        assert wire.ask("PATCH", push.where, data[offset:], Content_Range=f"{offset}-{len(data) - 1}").status == 202
        assert wire.ask("PUT", f"{push.where}?digest={Digest.of(data)}").status == 201
        pulled(server, {f"/v2/app/blobs/{Digest.of(data)}": data})
        wire.close()
    finally:
        assert server.end(signal.SIGTERM) == 0
