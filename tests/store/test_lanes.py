from __future__ import annotations

import threading

import pytest

from lamina.errors import InvalidContent
from lamina.store import lanes
from lamina.store.lanes import run_lanes


def nothing() -> None:
    """Nothing to stop."""


def test_several_at_once_and_each_one_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", 3)
    together = threading.Barrier(3)
    done: list[int] = []

    def work(number: int) -> None:
        if number < 3:
            together.wait(10)  # breaks unless three run side by side
        done.append(number)

    run_lanes(range(10), work, nothing)
    assert sorted(done) == list(range(10))
    run_lanes([], work, nothing)


def test_an_error_of_content_ends_its_job_alone() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise InvalidContent("bad", "one")
        done.append(number)

    run_lanes(range(4), work, nothing)
    assert sorted(done) == [0, 2, 3]


def test_any_other_error_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", 2)
    stopped = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            raise ArithmeticError("zero")
        assert number == 1  # the lane of the other job takes no third one
        assert stopped.wait(10)

    with pytest.raises(ArithmeticError, match="zero"):
        run_lanes(range(5), work, stopped.set)


def test_an_interrupt_stops_the_lanes_and_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANES", 2)
    stopped, ended = threading.Event(), []

    def work(number: int) -> None:
        assert stopped.wait(10)
        ended.append(number)

    real = threading.Thread.join
    joins = []

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        joins.append(thread)
        if len(joins) == 1:
            raise KeyboardInterrupt
        real(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        run_lanes([1, 2], work, stopped.set)
    assert sorted(ended) == [1, 2]


def test_an_interrupt_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lane sits in a call that does not return."""
    monkeypatch.setattr(lanes, "PATIENCE", 0.01)
    answer, real, joins = threading.Event(), threading.Thread.join, []

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        joins.append(thread)
        if len(joins) == 1:
            raise KeyboardInterrupt
        real(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        run_lanes([1], lambda _: answer.wait(60), lambda: None)
    assert joins[-1].is_alive()
    answer.set()
    real(joins[-1])
