"""Deliberate mistakes, a sync left out each: what a check of power loss that is worth anything finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.archive import layout_dir, output
from lamina.storage import direct
from lamina.storage import local as local_storage
from lamina.storage import writer as storage_writer
from lamina.store import database, journalling


class _Without:
    """A module without one of its functions: `os` that does not sync."""

    def __init__(self, module: Any, *names: str) -> None:
        self._module, self._names = module, names

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name in self._names else getattr(self._module, name)


def _lazy_connections() -> None:
    connect = database.connect

    def lazily(path: Path, timeout: float) -> Any:
        connection = connect(path, timeout)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    database.connect = lazily


def _without(*places: tuple[Any, str, str]) -> Callable[[], None]:
    """`os` of these modules without a function, or the modules without one of their own."""

    def patch() -> None:
        for module, where, name in places:
            if where:
                setattr(module, where, _Without(os, name))
            else:
                setattr(module, name, lambda *_: None)

    return patch


MISTAKES: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "pack": _without((direct, "os", "fsync")),
    "pack's name": _without((storage_writer, "", "sync_directory")),
    "format": _without((local_storage, "os", "fsync")),
    "format's name": _without((local_storage, "", "sync_directory")),
    "catalog": _lazy_connections,
    "partial": _without((journalling, "os", "fdatasync")),
    "partial's name": _without((journalling, "", "sync_directory")),
    "partial's packs": _without((storage_writer, "os", "fdatasync")),
    "saved file": _without((direct, "os", "fsync")),
    "saved file's name": _without((output, "", "sync_directory")),
    "saved layout": _without((layout_dir, "os", "fsync")),
    "saved layout's names": _without((layout_dir, "", "sync_directory")),
}
