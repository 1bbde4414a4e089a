"""One line for every error, its exit code, and never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stub import invoke
from lamina.cli.say import plain
from lamina.errors import InvalidReference, LaminaError, NotFound, UsageError

Capture = pytest.CaptureFixture[str]
SOURCE = Path(__file__).parents[2] / "src"

RAISED = [
    (NotFound("No such image: x", "", ""), 1, "No such image: x"),
    (LaminaError("what", "/where", "do this"), 1, "what, /where, do this"),
    (UsageError("wrong"), 125, "wrong"),
    (InvalidReference("bad\nname\x1b[31m\u202e"), 1, r"bad\nname\x1b[31m\u202e"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a\nb"), 1, r"no such file or directory, /a\nb"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "no space left on device"),
    (OSError(errno.EXDEV, "Cross", "/a", None, "/b"), 1, "cross, /a, /b"),
    (OSError("odd"), 1, "odd"),
    (PermissionError(errno.EACCES, "Permission denied", b"/x\xff"), 1, r"permission denied, /x\udcff"),
    (MemoryError(), 1, "out of memory"),
    (RecursionError("deep"), 1, "internal error, RecursionError: deep, set LAMINA_DEBUG=1 to see where"),
    (LaminaError("x" * 10_000), 1, "x" * (4000 - len("lamina: error: ")) + "…"),
]


@pytest.mark.parametrize(("raised", "code", "line"), RAISED)
def test_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: int, line: str) -> None:
    monkeypatch.delenv("LAMINA_DEBUG", raising=False)
    ran = invoke(capsys, "tag", "a", "b", tag=raised)
    assert (ran.code, ran.out, ran.err) == (code, "", f"lamina: error: {line}\n")
    assert ran.store.closed


@pytest.mark.parametrize("arguments", [
    ["nope"], ["image", "nope"], ["images", "--nope"], ["tag", "a"], ["save", "--format", "x", "a"], ["rmi"], ["--store"],
    ["images", "a", "b"], ["completion", "tcsh"],
])
def test_usage_errors(capsys: Capture, arguments: list[str]) -> None:
    ran = invoke(capsys, *arguments)
    assert ran.code == 125
    assert ran.err.startswith("lamina: error: ")
    assert ran.err.count("\n") == 1
    assert "--help`" in ran.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["image"], ["image", "--help"], ["load", "-h"]])
def test_help(capsys: Capture, arguments: list[str]) -> None:
    ran = invoke(capsys, *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: lamina")


def test_plain() -> None:
    assert plain("fine é…├ ") == "fine é…├ "
    assert plain("\t\n\x7f\x85\u2028\udcff") == r"\t\n\x7f\x85\u2028\udcff"


PROGRAM = """
import sys, os, select, signal
sys.path[:0] = [{source!r}, {tests!r}]
from types import SimpleNamespace
from cli.stub import StubStore, summary
from lamina.cli.run import run
from lamina.cli.settings import Settings

def answer(**_):
    {body}

try:
    code = run({arguments!r}, Settings(lambda path: StubStore(images=answer, info=answer)))
finally:
    print("cleaned", file=sys.stderr)
sys.exit(code)
"""


def program(body: str, *arguments: str) -> list[str]:
    words = list(arguments) or ["images"]
    text = PROGRAM.format(source=str(SOURCE), tests=str(SOURCE.parent / "tests"), body=body, arguments=words)
    return [sys.executable, "-c", text]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_cleans_up_and_says_so(number: signal.Signals, code: int) -> None:
    # Not signal.pause: a signal that comes just before it is noted, and then waited for in vain.
    body = """
    print('ready', flush=True)
    while True:
        select.select([], [], [], 0.05)
    """
    with subprocess.Popen(program(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "lamina: interrupted\ncleaned\n")


def test_a_second_signal_does_not_disturb_the_clean_up() -> None:
    body = """
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("tidy", file=sys.stderr)"""
    done = subprocess.run(program(body), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "tidy\nlamina: interrupted\ncleaned\n")


def test_an_ignored_signal_stays_ignored() -> None:
    body = "os.kill(os.getpid(), signal.SIGHUP); return [summary()]"
    done = subprocess.run(program(body), capture_output=True, text=True, check=False,
                          preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert (done.returncode, done.stderr) == (0, "cleaned\n")


def test_bars_on_a_terminal_leave_standard_output_alone() -> None:
    body = """
    from lamina.cli.progress import display
    with display(quiet=False) as shown:
        shown.start("x", "a layer", 10)
        print("result")
        shown.done("x", "loaded")
    return []"""
    terminal, end = os.openpty()
    done = subprocess.run(program(body), stdout=subprocess.PIPE, stderr=end, text=True, check=False,
                          env={**os.environ, "TERM": "xterm"})
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.stdout == "result\nREPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    assert "a layer" in shown
    assert "result" not in shown


@pytest.mark.parametrize("count", [1, 2000])
def test_a_closed_pipe_is_no_matter_for_words(count: int) -> None:
    body = f"return [summary()] * {count}"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program(body), stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "cleaned\n")


def test_a_full_device_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program("return [summary()]"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lamina: error: ")
    assert done.stderr.endswith("no space left on device\ncleaned\n")
    assert done.stderr.count("\n") == 2


def test_closed_standard_streams() -> None:
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *program("return [summary()]")], check=False)
    assert done.returncode == 0


def test_a_terminal_of_few_characters() -> None:
    body = "return [summary('\\u00e9\\u2026')]"
    done = subprocess.run(program(body), capture_output=True, check=False,
                          env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert rb"\xe9\u2026" in done.stdout
