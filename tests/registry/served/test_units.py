"""What lies under the server, without one."""

from __future__ import annotations

import asyncio

import pytest

from lamina.registry.server.answers import is_full
from lamina.registry.server.buffers import Allowance, Buffers
from lamina.registry.server.pace import Pace, TooSlowError
from lamina.registry.server.settings import Limits
from lamina.registry.server.threads import Threads


def test_buffers_share_what_there_is() -> None:
    limits = Limits(buffers=1 << 20, least=8 << 10, piece=256 << 10)
    buffers = Buffers(limits)
    lent = [buffers.take() for _ in range(400)]
    assert len(lent[0]) == 256 << 10 and len(lent[-1]) == 8 << 10
    # The first came before it was known how many there would be: all together are little more than was meant.
    assert sum(map(len, lent)) < 400 * (8 << 10) + 6 * (1 << 20)
    for one in lent:
        buffers.give(one)
    assert buffers.lent == 0 and len(buffers.take()) == 256 << 10


def test_buffers_are_used_again() -> None:
    buffers = Buffers(Limits())
    one = buffers.take()
    one[0] = 7
    buffers.give(one)
    assert buffers.take()[0] == 7


def test_an_allowance() -> None:
    allowance = Allowance(10)
    assert allowance.take(6) and not allowance.take(5) and allowance.take(4)
    allowance.give(6)
    assert allowance.take(5)


def test_pace() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def at_once() -> int:
        return 1

    async def main() -> None:
        pace = Pace(Limits(patience=0.01, rate=1))
        assert await pace.wait(at_once()) == 1
        with pytest.raises(TooSlowError):
            await pace.wait(never())
        with pytest.raises(TooSlowError):  # Its time is used up.
            await pace.wait(asyncio.sleep(0.001))
        pace.passed(100)
        await pace.wait(asyncio.sleep(0.001))

    asyncio.run(main())


@pytest.mark.parametrize(("inner", "full"), [(OSError(28, ""), True), (OSError(122, ""), True), (OSError(5, ""), False),
                                             (ValueError(), False)])
def test_a_full_disk_is_found_below(inner: Exception, full: bool) -> None:
    try:
        try:
            raise inner
        except Exception as error:
            raise RuntimeError from error
    except RuntimeError as outer:
        assert is_full(outer) == full


def test_a_thread_is_waited_for_when_its_task_is_cancelled() -> None:
    import threading

    begun, go, ended = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        go.wait(10)
        ended.append(1)

    async def main() -> None:
        threads = Threads(Limits(quick=1, bulk=1))
        task = asyncio.create_task(threads.bulk(work))
        await threads.quick(begun.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [1]
        threads.close()

    asyncio.run(main())
