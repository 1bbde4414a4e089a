"""A signal in the middle of a load; where the middle is, the process tells by what it has read and written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from archive.builders import Image, Member, docker_20, tar

from test_bad_input.kit import Home, assert_untouched, environment, words

# The second layer is longer than any pipe: when half of it is written, the reader is in the midst of it.
FIRST = tar([Member("first", os.urandom(50_000))])
SECOND = tar([Member("second", os.urandom(6 << 20))])
IMAGE = Image((FIRST, SECOND), ("docker.io/library/interrupted:1",))

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@contextmanager
def loading_from_pipe(home: Home, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words(home, "load", *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    limit = threading.Timer(30, process.kill)  # so that a test that waits for it fails, and does not hang
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        process.wait(20)


def halves() -> tuple[bytes, bytes, bytes]:
    """The archive in three: to the end of the first layer's padding, to the middle of the second layer, the rest."""
    data = tar(docker_20(IMAGE))
    first = data.index(FIRST) + len(FIRST)
    middle = data.index(SECOND[:4096]) + len(SECOND) // 2
    return data[:first], data[first:middle], data[middle:]


@pytest.mark.parametrize("number", SIGNALS)
def test_between_two_layers(home: Home, number: signal.Signals) -> None:
    start, _, _ = halves()
    with loading_from_pipe(home) as process:
        process.stdin.write(start)
        process.stdin.flush()
        line = process.stderr.readline()  # of the first layer, when it is done
        assert line.startswith(b"loaded ")
        process.send_signal(number)
        assert process.wait(20) == SIGNALS[number]
        assert process.stderr.read() == b"lamina: interrupted\n"
        assert process.stdout.read() == b""
    assert_untouched(home)


def test_in_a_layer_whose_rest_does_not_come(home: Home) -> None:
    """The reading thread waits for a pipe that says nothing more."""
    start, middle, _ = halves()
    with loading_from_pipe(home) as process:
        process.stdin.write(start + middle)
        process.stdin.flush()
        assert process.stderr.readline().startswith(b"loaded ")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == b"lamina: interrupted\n"
    assert_untouched(home)


def test_in_a_layer_of_a_file(home: Home, tmp_path: Path) -> None:
    """By a signal to oneself at the first sign of work on a layer, in a thread that reads.

    Once: layers are read side by side, and the third signal ends the process at once.
    """
    path = tmp_path / "image.tar"
    path.write_bytes(tar(docker_20(IMAGE)))
    program = """
import os, signal, sys
from lamina.cli import progress
from lamina.cli.run import run
signals = [signal.SIGINT]
progress.Lines.advance = lambda *_: signals and os.kill(os.getpid(), signals.pop())
sys.exit(run(sys.argv[1:]))
"""
    done = subprocess.run([sys.executable, "-c", program, "--store", str(home.path), "load", "-i", str(path)],
                          env=environment(), capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (130, b"")
    assert done.stderr.splitlines()[-1] == b"lamina: interrupted"  # another layer may have been done with
    assert_untouched(home)


def test_killed(home: Home) -> None:
    """Nothing can be cleared away then: the next command that writes does it."""
    start, middle, _ = halves()
    with loading_from_pipe(home) as process:
        process.stdin.write(start + middle)
        process.stdin.flush()
        assert process.stderr.readline().startswith(b"loaded ")
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
    assert home.leftovers() != []
    assert home.settle() == home.before
    assert home.leftovers() == []
