"""A store that something bad is done to, and the one way in which every refusal is checked."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive.builders import BASE, Image, Member, layer, tar

import lamina
from lamina.errors import InvalidReference, LaminaError, UsageError
from lamina.images import ImageStore
from lamina.images.load import LoadResult

# What the store holds before: its first layer is the base of the images that are loaded over it.
KNOWN = Image((BASE, layer(8)), ("docker.io/library/known:1",))
# What is loaded: a layer that the store knows, and two that it does not.
NEW = Image((BASE, layer(31, 30_000), layer(32, 300)), ("docker.io/library/new:1",))
OTHER = Image((layer(33, 9_000),), ("docker.io/library/other:1",))

_SOURCE = Path(lamina.__file__).parents[1]

# Limits of a process, set before it becomes `lamina`: root without the right to pass over modes, the size of its files.
_LAUNCH = """
import ctypes, json, os, resource, sys
limits = json.loads(sys.argv[1])
if limits["modes"] and os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
if limits["file_size"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_size"], resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@dataclass(frozen=True)
class State:
    """What there is to see of a store."""

    images: tuple[tuple[str, ...], ...]
    packs: tuple[tuple[str, int], ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What came of an attempt: exit code, the lines on standard error, what went to standard output."""

    code: int
    lines: tuple[str, ...]
    out: bytes = b""
    error: LaminaError | None = None


@dataclass
class Home:
    """A store on disk; `before` is what it looked like when it was known to be sound."""

    path: Path
    before: State | None = None

    def open(self, **options: Any) -> ImageStore:
        return lamina.open(self.path, **{"timeout": 5, **options})

    def load(self, source: Any, **options: Any) -> LoadResult:
        """Load something that is good; the store is another from then on."""
        self.before = None
        with self.open() as store:
            return store.load(source, **options)

    def settle(self) -> State:
        """What the store looks like now, when nothing is left in it that no image needs."""
        with self.open() as store:
            store.gc()
            return self.look(store)

    def look(self, store: ImageStore) -> State:
        images = tuple((row.repository, row.tag, row.image_id, row.digest) for row in store.images(all=True))
        problems = tuple(f"{one.what}, {one.where}" for one in store.verify().problems)
        return State(images, self.packs(), problems)

    def packs(self) -> tuple[tuple[str, int], ...]:
        files = (path for path in (self.path / "packs").rglob("*") if path.is_file())
        return tuple(sorted((path.name, path.stat().st_size) for path in files))

    def leftovers(self) -> list[str]:
        """Temporaries and lease files."""
        folders = (self.path / "tmp", self.path / "state" / "leases")
        return sorted(str(path.relative_to(self.path)) for folder in folders if folder.exists() for path in folder.iterdir())


def assert_refused(home: Home, attempt: Callable[[Home], Said], match: str, *, code: int = 1) -> Said:
    """The attempt ends with one clear line and that exit code; the store is as it was, before `gc` and after it."""
    before = home.before = home.before or home.settle()
    assert before.problems == ()
    said = attempt(home)
    assert_told(said, match, code=code)
    assert_untouched(home)
    return said


def assert_untouched(home: Home) -> None:
    """Nothing of a failed attempt is left."""
    assert home.leftovers() == []
    with home.open() as store:
        assert home.look(store) == home.before
        store.gc()
    assert home.packs() == home.before.packs
    assert home.leftovers() == []


def assert_told(said: Said, match: str, *, code: int = 1) -> None:
    """`lamina: error: WHAT, WHERE, WHAT TO DO` in one printable line of bounded length, and nothing else."""
    assert len(said.lines) == 1, said
    (line,) = said.lines
    assert line.startswith("lamina: error: "), said
    assert re.search(match, line), line
    assert said.code == code, said
    assert "internal error" not in line
    assert line.isprintable()
    assert len(line) < 1000
    if said.error is not None:
        assert said.error.what
        # Of names it is docker's words that count: `No such image: x:1`, `invalid reference format`.
        words_of_docker = isinstance(said.error, (UsageError, InvalidReference)) or "No such image: " in line
        assert said.error.where or "sha256:" in said.error.what or words_of_docker, f"nothing says where: {line}"
        assert said.error.exit_code == code


# -- attempts


def call(act: Callable[[ImageStore], object]) -> Callable[[Home], Said]:
    """An attempt by the Python API; the line is the one that the command would print."""

    def attempt(home: Home) -> Said:
        with home.open() as store:
            try:
                act(store)
            except LaminaError as error:
                return Said(error.exit_code, tuple(f"lamina: error: {error}".split("\n")), error=error)
        return Said(0, ())

    return attempt


def loading(source: Any, **options: Any) -> Callable[[Home], Said]:
    """Load a path or a stream; bytes are a stream that cannot be rewound."""
    return call(lambda store: store.load(Pipe(source) if isinstance(source, bytes) else source, **options))


def command(*arguments: object, given: bytes | None = None, **options: Any) -> Callable[[Home], Said]:
    """An attempt by the command, as a process of its own."""

    def attempt(home: Home) -> Said:
        return run(home, *arguments, given=given, **options)

    return attempt


@dataclass(frozen=True)
class Limits:
    """What a process is kept from: `modes`, passing over file modes as root does; `file_size`, longer files (bytes)."""

    modes: bool = False
    file_size: int = 0

    def wrap(self, arguments: Sequence[str]) -> list[str]:
        limits = json.dumps({"modes": self.modes, "file_size": self.file_size})
        return [sys.executable, "-c", _LAUNCH, limits, *arguments[1:]]


def words(home: Home, *arguments: object) -> list[str]:
    """The words of a command on that store."""
    return [sys.executable, "-m", "lamina", "--store", str(home.path), *map(str, arguments)]


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", "LAMINA_DEBUG": ""}


def run(home: Home, *arguments: object, given: bytes | None = None, limits: Limits | None = None,
        tty: str = "") -> Said:
    """Run a command to its end; `tty` ("in" or "out") makes that stream a terminal."""
    told = words(home, *arguments)
    if limits is not None:
        told = limits.wrap(told)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    if given is not None:
        streams = {"input": given, "stdout": subprocess.PIPE}
    ends: tuple[int, ...] = ()
    if tty:
        ends = pty.openpty()
        streams["stdin" if tty == "in" else "stdout"] = ends[1]
    try:
        done = subprocess.run(told, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60, **streams)
    finally:
        for end in ends:
            os.close(end)
    return Said(done.returncode, tuple(done.stderr.decode().splitlines()), done.stdout or b"")


# -- sources


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound, and gives what it has in odd pieces."""

    name = "standard input"

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:65_521])


