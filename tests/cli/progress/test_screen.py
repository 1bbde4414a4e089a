"""The block in its place: on narrow and small terminals, through resizing, beside what others write."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading

import click
import pytest

from cli.progress.kit import Clock, Terminal, digest
from lamina.cli.progress import PULL
from lamina.cli.progress.bars import Bars
from lamina.cli.progress.screen import Screen, live, size_of


def block(terminal: Terminal, items: int = 3) -> tuple[Bars, Screen]:
    bars = Bars(PULL, Clock())
    for number in range(items):
        bars.start(digest(number), "", 100_000_000)
        bars.state(digest(number), "waiting")
    return bars, Screen(terminal, bars.lines, terminal.size)


def heads(items: int, status: str = "Waiting") -> list[str]:
    return [f"{number:012x}: {status}" for number in range(items)]


def test_the_block_is_drawn_in_its_place() -> None:
    terminal = Terminal(80, 24)
    terminal.write("$ lamina pull app\n")
    bars, screen = block(terminal)
    screen.draw()
    bars.state(digest(0), "downloading")
    bars.advance(digest(0), 50_000_000)
    screen.draw()
    bars.done(digest(0), "loaded")
    screen.draw()
    assert terminal.shown() == ["$ lamina pull app", "000000000000: Pull complete 50MB", *heads(3)[1:],
                                "1 of 3 layers, 50MB of 250MB"]
    assert (terminal.row, terminal.column) == (5, 0)


def test_nothing_is_drawn_before_the_first_item_or_without_news() -> None:
    terminal = Terminal(40, 20)
    bars, screen = block(terminal, 0)
    terminal.write("asked: ")
    screen.draw()
    assert terminal.rows == ["asked: "]
    assert terminal.writes == 1
    bars.start("a", "", 1)
    screen.draw()
    before = terminal.writes
    screen.draw()
    assert terminal.writes == before


@pytest.mark.parametrize("columns", [1, 5, 20, 40, 80])
def test_no_line_wraps(columns: int) -> None:
    terminal = Terminal(columns, 24)
    bars, screen = block(terminal, 5)
    bars.start("文", "文" * 50, None)
    for number in range(5):
        bars.state(digest(number), "downloading")
        bars.advance(digest(number), 12_345_678)
        screen.draw()
    bars.done(digest(0), "loaded")
    screen.draw()
    assert terminal.wrapped == 0
    assert len(terminal.shown()) == 7 or columns == 1


def test_a_line_that_is_too_long_by_one_would_wrap() -> None:
    """The test before can fail: the last column is free, so that not even a terminal that wraps early does."""
    terminal = Terminal(20, 24)
    bars, screen = block(terminal, 1)
    bars.state(digest(0), "downloading")
    screen.draw()
    assert terminal.shown()[0] == "000000000000: Downl"


@pytest.mark.parametrize("lines", [2, 3, 10, 60])
def test_hundreds_of_layers_take_a_bounded_block(lines: int) -> None:
    terminal = Terminal(80, lines)
    bars, screen = block(terminal, 300)
    screen.draw()
    for number in range(300):
        bars.state(digest(number), "downloading")
        screen.draw()
        assert number % 50 or lines == 2 or any(f"{number:012x}: Downloading" in row for row in terminal.shown())
        bars.done(digest(number), "loaded")
        screen.draw()
    assert len(terminal.shown()) == min(lines - 1, 25)
    assert terminal.shown()[-1] == "300 of 300 layers"


def test_a_single_row_shows_nothing() -> None:
    terminal = Terminal(80, 1)
    _, screen = block(terminal)
    screen.draw()
    assert terminal.shown() == []


@pytest.mark.parametrize("columns", [79, 50, 33, 17])
def test_becoming_narrower_leaves_no_remains(columns: int) -> None:
    terminal = Terminal(100, 40)
    terminal.write("before\n")
    bars, screen = block(terminal)
    for number in range(3):
        bars.state(digest(number), "downloading")
        bars.advance(digest(number), 33_000_000)
    screen.draw()
    assert len(terminal.shown()[1]) > 79
    terminal.narrow(columns)
    screen.draw()
    shown = terminal.shown()
    assert shown[0] == "before"
    assert [row[:12] for row in shown[1:4]] == [f"{number:012x}" for number in range(3)]
    assert len(shown) == 5


def test_becoming_wider_uses_the_room() -> None:
    terminal = Terminal(40, 24)
    bars, screen = block(terminal, 1)
    bars.state(digest(0), "downloading")
    bars.advance(digest(0), 33_000_000)
    screen.draw()
    assert "[" not in terminal.shown()[0]
    terminal.columns = 100
    screen.draw()
    assert "[====" in terminal.shown()[0]
    assert len(terminal.shown()) == 2


def test_what_others_write_stands_above() -> None:
    terminal = Terminal(80, 24)
    bars, screen = block(terminal)
    screen.draw()
    screen.above(terminal, "lamina: warning: one\nand two\n")
    bars.state(digest(0), "downloading")
    screen.draw()
    assert terminal.shown() == ["lamina: warning: one", "and two", "000000000000: Downloading", *heads(3)[1:],
                                "0 of 3 layers, 0B of 300MB"]


def test_after_the_end_nothing_is_drawn() -> None:
    terminal = Terminal(80, 24)
    bars, screen = block(terminal)
    bars.done(digest(0), "exists")
    screen.close()
    bars.done(digest(1), "exists")
    screen.draw()
    screen.above(terminal, "the end\n")
    assert terminal.shown() == ["000000000000: Already exists", *heads(3)[1:], "1 of 3 layers, 0B of 200MB", "the end"]


def test_what_the_terminal_cannot_show_does_not_make_a_line_longer() -> None:
    terminal = Terminal(40, 24)
    terminal.encoding = "ascii"
    bars, screen = block(terminal, 0)
    bars.start("x", "日本語" * 30, None)
    screen.draw()
    assert terminal.shown()[0].startswith("?")
    assert terminal.shown()[0].isascii()
    assert terminal.wrapped == 0


def test_a_terminal_that_is_gone_does_not_end_the_work() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    terminal = Gone(80, 24)
    _, screen = block(terminal)
    screen.draw()
    screen.draw()
    screen.close()


def as_stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """No fixture: pytest sets the streams anew between a fixture and its test."""
    terminal = Terminal(80, 24)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_both_streams_of_a_terminal_keep_above(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = as_stderr(monkeypatch)
    monkeypatch.setattr(sys, "stdout", standard)
    with live(lambda width, rows: ["block"]) as screen:
        screen.draw()
        print("one")
        print("two ", end="")
        sys.stdout.flush()
        assert standard.shown() == ["one", "block"]
        print("three", file=sys.stderr)
        print("four")
        print("no end of line", end="")
    assert standard.shown() == ["one", "three", "two four", "block", "no end of line"]
    assert sys.stdout is standard
    assert sys.stderr is standard


def test_standard_output_elsewhere_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = as_stderr(monkeypatch)
    elsewhere = io.StringIO()
    monkeypatch.setattr(sys, "stdout", elsewhere)
    with live(lambda width, rows: ["block"]):
        assert sys.stdout is elsewhere
        print("result")
    assert elsewhere.getvalue() == "result\n"
    assert standard.shown() == ["block"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError, SystemExit])
def test_whatever_the_end_is_the_block_is_whole(monkeypatch: pytest.MonkeyPatch, end: type[BaseException]) -> None:
    standard = as_stderr(monkeypatch)
    before = threading.active_count()
    with pytest.raises(end), live(lambda width, rows: ["block", "sum"]):
        print("half", end="", file=sys.stderr)
        raise end
    assert standard.shown() == ["block", "sum", "half"]
    assert sys.stderr is standard
    assert threading.active_count() == before


def test_the_stand_in_is_as_good_as_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    standard = as_stderr(monkeypatch)
    with live(lambda width, rows: ["block"]):
        assert sys.stderr.isatty()
        assert sys.stderr.encoding == "utf-8"
        assert sys.stderr.errors == standard.errors
        assert sys.stderr.newlines == standard.newlines
        with pytest.raises(io.UnsupportedOperation):
            sys.stderr.fileno()
        with pytest.raises(TypeError):
            sys.stderr.write(b"bytes")
        click.echo("by click", err=True)
    assert standard.shown() == ["by click", "block"]


def test_the_size_of_a_terminal() -> None:
    assert size_of(io.StringIO()) == (80, 24)
    ours, theirs = os.openpty()
    try:
        with open(theirs, "w", closefd=False) as stream:
            assert size_of(stream) == (80, 24)  # a new one says 0 by 0
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 40, 0, 0))
            assert size_of(stream) == (40, 12)
    finally:
        os.close(ours)
        os.close(theirs)
