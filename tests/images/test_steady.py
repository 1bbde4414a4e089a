"""Listings beside removals: of one moment, or made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lamina
from lamina.errors import NotFound
from lamina.images import ImageStore, usage
from lamina.images.records import read_view
from lamina.images.steady import TRIES, steadily
from lamina.images.view import View
from lamina.store import BlobStore

from .archives import Built, docker_archive, layer

KEPT = Built(layer(a="a" * 5000), created="2024-01-01T00:00:00Z", Labels={"kind": "kept"})
GONE = Built(layer(b="b" * 5000), created="2024-01-02T00:00:00Z", Labels={"kind": "gone"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with lamina.open(tmp_path / "store") as opened:
        opened.load(docker_archive((KEPT, ["kept:1"]), (GONE, ["gone:1"])))
        yield opened


def listed(store: ImageStore) -> list[str]:
    return [row.repository for row in store.images(filters=["label=kind"])]


def drawn(store: ImageStore) -> list[str]:
    return [node.summary.repository for node in store.tree()]


def pruned(store: ImageStore) -> list[str]:
    return [str(event) for event in store.prune(all=True, filters=["label=kind=other"], dry_run=True).events]


def test_df_is_made_again(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows follow documents of indexes alone."""
    tries = []

    def late(blobs: BlobStore) -> View:
        tries.append(1)
        if len(tries) == 1:
            store.tag("kept:1", "kept:2")
            raise NotFound("gone", "it")
        return read_view(blobs)

    monkeypatch.setattr(usage, "read_view", late)
    assert {row.summary.repository for row in store.df().images} == {"kept", "gone"}
    assert len(tries) == 2


@pytest.mark.parametrize(("look", "expected"), [
    (listed, ["kept"]), (drawn, ["kept"]), (pruned, [])], ids=["images", "tree", "prune"])
def test_an_image_goes_once_its_name_has_been_read(store: ImageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                  look: Callable[[ImageStore], list[str]], expected: list[str]) -> None:
    refs, removed = store.blobs.catalog.refs, []

    def late() -> object:
        rows = refs()
        if not removed:
            removed.append(True)
            with lamina.open(tmp_path / "store") as other:
                other.remove(["gone:1"])
                other.gc(max_unused=0)
        return rows

    monkeypatch.setattr(store.blobs.catalog, "refs", late)
    assert look(store) == expected
    assert removed


def test_what_is_missing_in_a_store_that_does_not_change_is_told(store: ImageStore) -> None:
    tries = []

    def look() -> None:
        tries.append(1)
        raise NotFound("gone", "it")

    with pytest.raises(NotFound):
        steadily(store.blobs, look)
    assert len(tries) == 1


def test_a_store_that_never_stands_still(store: ImageStore) -> None:
    tries = []

    def look() -> None:
        tries.append(store.tag("kept:1", f"kept:{len(tries) + 2}"))
        raise NotFound("gone", "it")

    with pytest.raises(NotFound):
        steadily(store.blobs, look)
    assert len(tries) == TRIES


def test_a_row_outlives_its_image(store: ImageStore) -> None:
    (row,) = store.images(name="gone:1")
    store.remove(["gone:1"])
    store.gc(max_unused=0)
    assert (row.repository, row.labels) == ("gone", {})
