"""A store that is served, and what must not be left when nobody uses it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from store.storekit import leftovers

from lamina.images.served.contents import StoreContents
from lamina.store import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def served(store: BlobStore) -> Iterator[StoreContents]:
    """Of the store, with two slots."""
    threads = set(threading.enumerate())
    contents = StoreContents(store, slots=2)
    yield contents
    contents.close()
    assert set(threading.enumerate()) <= threads
    assert leftovers(store) == []


@pytest.fixture
def another(store: BlobStore) -> Iterator[Callable[[], StoreContents]]:
    """Contents of the same store, opened once more: what another process sees."""
    made: list[tuple[BlobStore, StoreContents]] = []

    def make() -> StoreContents:
        other = BlobStore.open(store.path)
        made.append((other, StoreContents(other, slots=2)))
        return made[-1][1]

    yield make
    for other, contents in made:
        contents.close()
        other.close()


def open_files() -> list[str]:
    """What descriptors of this process lead to."""
    found = []
    for each in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found.append(str(each.readlink()))
    return sorted(found)
