"""`state/verify`: how far a verification has come, so that an interrupted one goes on, and when the last whole one began.

FORMAT.md has the bytes.  What stands behind a line that is torn or wrong does not count.  Memory: a bit a record of the packs,
and the digests of the blobs that were read back.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lamina.errors import Conflict, NotFound, StorageError
from lamina.storage.writer import sync_directory
from lamina.store import forks
from lamina.store.packcheck import Damage

NAME: Final = "verify"
VERSION: Final = 1
LONGEST: Final = 4 << 20  # bytes of lines since the file was written whole; then it is written whole again


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be looked at: all; or `sample`, a share of frames chosen by `seed`; or what was written after `since`.

    `stored`: stored bytes against their checksums, and no further.  `rehash`: the digests of all blobs, also of those that are
    proved (proofs.py).
    """

    sample: float | None = None
    since: float | None = None
    seed: int = 0
    stored: bool = False
    rehash: bool = False

    @property
    def whole(self) -> bool:
        """Everything."""
        return self.sample is None and self.since is None and not self.stored


@dataclass(slots=True)
class Done:
    """What an interrupted run has looked at: blobs, records of packs (by name), and what it found; `bytes_read` of blobs."""

    blobs: set[str] = field(default_factory=set)
    records: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    failed: list[tuple[str, str, str]] = field(default_factory=list)  # digest, what, where
    bytes_read: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """Seconds since 1970 at which runs began that came to their end: one of everything; one up to whose beginning all that is
    younger than such a run has been looked at, too.  0: none."""

    complete: float = 0.0
    caught_up: float = 0.0


class VerifyLog:
    """The file, locked.  `scope` and `done` are of the run that was interrupted, None if there is none to go on with."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self.ended = Ended()
        self.scope: Scope | None = None
        self.started = 0.0
        self.done = Done()
        self._fd = -1
        self._written = 0
        self._lock = _lock(state_dir / (NAME + ".lock"))
        self._read()

    @classmethod
    def open(cls, state_dir: Path) -> Self:
        """`Conflict` if another verification is at work, `StorageError` where nothing can be written."""
        try:
            return cls(state_dir)
        except OSError as error:
            raise StorageError(f"cannot note how far the verification comes: {error.strerror}", state_dir / NAME) from error

    def _read(self) -> None:
        for line in read_lines(self._path):
            if "version" in line:
                self.ended = Ended(float(line["complete"]), float(line["caught_up"]))
                if "run" in line:
                    self.scope, self.started = Scope(**line["run"]), float(line["started"])
            else:
                self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        done = self.done
        done.blobs.update(line["blobs"])
        done.bytes_read += line["bytes_read"]
        done.failed += [tuple(each) for each in line["failed"]]
        for name, bits in line["records"].items():
            done.records[name] = np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8)).astype(np.bool_)
        for each in line["damage"]:
            chunks = frozenset(bytes.fromhex(chunk) for chunk in each.pop("chunks"))
            done.damage.append(Damage(chunks=chunks, **each))

    def resume(self) -> Scope:
        """The scope of the run that was interrupted; `NotFound`."""
        if self.scope is None:
            raise NotFound("no verification was interrupted", self._path, "run lamina verify")
        return self.scope

    def begin(self, scope: Scope, started: float) -> None:
        """A run of this scope begins, or goes on with what is done."""
        self.scope, self.started = scope, started
        self._write()

    def note(self, done: Done) -> None:
        """More was done: durable when this returns.  Where there is no room for it, the run goes on without."""
        line = _encode(_done_line(done))
        if self._written + len(line) > LONGEST:
            self._merge(done)
            self._write()
            return
        self._append(line)
        self._written += len(line)
        self._merge(done)

    def _append(self, line: bytes) -> None:
        try:
            whole = self._fd < 0 or os.write(self._fd, line) == len(line)
            if whole and self._fd >= 0:
                os.fdatasync(self._fd)
        except OSError:
            whole = False
        if not whole:  # a line behind a torn one would not count, and a file that could not be synced is given up
            os.close(self._fd)
            self._fd = -1

    def _merge(self, done: Done) -> None:
        mine = self.done
        mine.blobs |= done.blobs
        mine.records |= done.records
        mine.damage += done.damage
        mine.failed += done.failed
        mine.bytes_read += done.bytes_read

    def finish(self, caught_up: float) -> None:
        """The run has come to its end; all that lies there was written before `caught_up`, or looked at."""
        assert self.scope is not None
        if self.scope.whole:
            self.ended = Ended(self.started, caught_up)
        elif not self.scope.stored and self.scope.sample is None and (self.scope.since or 0) <= self.ended.caught_up:
            self.ended = Ended(self.ended.complete, caught_up)
        self.scope, self.done = None, Done()
        self._write()

    def _write(self) -> None:
        """The file as a whole, put in place of the one before."""
        head: dict[str, Any] = {"version": VERSION, **asdict(self.ended)}
        lines = [head]
        if self.scope is not None:
            head |= {"run": asdict(self.scope), "started": self.started}
            lines.append(_done_line(self.done))
        fresh = self._path.with_name(NAME + ".new")
        with suppress(OSError):  # a full disk: the run goes on, and is not to be resumed
            fresh.unlink(missing_ok=True)  # what an interrupted run has left
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._written = fd, 0
            os.write(fd, b"".join(map(_encode, lines)))
            os.fsync(fd)
            fresh.rename(self._path)
            sync_directory(self._path.parent)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        forks.close_lock(self._lock)
        self._fd = self._lock = -1


def last_ended(state_dir: Path) -> Ended:
    """When the last runs that came to their end had begun."""
    for line in read_lines(state_dir / NAME):
        return Ended(float(line["complete"]), float(line["caught_up"]))
    return Ended()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole, up to the first that is not; none of a version that is not known."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    for number, line in enumerate(data.split(b"\n")[:-1]):
        if line[:16] != _check(line[17:]):
            return
        value = json.loads(line[17:])
        if number == 0 and value.get("version") != VERSION:
            return
        yield value


def _done_line(done: Done) -> dict[str, Any]:
    damage = [{**asdict(each), "chunks": sorted(chunk.hex() for chunk in each.chunks)} for each in done.damage]
    records = {name: np.packbits(bits).tobytes().hex() for name, bits in done.records.items()}
    return {"blobs": sorted(done.blobs), "records": records, "damage": damage, "failed": done.failed,
            "bytes_read": done.bytes_read}


def _encode(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return _check(text) + b" " + text + b"\n"


def _check(text: bytes) -> bytes:
    return blake3(text).hexdigest(8).encode()


def _lock(path: Path) -> int:
    fd = forks.open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        forks.close_lock(fd)
        raise Conflict("another verification is running", path.with_name(NAME), "wait for it to end") from None
    return fd


def unfinished(bits: npt.NDArray[np.bool_] | None, count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` records are still to be looked at, from the bits of those that were."""
    wanted = np.ones(count, np.bool_)
    if bits is not None:
        size = min(count, len(bits))
        wanted[:size] = ~bits[:size]
    return wanted

