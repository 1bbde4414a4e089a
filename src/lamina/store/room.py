"""Whether there is room for what is about to begin.

What cannot work is said before it has taken an hour; what may work is tried: a layer that comes plain may be known already, and
a disk that fills up meanwhile ends the work cleanly all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lamina.errors import StorageError
from lamina.storage import Backend

# New content is not begun below this.  What is left then is for removals and collections: their journals, the catalog's log.
FLOOR: Final = 16 << 20

_FREE_SOME: Final = "free some space (lamina gc) and try again"


def require(backend: Backend, least: int, doing: str, path: Path, hint: str = _FREE_SOME) -> None:
    """`StorageError` unless `least` bytes are free; `doing` as in "to load"."""
    free = backend.free_space()
    if free < least:
        raise StorageError(f"not enough free space to {doing}: {free / 1e6:.1f} MB of {least / 1e6:.1f} MB", path, hint)


def fits(backend: Backend, least: int) -> bool:
    """Whether so many bytes are free."""
    return backend.free_space() >= least
