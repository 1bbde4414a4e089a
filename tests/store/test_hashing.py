from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storekit import noise

from lamina._native.sha256many import Sha256
from lamina.store import hashing
from lamina.store.hashing import SLICE, HashHub, Stream
from lamina.store.stages import Stages


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def hub() -> Iterator[HashHub]:
    hub = HashHub()
    yield hub
    hub.close()


def feed(stream: Stream, data: bytes, piece: int) -> None:
    for at in range(0, len(data), piece):
        stream.give(memoryview(data)[at : at + piece])
        stream.wait(1)


@given(sizes=st.lists(st.integers(0, 300_000), min_size=1, max_size=4), piece=st.integers(1000, 200_000))
@settings(max_examples=30, deadline=None)
def test_streams_side_by_side_have_their_own_digests(sizes: list[int], piece: int) -> None:
    hub, stages = HashHub(), Stages()
    try:
        data = [noise(number, size) for number, size in enumerate(sizes)]
        streams = [hub.stream(["sha256", "sha512"], stages) for _ in data]
        pairs = zip(streams, data, strict=True)
        threads = [threading.Thread(target=feed, args=(stream, each, piece)) for stream, each in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for stream, each in zip(streams, data, strict=True):
            digests = stream.digests()
            assert digests["sha256"] == f"sha256:{hashlib.sha256(each).hexdigest()}"
            assert digests["sha512"] == f"sha512:{hashlib.sha512(each).hexdigest()}"
            stream.end()
        assert sum(stage.bytes for stage in stages.by_name.values()) == sum(sizes)
    finally:
        hub.close()


def test_two_streams_go_through_one_call(hub: HashHub, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[int]] = []
    real = hashing.update_many

    def spy(states: list[Sha256], pieces: list[memoryview]) -> None:
        calls.append([len(piece) for piece in pieces])
        real(states, pieces)

    looked = threading.Event()
    worth_it = hub._worth_it

    def watch(ready: list[Stream]) -> bool:
        answer = worth_it(ready)
        if ready:
            looked.set()
        return answer

    monkeypatch.setattr(hashing, "update_many", spy)
    monkeypatch.setattr(hub, "_worth_it", watch)
    one, two = hub.stream([], Stages()), hub.stream([], Stages())
    one.give(memoryview(bytes(3 * SLICE)))
    assert looked.wait(10)  # the thread has seen it, and waits for the other
    two.give(memoryview(bytes(3 * SLICE)))
    one.wait()
    two.wait()
    assert calls == [[3 * SLICE, 3 * SLICE]]


def test_a_stream_whose_giver_waits_goes_on_alone(hub: HashHub) -> None:
    one, two = hub.stream([], Stages()), hub.stream([], Stages())
    one.give(memoryview(b"x" * (2 * SLICE + 5)))
    assert one.digests()["sha256"] == f"sha256:{hashlib.sha256(b'x' * (2 * SLICE + 5)).hexdigest()}"
    assert two.digests()["sha256"] == f"sha256:{hashlib.sha256().hexdigest()}"


def test_a_failure_comes_out(hub: HashHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("two")

    monkeypatch.setattr(hashing, "update_many", fail)
    stream = hub.stream([], Stages())
    stream.give(memoryview(bytes(10)))
    for _ in range(2):
        with pytest.raises(ArithmeticError, match="two"):
            stream.wait()
    stream.end()


def test_what_has_left_is_not_touched_again(hub: HashHub) -> None:
    stream = hub.stream([], Stages())
    buffer = bytearray(8 * SLICE)
    stream.give(memoryview(buffer))
    stream.end()
    stream.end()
    done = stream.state.hexdigest()
    buffer[:] = b"\xff" * len(buffer)
    other = hub.stream([], Stages())
    other.give(memoryview(b"abc"))
    other.wait()
    assert stream.state.hexdigest() == done


def test_who_lets_a_stream_leave_waits_for_the_piece_in_work_alone(hub: HashHub, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, sleeps = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(hashing, "update_many", slow)
    stream = hub.stream([], Stages())
    wait = stream.done.wait

    def watch(timeout: float | None = None) -> bool:
        sleeps.set()  # with the lock, which only the sleep itself lets go of
        return wait(timeout)

    monkeypatch.setattr(stream.done, "wait", watch)
    for _ in range(3):
        stream.give(memoryview(b"piece"))
    assert begun.wait(10)
    leaving = threading.Thread(target=stream.end, daemon=True)
    leaving.start()
    assert sleeps.wait(10)
    go_on.set()
    leaving.join(10)
    assert not leaving.is_alive()
    assert len(stream.pending) == 2
