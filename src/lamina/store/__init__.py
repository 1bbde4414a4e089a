"""The store: blobs taken apart into chunks, packed, indexed, catalogued, and put together again (FORMAT.md)."""

from typing import TYPE_CHECKING

from lamina.store.blobstore import BlobStore, Reading
from lamina.store.stats import LayerStats, SessionStats

if TYPE_CHECKING:  # what these are made of is imported when it is needed: see blobstore
    from lamina.store.collect import Collected
    from lamina.store.session import Session
    from lamina.store.usage import Reclaimable, Usage
    from lamina.store.verify import Problem, Verified

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
