"""Events for programs."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest

from cli.progress.kit import Clock, digest
from lamina.cli.progress import PULL, display
from lamina.cli.progress.events import Events

Capture = pytest.CaptureFixture[str]
ONE = digest(1)


def told(capsys: Capture) -> list[dict[str, Any]]:
    shown = capsys.readouterr()
    assert shown.err == ""
    return [json.loads(line) for line in shown.out.splitlines()]


def event(name: str, status: str, current: int, total: int | None, rate: int, key: str = ONE) -> dict[str, Any]:
    return {"event": name, "id": key, "status": status, "current": current, "total": total, "rate": rate}


def test_the_life_of_an_item(capsys: Capture) -> None:
    clock = Clock()
    shown = Events(PULL, clock)
    shown.start(ONE, "label", 1000)
    clock.now += 1
    shown.state(ONE, "downloading")
    shown.state(ONE, "downloading")
    clock.now += 0.25
    shown.advance(ONE, 500)
    clock.now += 0.25
    shown.advance(ONE, 500)
    clock.now += 0.5
    shown.done(ONE, "loaded")
    assert told(capsys) == [
        event("start", "waiting", 0, 1000, 0),
        event("state", "downloading", 0, 1000, 0),
        event("progress", "downloading", 500, 1000, 400),
        event("progress", "downloading", 1000, 1000, 2000),
        event("done", "loaded", 1000, 1000, 500),
    ]


def test_at_most_ten_a_second_for_each_item(capsys: Capture) -> None:
    clock = Clock()
    shown = Events(PULL, clock)
    shown.start("a", "", None)
    shown.start("b", "", None)
    for _ in range(2048):
        clock.now += 1 / 1024
        shown.advance("a", 1)
        shown.advance("b", 1)
    events = [one["id"] for one in told(capsys) if one["event"] == "progress"]
    assert 18 <= events.count("a") <= 20
    assert 18 <= events.count("b") <= 20


def test_an_item_that_was_not_started(capsys: Capture) -> None:
    shown = Events(PULL, Clock())
    shown.done(ONE, "exists")
    shown.advance(ONE, 1)
    shown.state("early", "checking")
    shown.start("early", "", 5)
    assert told(capsys) == [event("done", "exists", 0, None, 0), event("state", "checking", 0, None, 0, "early"),
                            event("start", "checking", 0, 5, 0, "early")]


def test_bytes_that_move_are_a_state(capsys: Capture) -> None:
    shown = Events(PULL, Clock())
    shown.start(ONE, "", 2)
    shown.advance(ONE, 1)
    shown.advance(ONE, 1)
    assert told(capsys)[1:] == [event("state", "downloading", 1, 2, 0)]


def test_a_second_try_begins_again(capsys: Capture) -> None:
    clock = Clock()
    shown = Events(PULL, clock)
    shown.start(ONE, "", 10)
    shown.advance(ONE, 7)
    shown.start(ONE, "", 10)
    clock.now += 1
    shown.advance(ONE, 3)
    assert [one["current"] for one in told(capsys) if one["event"] != "state"] == [0, 0, 3]


def test_names_are_hostile(capsys: Capture) -> None:
    Events(PULL, Clock()).done("a\n\x1b\udcff\u2028", "exists")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.isascii()
    assert json.loads(out)["id"] == "a\n\x1b\udcff\u2028"


def test_whole_lines_from_many_threads(capsys: Capture) -> None:
    shown = Events()
    threads = [threading.Thread(target=lambda key=str(number): [shown.done(key, "exists") for _ in range(200)])
               for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(capsys)) == 1600


def test_a_closed_pipe_is_told_of_at_the_end_and_not_to_the_threads_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a thread that fetches it would be a broken connection."""
    class Closed:
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    closed = Closed()
    monkeypatch.setattr(sys, "stdout", closed)
    after = []
    with pytest.raises(BrokenPipeError), display(quiet=False, events=True) as shown:
        shown.start(ONE, "", 1)
        shown.done(ONE, "loaded")
        after.append("work goes on")
    assert after
    assert closed.writes == 1


def test_events_leave_standard_error_alone(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with display(quiet=False, events=True) as shown:
        shown.done(ONE, "exists")
    assert [one["event"] for one in told(capsys)] == ["done"]
