"""What is put aside: packs that were damaged, as they were, and names that had to go (FORMAT.md, "Quarantine").

Nothing here is read but by `repair`, nothing is deleted but by who asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from lamina.errors import LaminaError
from lamina.storage import Backend
from lamina.store.packs import pack_path
from lamina.store.schema import RefRow

FOLDER = "quarantine/"
_NAMES = f"{FOLDER}names-"


class Lost(NamedTuple):
    """Names that had to go, and the file that has them."""

    file: str
    names: list[RefRow]


def keep_pack(backend: Backend, name: str) -> None:
    """Keep a pack's file (its name in hex): the collector may delete the pack then."""
    backend.keep_as(pack_path(name), f"{FOLDER}{name}")


def keep_names(backend: Backend, names: Iterable[RefRow], owner: str) -> None:
    """Write down names that go because what they lead to is lost; `repair` gives them again when that is back."""
    rows = [{"name": ref.name, "digest": ref.digest, "media_type": ref.media_type, "size": ref.size, "seq": ref.seq,
             "time": ref.time, "pinned": ref.pinned} for ref in names]
    taken = {name for name, _ in backend.list(_NAMES)}
    number = next(each for each in range(len(taken) + 1) if f"{_NAMES}{each}.json" not in taken)
    with backend.create(f"{_NAMES}{number}.json", owner) as writer:
        writer.write(json.dumps({"names": rows}, separators=(",", ":"), sort_keys=True).encode())
        writer.seal()


def lost_names(backend: Backend) -> Iterator[Lost]:
    """What such files say; one that cannot be read is passed over."""
    for file, size in sorted(backend.list(_NAMES)):
        with suppress(LaminaError, ValueError, KeyError, TypeError, RecursionError), backend.open(file) as handle:
            data = bytearray(size)
            handle.pread_into(memoryview(data), 0)
            rows = [RefRow(str(row["name"]), str(row["digest"]), str(row["media_type"]), int(row["size"]), int(row["seq"]),
                           int(row["time"]), bool(row.get("pinned"))) for row in json.loads(bytes(data))["names"]]
            yield Lost(file, rows)


def files(backend: Backend) -> list[tuple[str, int]]:
    """(name, bytes) of all that is put aside."""
    return sorted((name.removeprefix(FOLDER), size) for name, size in backend.list(FOLDER))


def drop(backend: Backend) -> tuple[int, int]:
    """Delete all of it: how many files, and their bytes."""
    found = files(backend)
    for name, _ in found:
        backend.delete(f"{FOLDER}{name}")
    return len(found), sum(size for _, size in found)
