"""A stream on its way in: one buffer is written while the next is filled, and none is filled that is being written."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lamina.registry.server.buffers import Buffers
from lamina.registry.server.settings import Limits
from lamina.registry.server.threads import Threads
from lamina.registry.server.uploads import _Writing

LIMITS = Limits(piece=8192, least=4096)


class Slow:
    """An upload whose writes wait."""

    def __init__(self) -> None:
        self.go, self.begun, self.data = threading.Event(), threading.Event(), b""
        self.fail: Exception | None = None

    def write(self, data: memoryview, /) -> None:
        self.begun.set()
        assert self.go.wait(20)
        if self.fail is not None:
            raise self.fail
        self.data += bytes(data)


def run(step: object) -> Slow:
    async def main() -> Slow:
        threads, buffers, slow = Threads(LIMITS), Buffers(LIMITS), Slow()
        try:
            await step(_Writing(threads, buffers, slow), slow)  # type: ignore[arg-type, operator]
        finally:
            slow.go.set()
            threads.close()
        assert buffers.lent == 0
        return slow

    return asyncio.run(main())


def test_the_next_is_filled_meanwhile() -> None:
    async def step(writing: _Writing, slow: Slow) -> None:
        first = writing.buffer()
        first[:] = b"a" * len(first)
        await writing.write(first)
        await asyncio.to_thread(slow.begun.wait, 20)
        second = writing.buffer()
        second[:] = b"b" * len(second)
        assert first[0] == ord("a")
        slow.go.set()
        await writing.write(second)
        third = writing.buffer()
        third[:10] = b"c" * 10
        await writing.write(third[:10])
        await writing.end()

    assert run(step).data == b"a" * 8192 + b"b" * 8192 + b"c" * 10


def test_a_small_body_has_one_buffer() -> None:
    async def step(writing: _Writing, slow: Slow) -> None:
        slow.go.set()
        await writing.write(writing.buffer()[:10])
        assert writing._buffers.lent == 1
        await writing.end()

    assert len(run(step).data) == 10


@pytest.mark.parametrize("end", [True, False])
def test_what_a_write_met_with_is_raised_by_the_next_step(end: bool) -> None:
    async def step(writing: _Writing, slow: Slow) -> None:
        slow.fail = OSError("full")
        slow.go.set()
        await writing.write(writing.buffer())
        with pytest.raises(OSError, match="full"):
            await (writing.end() if end else writing.write(writing.buffer()))
        if not end:
            await writing.end()

    assert run(step).data == b""


def test_who_is_told_to_stop_waits_for_the_write() -> None:
    async def step(writing: _Writing, slow: Slow) -> None:
        await writing.write(writing.buffer())
        task = asyncio.create_task(writing.end())
        await asyncio.to_thread(slow.begun.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done() and writing._buffers.lent == 2
        slow.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert len(run(step).data) == 8192
