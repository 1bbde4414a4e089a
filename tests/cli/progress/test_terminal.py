"""A whole program on a real terminal of forty columns: what is left on it at the end."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from cli.progress.kit import Terminal

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, signal, sys
sys.path[:0] = [{source!r}, {tests!r}]
from click.exceptions import Exit
from cli.stub import StubStore
from cli.progress.kit import digest
from lamina.cli.progress import PULL, display
from lamina.cli.run import run
from lamina.cli.say import warning
from lamina.cli.settings import Settings
from lamina.errors import NotFound

def answer(**_):
    with display(quiet=False, words=PULL) as shown:
        for number in range(3):
            shown.start(digest(number), "", 40_000_000)
            shown.state(digest(number), "waiting")
        shown.state(digest(0), "downloading")
        shown.advance(digest(0), 10_000_000)
        shown.done(digest(1), "exists")
        {body}

sys.exit(run(["images"], Settings(lambda path: StubStore(images=answer))))
"""


def run_on_terminal(body: str) -> tuple[int, Terminal]:
    """Standard output and error both on the terminal; the exit code, and what it shows."""
    text = PROGRAM.format(source=str(ROOT / "src"), tests=str(ROOT / "tests"), body=body)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 40, 0, 0))
    with subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                          env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        sent = bytearray()
        try:
            while part := os.read(ours, 1 << 16):
                sent += part
        except OSError:
            pass  # all of the other side is closed
        code = process.wait(60)
    os.close(ours)
    terminal = Terminal(40, 20)
    terminal.write(sent.decode())
    assert terminal.wrapped == 0
    return code, terminal


HEAD = ["000000000000: Downloading 10MB/40MB", "000000000001: Already exists", "000000000002: Waiting"]


@pytest.mark.parametrize(("body", "code", "last"), [
    ("os.kill(os.getpid(), signal.SIGINT)", 130, "lamina: interrupted"),
    ("os.kill(os.getpid(), signal.SIGTERM)", 143, "lamina: interrupted"),
    ("raise NotFound('no such tag', 'app:1')", 1, "lamina: error: no such tag, app:1"),
])
def test_nothing_is_left_half_drawn(body: str, code: int, last: str) -> None:
    ended, terminal = run_on_terminal(body)
    shown = terminal.shown()
    assert ended == code
    assert shown[:3] == HEAD
    assert shown[3].startswith("1/3, 10MB/80MB")
    assert shown[4:] == [last]


def test_words_between_go_above() -> None:
    body = "print('a result'); warning('a word'); shown.done(digest(0), 'loaded'); raise Exit(0)"
    _, terminal = run_on_terminal(body)
    shown = terminal.shown()
    assert shown[:2] == ["a result", "lamina: warning: a word"]
    assert shown[2:5] == ["000000000000: Pull complete 10MB", *HEAD[1:]]
    assert len(shown) == 6
