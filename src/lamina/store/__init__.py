"""The store: blobs taken apart into chunks, packed, indexed, catalogued, and put together again (FORMAT.md).

What a name here stands for is imported when the name is used: completion needs the catalog alone, listing no numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.store.blobstore import BlobStore, Reading
    from lamina.store.collect import Collected
    from lamina.store.session import Session
    from lamina.store.stats import LayerStats, SessionStats
    from lamina.store.touched import Problem
    from lamina.store.usage import Reclaimable, Usage
    from lamina.store.verify import Verified

_HOMES = {
    "BlobStore": "blobstore",
    "Collected": "collect",
    "LayerStats": "stats",
    "Problem": "touched",
    "Reading": "blobstore",
    "Reclaimable": "usage",
    "Session": "session",
    "SessionStats": "stats",
    "Usage": "usage",
    "Verified": "verify",
}

__all__ = [
    "BlobStore",
    "Collected",
    "LayerStats",
    "Problem",
    "Reading",
    "Reclaimable",
    "Session",
    "SessionStats",
    "Usage",
    "Verified",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"lamina.store.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
