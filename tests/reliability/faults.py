"""Faults at system calls: the shim (shim.c) compiled, preloaded into programs, armed in forked children, and its log read.

A program of its own is given `environment(...)`.  A `Forks` is a process that has imported Lamina already, and runs
functions in children, each with a fault of its own: ten times as fast as to start Python for each.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).resolve().parent.parent
LONGEST = 120  # seconds after which a child counts as hanging
_LENGTH = struct.Struct("<I")
_folder = tempfile.TemporaryDirectory(prefix="shim")  # goes with the process


@cache
def shim() -> Path:
    """The shim, compiled once a session; without a C compiler it fails, as the build of Lamina does."""
    path = Path(_folder.name) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl", "-lpthread"], check=True)
    return path


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the `at`-th counted call below `root` (0: nothing, the calls are only counted).

    `do`: kill, kill-after, ENOSPC, EIO, short (half of a write, as on a disk that gets full); `stay`: later calls fail, too;
    `only`: names of operations that count, with commas between, all that change something if empty; `log`: see `read_log`.
    """

    root: str
    at: int = 0
    do: str = ""
    stay: bool = False
    only: str = ""
    log: str = ""


def environment(fault: Fault) -> dict[str, str]:
    """For a program that is to run under the shim, with this fault."""
    said = {"ROOT": fault.root, "AT": str(fault.at or ""), "DO": fault.do, "STAY": "1" if fault.stay else "",
            "ONLY": fault.only, "LOG": fault.log}
    return os.environ | {"LD_PRELOAD": str(shim())} | {f"LAMINA_FAULT_{name}": value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class Record:
    """One call that succeeded, or ("failed write", and so on) was let fail.

    Paths are relative to the root, which is "."; `data` is what a write has written.
    """

    op: str
    n: int
    pid: int
    ino: int
    path: str
    to: str
    offset: int
    size: int
    mode: int
    dir: bool
    data: bytes = b""


def read_log(path: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of a log in order; what a kill has cut off at the end is left out."""
    whole = memoryview(Path(path).read_bytes())
    at = 0
    while at + _LENGTH.size <= len(whole):
        (length,) = _LENGTH.unpack_from(whole, at)
        at += _LENGTH.size
        try:
            found = json.loads(bytes(whole[at : at + length]).decode("utf-8", "surrogateescape"))
        except ValueError:
            return
        at += length
        size = found["size"] if found["op"] == "write" else 0
        if at + size > len(whole):
            return
        yield Record(**found, data=bytes(whole[at : at + size]))
        at += size


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: `code` of its exit (-9: killed; None: it hung), counted calls (-1: killed), what it gave and said."""

    code: int | None
    count: int
    value: Any
    out: str
    err: str


class Forks:
    """A process under the shim with Lamina imported; a context manager.  For one thread."""

    def __init__(self, *modules: str) -> None:
        home = Path(_folder.name) / "home"  # without anybody's configuration
        home.mkdir(exist_ok=True)
        env = os.environ | {"LD_PRELOAD": str(shim()), "OPENBLAS_NUM_THREADS": "1", "HOME": str(home),
                            "SOURCE_DATE_EPOCH": "1700000000",  # what is made is the same each time
                            "XDG_CONFIG_HOME": str(home), "XDG_RUNTIME_DIR": str(home), "DOCKER_CONFIG": str(home),
                            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen([sys.executable, "-m", "reliability.faults", *modules], env=env, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, function: str, arguments: Sequence[Any] = (), fault: Fault | None = None) -> Ended:
        """`module:function` of JSON arguments in a child.  What it returns comes back as JSON; an int is the exit code."""
        assert self._process.stdin and self._process.stdout
        job = {"function": function, "arguments": list(arguments), "fault": asdict(fault) if fault else None}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(LONGEST)


# -- the process itself


def _serve(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    library = ctypes.CDLL(str(Path(os.environ.pop("LD_PRELOAD"))))
    for line in sys.stdin:
        print(json.dumps(asdict(_one(library, json.loads(line)))), flush=True)


def _one(library: ctypes.CDLL, job: dict[str, Any]) -> Ended:
    module, _, name = job["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    out, err, back = (os.memfd_create(each) for each in ("out", "err", "back"))
    counted = mmap.mmap(-1, 8)
    counted[:] = struct.pack("<q", -1)
    pid = os.fork()
    if pid == 0:
        _child(library, function, job, (out, err, back), counted)
    code = _await(pid)
    texts = [Path(f"/proc/self/fd/{fd}").read_text("utf-8", "replace") for fd in (out, err, back)]
    for fd in (out, err, back):
        os.close(fd)
    (count,) = struct.unpack("<q", counted[:])
    counted.close()
    return Ended(code, count, json.loads(texts[2]) if texts[2] else None, texts[0], texts[1])


def _child(library: ctypes.CDLL, function: Callable[..., Any], job: dict[str, Any], fds: tuple[int, int, int],
           counted: mmap.mmap) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    code = 99
    try:
        if job["fault"]:
            fault = Fault(**job["fault"])
            library.lamina_fault_arm(fault.root.encode(), ctypes.c_ulong(fault.at), fault.do.encode(), int(fault.stay),
                                     fault.only.encode(), fault.log.encode())
        value = function(*job["arguments"])
        code = value if isinstance(value, int) else 0
        os.write(fds[2], json.dumps(value).encode())
        library.lamina_fault_count.restype = ctypes.c_ulong
        counted[:] = struct.pack("<q", library.lamina_fault_count())
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def _await(pid: int) -> int | None:
    """The child's exit code, minus the signal that ended it, None if it had to be ended."""
    fd = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([fd], [], [], LONGEST)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return code if ended else None
    finally:
        os.close(fd)


if __name__ == "__main__":
    _serve(sys.argv[1:])
