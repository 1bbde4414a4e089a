"""Plain lines off a terminal."""

from __future__ import annotations

import sys

import pytest

from cli.progress.kit import Clock, digest
from lamina.cli.progress import PULL, PUSH, Lines, display
from lamina.cli.progress.words import Words

Capture = pytest.CaptureFixture[str]
ONE = digest(0xfedcba987654)


@pytest.mark.parametrize(("words", "status", "lines"), [
    (None, "loaded", ["loaded fedcba987654 4MB in 2.5 s", "exists 000000000001", "verified some/path"]),
    (PULL, "loaded", ["fedcba987654: Pull complete, 4MB in 2.5 s", "000000000001: Already exists", "some/path: Verified"]),
    (PUSH, "pushed", ["fedcba987654: Pushed, 4MB in 2.5 s", "000000000001: Layer already exists", "some/path: Verified"]),
])
def test_a_line_for_each_end(capsys: Capture, words: Words | None, status: str, lines: list[str]) -> None:
    clock = Clock()
    shown = Lines(words, clock)
    shown.start(ONE, ONE, 4_000_000)
    shown.state(ONE, "downloading")
    shown.advance(ONE, 4_000_000)
    clock.now += 2.5
    shown.done(ONE, status)
    shown.done(digest(1), "exists")
    shown.start("key", "some/path", None)
    shown.done("key", "verified")
    assert capsys.readouterr() == ("", "\n".join(lines) + "\n")


def test_one_line_for_all_every_five_seconds(capsys: Capture) -> None:
    clock = Clock()
    shown = Lines(PULL, clock)
    for number in range(3):
        shown.start(digest(number), "", 100_000_000)
    for _ in range(40):
        clock.now += 0.25
        shown.advance(digest(0), 1_000_000)
        shown.advance(digest(1), 1_000_000)
    assert capsys.readouterr().err.splitlines() == ["0 of 3 layers, 39MB of 300MB, 7.8MB/s, 34s left",
                                                    "0 of 3 layers, 79MB of 300MB, 8MB/s (7.9MB/s overall), 28s left"]


def test_time_that_nobody_spends_is_not_told_of_twice(capsys: Capture) -> None:
    clock = Clock()
    shown = Lines(PULL, clock)
    shown.start("a", "", 100)
    clock.now += 60
    shown.state("a", "verifying")
    shown.advance("a", 1)
    assert len(capsys.readouterr().err.splitlines()) == 1
    clock.now += 4.9
    shown.advance("a", 1)
    assert capsys.readouterr().err == ""


def test_what_ended_before_is_told_without_a_size(capsys: Capture) -> None:
    shown = Lines(PULL, Clock())
    shown.start(ONE, "", 4)
    shown.advance(ONE, 4)
    shown.done(ONE, "loaded")
    shown.done(ONE, "exists")
    assert capsys.readouterr().err.splitlines()[1] == "fedcba987654: Already exists"


def test_a_closed_standard_error_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stderr", Closed())
    with display(quiet=False) as shown:
        shown.done(ONE, "loaded")


def test_a_dumb_terminal_gets_lines(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    with display(quiet=False, words=PULL) as shown:
        shown.done(ONE, "exists")
    assert capsys.readouterr().err == "fedcba987654: Already exists\n"


def test_quiet_is_nothing(capsys: Capture) -> None:
    with display(quiet=True, events=True) as shown:
        shown.start(ONE, "", 1)
        shown.state(ONE, "downloading")
        shown.advance(ONE, 1)
        shown.done(ONE, "loaded")
    assert capsys.readouterr() == ("", "")
