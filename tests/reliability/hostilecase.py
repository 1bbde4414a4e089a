"""One hostile input against a store that holds a good image: run as a command in a forked child, and all looked at after.

The child is what bounds a case: its memory is measured from the fork on, and who waits for it has a limit.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import lamina.archive
import lamina.images.import_
import lamina.images.load
import lamina.images.save
import lamina.store.rebuild
import lamina.store.session
import lamina.store.verify
from lamina.cli.run import run
from lamina.errors import LaminaError

REFUSED, TAKEN, EITHER = "refused", "taken in", "either"
LAYER = "layer"  # a file below a case's directory: the diff id that must be there afterwards
GOOD = "known:1"  # the image that was there before; its archive is in `Ground.saved`

# What a case may take beyond the memory that the forked process began with: two lanes of windows of 128 MiB, two archives of
# documents of 64 MiB, buffers.  Most take 20 MiB; see the counts.
MEMORY = 448 << 20
# Seconds after which a case hangs, however busy the machine is.  Most take 0.1.
PATIENCE = 300
LONGEST = 1000  # characters of a line

_PEAK = re.compile(r"VmHWM:\s+([0-9]+) kB")
_NOW = re.compile(r"VmRSS:\s+([0-9]+) kB")


@dataclass(frozen=True, slots=True)
class Case:
    """`make` writes the input below a directory and gives the words of the command.

    `verdict`: REFUSED, TAKEN or EITHER; `says`: what the one error line matches; `code`: the exit code of a refusal; `stdin`: a
    file below the directory that comes through a pipe; `read`: bytes of standard output that are read before that pipe is
    closed (None: all); `lines`: of error (None: any number); `foreign`: the store is somebody else's, and it is `outside` that
    must stay as it is.  A file LAYER has the diff id of a layer that must be there afterwards.
    """

    name: str
    verdict: str
    make: Callable[[Path], Sequence[str]]
    says: str = ""
    code: int = 1
    stdin: str = ""
    read: int | None = None
    lines: int | None = 1
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """A store with the good image, to be copied; what it looks like, and the digest of what `save` gives."""

    path: Path
    state: dict[str, object]
    saved: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case: exit code, lines of standard error, standard output, bytes of memory, and what is wrong after."""

    code: int
    lines: tuple[str, ...]
    out: bytes
    memory: int
    wrong: tuple[str, ...]


# -- in the child


