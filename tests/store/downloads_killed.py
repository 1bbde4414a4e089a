"""A process that takes in a layer until it kills itself: with SIGKILL, at one byte of its line or at a step of the store's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from downloads import Line, finish, layer_of

from lamina.storage.writer import LocalReach, LocalWriter
from lamina.store import BlobStore
from lamina.store import sink as sinks
from lamina.store.catalog import Catalog
from lamina.store.journalling import Journal
from lamina.store.partials import Partials
from lamina.store.resuming import Resumed


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tear(journal: Any, data: bytes) -> None:
    """Half of a block comes to disk."""
    os.write(journal._fd, data[: len(data) // 2])
    die()


# Steps at which to die, and what is done there first.
STEPS: dict[str, tuple[type, str, Callable[..., None]]] = {
    "a pack is about to be synced": (LocalReach, "sync", die),
    "a pack is about to be sealed": (LocalWriter, "seal", die),
    "a partial is about to be made": (Journal, "_create", die),
    "a block is torn": (Journal, "_append", tear),
    "what came before is read back": (Resumed, "_chunk", die),
    "a partial is about to go": (Partials, "drop", die),
    "all is committed": (Partials, "done", die),
    "a transaction is about to begin": (Catalog, "transaction", die),
}


class Deadly(Line):
    """Ends the process instead of giving the byte at `until`."""

    def readinto(self, buffer: memoryview, /) -> int:
        if self._at >= self._until:
            die()
        return super().readinto(buffer)


def arm(step: str, turn: int) -> None:
    """Die at that step when it comes the `turn`-th time."""
    kind, name, act = STEPS[step]
    true = getattr(kind, name)
    left = turn

    def deadly(*args: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        return act(*args) if left == 0 else true(*args, **more)

    setattr(kind, name, deadly)


def work(path: Path, built: Path, until: int, pack_bytes: int, step: str = "", turn: int = 0) -> None:
    """Take in the layer of that directory; it comes to its end only if `until` is beyond it."""
    sinks.PACK_BYTES = pack_bytes
    if step:
        arm(step, turn)
    data = (built / "layer").read_bytes()
    with BlobStore.open(path) as store, store.session() as session:
        session.push(layer_of(data), Deadly(data, until))
        finish(session, "image", [(data, (built / "plain").read_bytes())])
