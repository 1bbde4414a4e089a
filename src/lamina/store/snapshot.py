"""The catalog's view of one moment, as a catalog of its own: what a backup puts in place."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lamina.errors import StorageError, StoreDamaged
from lamina.store.catalog import TIMEOUT, Catalog, remove_catalog
from lamina.store.database import catalog_errors, connect
from lamina.store.schema import CONDEMNED, LIVE, PackRow


def snapshot(path: Path, fresh: Path, timeout: float = TIMEOUT) -> tuple[list[PackRow], int]:
    """Copy the catalog at `path` to one settled, durable file without leases, holds and condemned packs.

    The packs in it, and the number of the last journal that its names stand for, which a rebuild from the packs finds, too.

    Writers go on meanwhile.  `StoreDamaged` if the catalog is.
    """
    remove_catalog(fresh)
    try:
        with catalog_errors(fresh), closing(connect(path, timeout)) as source, closing(sqlite3.connect(fresh)) as copy:
            source.backup(copy)
        with Catalog.open(fresh, timeout) as view:
            if not view.is_sound():
                raise StoreDamaged("the catalog is damaged", fresh)
            found = _settle(view)
    except StoreDamaged as error:
        raise StoreDamaged(error.what, path, "run lamina repair") from error
    _sync(fresh)
    return found


def _settle(view: Catalog) -> tuple[list[PackRow], int]:
    with view.transaction() as tx:
        for lease in view.leases():
            tx.remove_lease(lease.id)
        tx.remove_packs(pack.number for pack in view.packs(CONDEMNED))
    packs = view.packs(LIVE)
    journal = max([view.checkpoint(), *(ref.seq for ref in view.refs())])
    view.settle()
    return packs, journal


def _sync(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageError(f"cannot write the catalog: {error.strerror}", path) from error
