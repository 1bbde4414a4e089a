"""Running a program to its end, with its time; it does not outlive an interrupt."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamina.errors import LaminaError

GRACE = 10.0  # seconds that a program has to end when it is told to


class ProgramFailed(LaminaError):
    """A program ended with another status than 0."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that passed, and processor seconds of the program and its children (None: not to be known)."""

    wall: float
    cpu: float | None

    def __add__(self, other: Timing) -> Timing:
        both = self.cpu is not None and other.cpu is not None
        return Timing(self.wall + other.wall, (self.cpu or 0) + (other.cpu or 0) if both else None)


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that succeeded, and what it wrote to standard output."""

    timing: Timing
    out: str


def run(command: Sequence[str | os.PathLike[str]], env: Mapping[str, str] | None = None, *, cwd: Path | None = None,
        given: bytes = b"") -> Ran:
    """Run it; `ProgramFailed` with the last line it said, or for one that cannot be started."""
    words = [os.fspath(word) for word in command]
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        stdin.write(given)
        stdin.seek(0)
        begin = time.perf_counter()
        try:
            process = subprocess.Popen(words, stdin=stdin, stdout=out, stderr=said, env=env, cwd=cwd)
        except OSError as error:
            raise ProgramFailed(f"cannot run {words[0]}: {error.strerror}") from error
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            stop(process)
            raise
        timing = Timing(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime)
        if process.returncode:
            said.seek(0)
            raise ProgramFailed(f"{_called(words)} failed: {_last_line(said.read(), process.returncode)}")
        out.seek(0)
        return Ran(timing, out.read().decode(errors="replace"))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, kindly first; it is gone when this returns."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _called(words: Sequence[str]) -> str:
    """The program and its command."""
    command = next((word for word in words[1:] if not word.startswith(("-", "/"))), "")
    return f"{Path(words[0]).name} {command}".strip()


def _last_line(said: bytes, status: int) -> str:
    lines = said[-4000:].decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), f"exit {status}")
