"""Bodies that come in little pieces: nobody is woken for each of them, and nothing of them is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lamina.registry.server import bodies
from lamina.registry.server.bodies import Body
from lamina.registry.server.settings import Limits

LITTLE = 32 << 10


class Request:
    """What a `Body` wants of one: pieces come one at a time, those that came while reading was paused all at once."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.headers = {"Transfer-Encoding": "chunked"}
        self.content = self.protocol = self
        self.transport = object()
        self._pieces = pieces
        self.paused, self.pauses, self.wakes = False, 0, 0
        self._late = 1  # pieces that come next

    def read_nowait(self) -> bytes:
        return b""

    async def readany(self) -> bytes:
        assert not self.paused
        self.wakes += 1
        count, self._late = self._late, 1
        found, self._pieces = self._pieces[:count], self._pieces[count:]
        return b"".join(found)

    def is_eof(self) -> bool:
        return not self._pieces

    def pause_reading(self) -> None:
        self.paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        self.paused, self._late = False, 4


def taken(request: Request, size: int = 1 << 20) -> bytes:
    async def main() -> bytes:
        body, found = Body(request, Limits()), bytearray()  # type: ignore[arg-type]
        while await body.readinto(buffer := memoryview(bytearray(size))):
            found += buffer[: body.filled]
        return bytes(found)

    return run(main)


def run(main: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
    return asyncio.run(main())


def pieces(count: int, size: int) -> list[bytes]:
    return [bytes([number % 251]) * size for number in range(count)]


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_LEAST", 1e-6)
    monkeypatch.setattr(bodies, "_MOST", 1e-5)


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_little_pieces_are_let_come(size: int) -> None:
    data = pieces(100, LITTLE)
    request = Request(list(data))
    assert taken(request, size) == b"".join(data)
    assert request.pauses > 10 and not request.paused
    assert request.wakes < 40


def test_a_small_body_is_taken_as_it_comes() -> None:
    data = pieces(8, LITTLE)
    request = Request(list(data))
    assert taken(request) == b"".join(data)
    assert request.pauses == 0


def test_nobody_waits_for_who_sends_much_at_once() -> None:
    data = pieces(50, 64 << 10)
    request = Request(list(data))
    assert taken(request) == b"".join(data)
    assert request.pauses == 0


@pytest.mark.parametrize(("sizes", "moments"), [
    ([LITTLE] * 7, [2, 4, 8, 16, 32, 32, 32]),
    ([LITTLE] * 5 + [bodies._LITTLE, bodies._MUCH - 1], [2, 4, 8, 16, 32, 32, 32]),  # as it should be
    ([LITTLE] * 5 + [bodies._MUCH] * 3 + [LITTLE], [2, 4, 8, 16, 32, 8, 0, 2]),
    ([LITTLE] * 3 + [1 << 20], [2, 4, 8]),
    ([bodies._LITTLE] * 5, []),
])
def test_moments(monkeypatch: pytest.MonkeyPatch, sizes: list[int], moments: list[int]) -> None:
    """Longer while little comes, shorter while much does."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds * 1000, 3))

    monkeypatch.undo()
    monkeypatch.setattr(bodies.asyncio, "sleep", sleep)

    async def main() -> bytes:
        body = Body(Request([]), Limits())  # type: ignore[arg-type]
        for size in sizes:
            await body._let_come(size)
        return b""

    run(main)
    assert slept == [each for each in moments if each]


def test_reading_goes_on_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_LEAST", 60.0)
    monkeypatch.setattr(bodies, "_MOST", 60.0)
    request = Request(pieces(100, LITTLE))

    async def main() -> bytes:
        task = asyncio.create_task(Body(request, Limits()).readinto(memoryview(bytearray(1 << 22))))  # type: ignore[arg-type]
        while not request.paused:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return b""

    run(main)
    assert not request.paused
