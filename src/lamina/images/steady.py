"""Looking at a store that others change: a listing is of one moment, or is made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.store import BlobStore

T = TypeVar("T")

# A listing of 1,000 images takes 20 ms: who is overtaken as often as this is told so.
TRIES = 20


def steadily(store: BlobStore, look: Callable[[], T]) -> T:
    """What `look` finds; made again if something that it followed had gone, and the store has changed since it began.

    Listings read rows first and documents as they need them, without a transaction that would hold up checkpoints; what was
    removed and collected in between is no damage.  Whatever removes a name draws a sequence number.  `NotFound` otherwise.
    """
    for _ in range(TRIES - 1):
        before = store.catalog.sequence()
        try:
            return look()
        except NotFound:
            if store.catalog.sequence() == before:
                raise
    return look()