@dataclass
class Hook:
    """A progress display that does something at the first sign of work on an item, and counts what it hears.

    `key`: only of that item; layers are read side by side.
    """

    act: Callable[[], object]
    heard: int = field(default=0)
    key: str = ""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, key: str, count: int) -> None:
        if self.key not in ("", key):
            return
        self.heard += 1
        if self.heard == 1:
            self.act()

    def state(self, key: str, status: str) -> None:
        """Nothing."""

    def done(self, key: str, status: str) -> None:
        """Nothing."""


def replaced(members: Iterable[Member], name: str, data: bytes) -> list[Member]:
    """The members, one of them with other content."""
    found = list(members)
    assert any(one.name == name for one in found), name
    return [Member(name, data) if one.name == name else one for one in found]


def items(members: Iterable[Member]) -> list[dict[str, Any]]:
    """What manifest.json says."""
    return json.loads(next(one.data for one in members if one.name == "manifest.json"))


def edited(members: list[Member], **fields: object) -> bytes:
    """The archive, the first image's fields in manifest.json changed."""
    found = items(members)
    found[0] |= fields
    return tar(replaced(members, "manifest.json", json.dumps(found).encode()))


def flipped(data: bytes, at: int, bit: int = 4) -> bytes:
    """The data, one bit of it the other way."""
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]
