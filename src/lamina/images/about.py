"""`info`: where the store is, and what works on it."""

from __future__ import annotations

import platform
import sqlite3
from importlib import metadata
from typing import TYPE_CHECKING, Any

import lamina

if TYPE_CHECKING:
    from lamina.store import BlobStore

_LIBRARIES = ("blake3", "click", "isal", "numpy", "platformdirs", "zstandard")


def describe(store: BlobStore) -> dict[str, Any]:
    """What the store says of itself, then the versions of what reads it and the processor's features in use."""
    from lamina._native import cpu

    return {
        "path": str(store.path),
        **store.info(),
        "lamina": lamina.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "cpu": {"features": list(cpu.features()), "selected": cpu.selected()},
    }
