"""Processes that hold leases: each runs a piece of code at a store, and stops, goes on, ends or is killed at a known place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

BEFORE = """
import os, signal, sys
from pathlib import Path
from lamina.errors import LaminaError
from lamina.store import BlobStore
from store.storekit import *
path = Path(sys.argv[1])
def say(*words):
    print(*words, flush=True)
def stop():
    os.kill(os.getpid(), signal.SIGSTOP)
def hear():
    return sys.stdin.readline()
"""


class Holder:
    """`path` is its argument; `inside`: words before it (unshare ...).  A context manager that kills it in the end."""

    def __init__(self, code: str, path: Path, *inside: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen([*inside, sys.executable, "-c", BEFORE + code, str(path)], env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def hear(self) -> str:
        """The next line that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._errors()
        return line.strip()

    def tell(self) -> None:
        """Let it go on from `hear`."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait_stopped(self) -> None:
        """Until it has stopped itself."""
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self._errors()

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> list[str]:
        """What else it says until its end, which is a good one."""
        said, errors = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, errors
        return said.splitlines()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what it was told last and has not read
                pipe.close()

    def _errors(self) -> str:
        return self._process.communicate()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.returncode is None:
            self.kill()
