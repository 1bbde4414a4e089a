"""Whether there is room for what is about to begin.

What cannot work is said before it has taken an hour; what may work is tried: a layer that comes plain may be known already, and
a disk that fills up meanwhile ends the work cleanly all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lamina.errors import StorageError
from lamina.storage import Backend
from lamina.store.schema import PackRow

# New content is not begun below this.  What is left then is for removals and collections: their journals, the catalog's log.
FLOOR: Final = 16 << 20

_FREE_SOME: Final = "free some space (lamina gc) and try again"
_MAKE_ROOM: Final = "make room beside the store, or remove images, and try again"


def require(backend: Backend, least: int, doing: str, path: Path, hint: str = _FREE_SOME) -> None:
    """`StorageError` unless `least` bytes are free; `doing` as in "to load"."""
    free = backend.free_space()
    if free < least:
        what = f"not enough free space to {doing}: {least / 1e6:.1f} MB needed, {free / 1e6:.1f} MB there"
        raise StorageError(what, path, hint)


def as_many(backend: Backend, packs: list[PackRow], weight: Callable[[PackRow], int], doing: str, path: Path) -> list[PackRow]:
    """As many packs from the beginning as there is room for, `weight` bytes each; `StorageError` if not even one."""
    free = backend.free_space()
    total = 0
    for count, pack in enumerate(packs):
        total += weight(pack)
        if total > free:
            if not count:
                require(backend, total, doing, path, _MAKE_ROOM)
            return packs[: max(count, 1)]
    return packs
