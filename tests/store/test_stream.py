from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from contracts.samples import DrippingReader, EndlessReader, FailingReader
from storekit import noise

from lamina.content.verify import BytesReader
from lamina.store import stream
from lamina.store.stream import BODY, BUFFERS, LAG, BufferPool


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def drain(pool: BufferPool, reader: object) -> tuple[bytes, list[int]]:
    data, counts = b"", []
    for filled in pool.read(reader):  # type: ignore[arg-type]
        data += filled.view
        counts.append(filled.count)
        assert filled.start == pool.headroom
        assert len(filled.buffer) == pool.headroom + BODY
    return data, counts


@pytest.mark.parametrize("size", [0, 1, BODY - 1, BODY, BODY + 1, 3 * BODY, BUFFERS * BODY + 7])
def test_all_bytes_and_one_end(size: int) -> None:
    data = noise(1, size)
    assert drain(BufferPool(100), BytesReader(data))[0] == data


def test_full_buffers_however_the_reader_drips() -> None:
    data = noise(1, 2 * BODY + 5)
    got, counts = drain(BufferPool(0), DrippingReader(data, 100_003))
    assert got == data
    assert counts == [BODY, BODY, 5]


def test_a_pool_serves_again() -> None:
    pool = BufferPool(0)
    for seed in range(3):
        data = noise(seed, BODY + seed)
        assert drain(pool, BytesReader(data))[0] == data
        with pytest.raises(OSError, match="cable"):
            drain(pool, FailingReader(noise(2, 3 * BODY)))


@pytest.mark.parametrize("piece", [1, 1000, 100_000])
def test_smaller_pieces(piece: int) -> None:
    data = noise(1, 3 * piece + piece // 2)
    pieces = [bytes(filled.view) for filled in BufferPool(100).read(BytesReader(data), piece=piece)]
    assert b"".join(pieces) == data
    assert {len(each) for each in pieces[:3]} == {piece}


def test_what_came_before_a_failure_is_given() -> None:
    got = b""
    with pytest.raises(OSError, match="cable"):
        for filled in BufferPool(0).read(FailingReader(noise(2, 3 * BODY))):
            got += filled.view
    assert got == noise(2, 3 * BODY)[: len(got)]
    assert len(got) % BODY or len(got) == 3 * BODY


def test_what_watch_raises_is_raised() -> None:
    def watch(view: memoryview) -> None:
        raise OverflowError(str(len(view)))

    with pytest.raises(OverflowError, match=str(BODY)):
        list(BufferPool(0).read(EndlessReader(), watch))


def test_early_close_stops_the_reading() -> None:
    reader = EndlessReader()
    pieces = BufferPool(0).read(reader)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert BODY <= reader.given <= (BUFFERS + 1) * BODY


def test_closed_before_it_began() -> None:
    BufferPool(0).read(EndlessReader()).close()  # type: ignore[attr-defined]


def test_a_buffer_stays_as_it_is_while_a_consumer_may_lag() -> None:
    """The one before the last is not filled again until the next is asked for."""
    previous: tuple[memoryview, bytes] | None = None
    for filled in BufferPool(0).read(BytesReader(noise(1, 12 * BODY))):
        if previous is not None and LAG:
            assert bytes(previous[0][:64]) == previous[1]
        previous = filled.view, bytes(filled.view[:64])


def test_a_silent_reader_does_not_keep_a_session_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WATCH", 0.001)
    monkeypatch.setattr(stream, "PATIENCE", 0.001)
    answer = threading.Event()

    class Silent:
        size = None

        def readinto(self, buffer: memoryview, /) -> int:
            answer.wait(60)
            return 0

        def close(self) -> None:
            pass

    def over() -> None:
        raise ArithmeticError("it has ended")

    with pytest.raises(ArithmeticError, match="it has ended"):
        next(BufferPool(0).read(Silent(), over=over))
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "lamina-read":
            thread.join()
