"""Noting that images have been used.  A name that is set notes that by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.store import BlobStore


def used(store: BlobStore, digests: Iterable[str]) -> None:
    """What names lead to has been used now.  No command fails for it: a full disk, or a store that may not be written."""
    with suppress(LaminaError, OSError):
        if known := list(digests):
            store.catalog.uses.note(known, int(time.time()))
