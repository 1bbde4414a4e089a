"""The partials of a store (FORMAT.md, "Partials"): which there are, whose they are, and which packs they name.

Nothing heavy is imported: every writer looks here when it begins.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from lamina.digest import Digest
from lamina.errors import InvalidDigest
from lamina.storage import Backend
from lamina.storage.writer import sync_directory
from lamina.store.lease import is_alive

FOLDER: Final = "partials"
LIMIT: Final = 64  # partials in a store; before another is begun, the oldest dead one goes
OLD: Final = 7 * 86400  # seconds after which a collection takes one away
FILE_LIMIT: Final = 64 << 20  # bytes of one: a million chunks

_NAME = re.compile(r"(?P<algorithm>[a-z0-9]{1,16})-(?P<hex>[0-9a-f]{64,128})\.(?P<lease>[0-9a-f]{32})\.[0-9]{1,6}")
# Of `partial.HEADER` and `partial.BLOCK`, which need numpy.
_HEADER_BYTES, _NAME_BYTES, _ROW_BYTES = 64, 16, 64
_BLOCK: Final = struct.Struct("<4sHHIIQQ")


@dataclass(frozen=True, slots=True)
class Partial:
    """One file: the blob's digest, and the lease of the session that wrote it."""

    path: Path
    digest: Digest
    lease: str

    @classmethod
    def parse(cls, path: Path) -> Partial | None:
        """None for a name that is none of ours."""
        found = _NAME.fullmatch(path.name)
        if found is None:
            return None
        try:
            return cls(path, Digest(f"{found['algorithm']}:{found['hex']}"), found["lease"])
        except InvalidDigest:
            return None

    def packs(self) -> set[str]:
        """Names (hex) of the packs that it names.  Checksums are not looked at: it is better to keep too much."""
        try:
            with self.path.open("rb") as file:
                return set(_pack_names(file))
        except OSError:
            return set()

    def modified(self) -> float:
        """Seconds since 1970; 0 if it has gone."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0


def _pack_names(file: BinaryIO) -> Iterator[str]:
    file.seek(_HEADER_BYTES)
    while len(head := file.read(_BLOCK.size)) == _BLOCK.size:
        magic, packs, _, rows, _, _, _ = _BLOCK.unpack(head)
        if magic != b"LPTB" or packs > 64:
            return
        names = file.read(packs * _NAME_BYTES)
        yield from (names[at : at + _NAME_BYTES].hex() for at in range(0, len(names), _NAME_BYTES))
        file.seek(rows * _ROW_BYTES, os.SEEK_CUR)


class Partials:
    """The directory of partials.  Usable from several threads and processes; what goes meanwhile is not missed."""

    def __init__(self, state_dir: Path, backend: Backend) -> None:
        self.folder = state_dir / FOLDER
        self._state_dir, self._backend = state_dir, backend

    def all(self) -> list[Partial]:
        """Every partial; files of other names are taken away."""
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 - names only
        except OSError:
            return []
        found = []
        for name in sorted(names):
            partial = Partial.parse(self.folder / name)
            if partial is not None:
                found.append(partial)
            else:
                with suppress(OSError):
                    (self.folder / name).unlink()
        return found

    def alive(self, partial: Partial) -> bool:
        """Whether its writer is at work."""
        return is_alive(self._state_dir, partial.lease)

    def of(self, digest: str, own: str) -> list[Partial]:
        """Those of a blob whose writer has ended, or is the session with the lease `own`."""
        return [each for each in self.all() if each.digest == digest and (each.lease == own or not self.alive(each))]

    def furthest(self, digest: str, size: int, own: str) -> tuple[Partial, int] | None:
        """Of those the one that covers the most of a blob of `size` bytes, and how much; the others are taken away."""
        from lamina.store.partial import covered_by

        found: list[tuple[int, Partial]] = []
        for each in self.of(digest, own):
            with suppress(OSError):
                found.append((covered_by(each.path, size), each))
        found.sort(key=lambda pair: pair[0])
        best = found.pop() if found and found[-1][0] else None
        for _, each in found:
            self.drop(each)
        return None if best is None else (best[1], best[0])

    def done(self, digests: Container[str], own: str) -> None:
        """These blobs are whole and published: their partials go, but for those of other writers that are still at it."""
        for each in self.all():
            if each.digest in digests and (each.lease == own or not self.alive(each)):
                self.drop(each)

    def named(self, but: Container[str] = ()) -> dict[str, str]:
        """The packs (hex) that partials name, and the lease of each; those of the blobs `but` do not count."""
        return {name: each.lease for each in self.all() if each.digest not in but for name in each.packs()}

    def drop(self, partial: Partial) -> None:
        """Take it away, and what its writer, if it has ended, left in `tmp` that no other one names.

        In that order on the disk, too: one that came back after a power cut, without its packs, might be preferred to
        another that is good.
        """
        try:
            partial.path.unlink(missing_ok=True)
            sync_directory(self.folder)
        except OSError:  # only space is lost
            return
        if not self.alive(partial):
            self._backend.sweep_temporaries(partial.lease, self.named())

    def drop_empty(self, lease: str) -> None:
        """Of a session that gives up, those whose packs are all gone (a disk that is full): they are of no use."""
        there = {each.name for each in self._backend.temporaries() if each.owner == lease}
        for each in self.all():
            if each.lease == lease and (packs := each.packs()) and not packs & there:
                self.drop(each)

    def make_room(self) -> bool:
        """Whether there may be one more: the dead one that was written longest ago goes."""
        found = self.all()
        if len(found) < LIMIT:
            return True
        dead = sorted((each for each in found if not self.alive(each)), key=Partial.modified)
        for each in dead[: len(found) - LIMIT + 1]:
            self.drop(each)
        return len(found) - len(dead) < LIMIT

    def tidy(self, known: Callable[[str], bool], now: float) -> None:
        """For the collector: dead ones that are old, or whose blob has come otherwise, go.

        So do those that are to come, by a clock that has been set back since: they would stay until then.
        """
        for each in self.all():
            if not self.alive(each) and (abs(now - each.modified()) > OLD or known(each.digest)):
                self.drop(each)

    def size(self) -> int:
        """Bytes of files in `tmp` that dead partials name."""
        named = self.named()
        if not named:
            return 0
        return sum(each.size for each in self._backend.temporaries() if each.name in named)
