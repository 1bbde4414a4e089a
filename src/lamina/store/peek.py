"""The names in a store without opening it: for completion, which has a tenth of a second in all."""

from __future__ import annotations

from pathlib import Path

from lamina.store.catalog import Catalog

CATALOG = Path("state") / "catalog.sqlite"
TIMEOUT = 0.1


def names(path: Path) -> list[str]:
    """Full names and roots (`@digest`), in order; `StoreDamaged` where there is no catalog, `StoreLocked`."""
    with Catalog.open(path / CATALOG, TIMEOUT) as catalog:
        return [ref.name for ref in catalog.refs()]