def _memory(pattern: re.Pattern[str]) -> int:
    found = pattern.search(Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def _digest_of_save(store: lamina.images.ImageStore, name: str) -> str:
    out = io.BytesIO()
    store.save([name], out)
    return sha256(out.getvalue()).hexdigest()


def look(path: Path) -> dict[str, object]:
    """Images and packs of a store, and what lies about in it."""
    with lamina.open(path, create=False, timeout=5) as store:
        images = [[row.repository, row.tag, row.image_id, row.digest] for row in store.images(all=True)]
    packs = sorted((one.name, one.stat().st_size) for one in (path / "packs").rglob("*") if one.is_file())
    folders = [path / "tmp", path / "state" / "leases", path / "state" / "partials"]
    about = sorted(str(one.relative_to(path)) for folder in folders if folder.exists() for one in folder.iterdir())
    return {"images": images, "packs": [list(one) for one in packs], "about": about}


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {one.name: one.read_bytes() for one in folder.iterdir()} if folder.exists() else {}


def _inspect(path: Path, ground: Ground, code: int) -> list[str]:
    """What is wrong with a store after a command, in words."""
    wrong: list[str] = []
    after = look(path)
    if after["about"] != ground.state["about"]:
        wrong.append(f"left behind: {after['about']}")
    if code and after != ground.state:
        wrong.append(f"a refusal changed the store: {after}")
    with lamina.open(path, create=False, timeout=5) as store:
        if not code:
            wrong += [f"verify: {one.what}, {one.where}" for one in store.verify().problems]
        if _digest_of_save(store, GOOD) != ground.saved:
            wrong.append("the good image is another")
        if not code:
            wrong += _taken(store, path.parent / LAYER)
    return wrong


def _taken(store: lamina.images.ImageStore, wanted: Path) -> list[str]:
    """Whether what was taken in can be shown and given back."""
    wrong: list[str] = []
    layers: set[str] = set()
    for row in store.images(all=True):
        try:
            layers.update((store.inspect([row.image_id])[0].get("RootFS") or {}).get("Layers") or [])
            store.save([row.image_id], io.BytesIO())
        except LaminaError as error:
            if row.image_id in {one.image_id for one in store.images(all=True) if one.whole}:
                wrong.append(f"{row.image_id} cannot be given back: {error}")
    if wanted.exists() and wanted.read_text() not in layers:
        wrong.append(f"the layer {wanted.read_text()} is not there, but {sorted(layers)}")
    return wrong


def _show(store: Path) -> int:
    """Print what there is, for a person and for a program."""
    words = [["images", "-a", "--no-trunc", "--digests"], ["tree"], ["system", "df"]]
    with lamina.open(store, create=False) as opened:
        ids = [row.image_id for row in opened.images(all=True)]
    words += [["inspect", one] for one in ids]
    for one in ids:
        run(["--store", str(store), "history", one])  # of a history that makes no sense it says so
    return max(run(["--store", str(store), *each]) for each in words)


def _child(case: Case, words: Sequence[str], place: Path, ground: Ground, report: int) -> None:
    path = place / "store"
    out, err = sys.stdout, sys.stderr
    begun = _memory(_NOW)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = contents(place / "outside")
    code = run(["--store", str(path), *words])
    memory = _memory(_PEAK) - begun
    with suppress(OSError):
        out.flush()
    err.flush()
    shown = os.open(place / "shown", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(shown, 1)
    os.dup2(shown, 2)
    if case.foreign:
        wrong = [] if contents(place / "outside") == before else ["what lies outside of the store is changed"]
    else:
        wrong = _inspect(path, ground, code)
    if not code and not case.foreign and _show(path):
        wrong.append("what was taken in cannot be shown")
    told = json.dumps({"code": code, "memory": memory, "wrong": wrong}).encode()
    os.write(
        report,
        told[:60_000]
        if len(told) <= 60_000
        else json.dumps({"code": code, "memory": memory, "wrong": ["too much to tell", *wrong[0][:1000]]}).encode(),
    )


def _become(case: Case, words: Sequence[str], place: Path, ground: Ground, stdin: int, stdout: int, report: int) -> None:
    """The forked child, which never returns."""
    try:
        err = os.open(place / "err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for fd, to in ((stdin, 0), (stdout, 1), (err, 2)):
            os.dup2(fd, to)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.environ.pop("LAMINA_DEBUG", None)
        os.environ["COLUMNS"] = "200"
        _child(case, words, place, ground, report)
    except BaseException:
        with suppress(OSError):
            os.write(report, json.dumps({"code": -1, "memory": 0, "wrong": [traceback.format_exc()[-4000:]]}).encode())
    finally:
        os._exit(0)


# -- in the test


def make_ground(path: Path, archive: bytes) -> Ground:
    """A store with one image."""
    with lamina.open(path) as store:
        store.load(io.BytesIO(archive))
        store.gc()
        saved = _digest_of_save(store, GOOD)
    return Ground(path, look(path), saved)


def play(case: Case, ground: Ground, place: Path) -> Outcome:
    """Run a case in a store of its own, below `place`."""
    shutil.copytree(ground.path, place / "store", copy_function=shutil.copy)
    words = [str(word) for word in case.make(place)]
    stdin, feeder = os.open(os.devnull, os.O_RDONLY), None
    if case.stdin:
        feeder = subprocess.Popen(["cat", str(place / case.stdin)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.dup2(feeder.stdout.fileno(), stdin)
        feeder.stdout.close()
    pipe = os.pipe() if case.read is not None else None
    if pipe:
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    stdout = pipe[1] if pipe else os.open(place / "out", os.O_WRONLY | os.O_CREAT)
    told, report = os.pipe()
    pid = os.fork()
    if not pid:
        for fd in (told, *(pipe[:1] if pipe else ())):
            os.close(fd)
        _become(case, words, place, ground, stdin, stdout, report)
    for fd in (stdin, stdout, report):
        os.close(fd)
    try:
        if pipe:
            os.read(pipe[0], case.read or 1)
            os.close(pipe[0])
        return _outcome(_wait(pid, told), place)
    finally:
        os.close(told)
        if feeder is not None:
            feeder.kill()
            feeder.wait()


def _wait(pid: int, told: int) -> dict[str, object]:
    """What the child tells; one that takes too long is killed."""
    child = os.pidfd_open(pid)
    try:
        ended = select.select([child], [], [], PATIENCE)[0]
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(child)
    assert ended, f"no end within {PATIENCE} s"
    data = os.read(told, 1 << 16)
    assert data, f"the process died: {status}"
    return json.loads(data)


def _outcome(said: dict[str, object], place: Path) -> Outcome:
    out = place / "out"
    shown = (place / "shown").read_bytes() if (place / "shown").exists() else b""
    wrong = list(said["wrong"])
    if said["code"] == 0 and re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", shown):
        wrong.append("control characters are shown")
    if b"internal error" in shown or b"Traceback" in shown:
        wrong.append("an error that is none of ours, of what shows it")
    return Outcome(
        int(said["code"]),
        tuple((place / "err").read_bytes().decode(errors="surrogateescape").splitlines()),
        out.read_bytes() if out.exists() else b"",
        int(said["memory"]),
        tuple(wrong),
    )


def judge(case: Case, got: Outcome) -> list[str]:
    """What of an outcome is not as it must be, in words."""
    wrong = list(got.wrong)
    errors = [line for line in got.lines if line.startswith("lamina: error: ")]
    refused = bool(got.code) if case.verdict == EITHER else case.verdict == REFUSED
    if refused:
        if got.code != case.code:
            wrong.append(f"exit code {got.code} instead of {case.code}")
        if case.lines is not None and len(errors) != case.lines:
            wrong.append(f"{len(errors)} error lines")
        elif errors and not re.search(case.says, errors[0]):
            wrong.append(f"does not say {case.says!r}")
    elif got.code or errors:
        wrong.append(f"exit code {got.code}")
    for line in got.lines:
        if not line.startswith(("lamina: error: ", "lamina: warning: ", "loaded layer ", "read ")):  # of import and verify
            wrong.append("a line that is neither an error nor a warning")
        if not line.isprintable() or len(line) > LONGEST:
            wrong.append(f"a line that is not fit to print, of {len(line)} characters")
        if "internal error" in line or "Traceback" in line:
            wrong.append("an error that is none of ours")
    if got.memory > MEMORY:
        wrong.append(f"{got.memory >> 20} MiB of memory")
    return [*wrong, *got.lines[:5]] if wrong else []
