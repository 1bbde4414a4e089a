"""A chunk of which there is another whole copy: readers take that, and no image is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storekit import flip, full, noise, push, read, tar_of, words

from lamina.digest import Digest
from lamina.errors import StoreDamaged
from lamina.store import BlobStore, layout
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE

BOTH = tar_of({"noise": noise(1, 700_000), "words": words(1, 500_000), "small": b"x" * 600})
ONE = tar_of({"noise": noise(1, 700_000), "words": words(1, 500_000), "small": b"x" * 600, "own": noise(2, 400_000)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    """Two sessions at once write the same contents: each in a pack of its own."""
    with BlobStore.open(tmp_path / "store") as store:
        with store.session() as first, store.session() as second:
            push(first, "both", BOTH)
            push(second, "one", ONE)
            second.commit()
            first.commit()
        assert len(store.catalog.packs(LIVE)) == 2
        yield store


def doubled(store: BlobStore) -> set[bytes]:
    """Ids that lie in both packs."""
    first, second = ({bytes(each) for each in store.packs.footer(pack.number).ids} for pack in store.catalog.packs(LIVE))
    return first & second


def frames_of(store: BlobStore, number: int, kind: int) -> list[int]:
    return [i for i, row in enumerate(store.packs.footer(number).records) if row["type"] == kind]


def spoil(store: BlobStore, number: int, record: int) -> None:
    pack = store.catalog.pack(number)
    assert pack is not None
    flip(store.path / pack_path(pack.name), int(store.packs.footer(number).records["offset"][record]) + 3)


def test_every_frame_in_turn(store: BlobStore) -> None:
    """Whichever is damaged: what verify names is what cannot be read, and only chunks of one's own cost anything."""
    twice = doubled(store)
    assert len(twice) > 10
    mended = lost = 0
    for pack in store.catalog.packs(LIVE):
        footer = store.packs.footer(pack.number)
        for record in np.flatnonzero(np.isin(footer.records["type"], layout.FRAMES)).tolist():
            spoil(store, pack.number, record)
            with BlobStore.open(store.path) as again:
                named = {digest for problem in again.verify().problems for digest in problem.digests}
                assert again.verify().problems
                failing = set()
                for data in (BOTH, ONE):
                    try:
                        assert read(again, Digest.of(data)) == data
                    except StoreDamaged:
                        failing.add(Digest.of(data))
            assert named == failing
            ids = {bytes(each) for each in footer.ids[footer.places["record"] == record]}
            if ids <= twice:
                assert not failing
                mended += 1
            lost += bool(failing)
            spoil(store, pack.number, record)  # whole again
    assert mended > 2 and lost > 1
    assert store.verify().problems == []


def test_both_copies(store: BlobStore) -> None:
    for pack in store.catalog.packs(LIVE):
        for record in frames_of(store, pack.number, layout.CONTENT):
            spoil(store, pack.number, record)
    with BlobStore.open(store.path) as again:
        named = {digest for problem in again.verify().problems for digest in problem.digests}
    assert named == {Digest.of(BOTH), Digest.of(ONE)}


def test_a_pack_that_is_gone(store: BlobStore) -> None:
    """What the other one has is read from there."""
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    other = next(pack for pack in store.catalog.packs(LIVE) if pack.number != row.pack)
    (store.path / pack_path(other.name)).unlink()
    store.close()
    with BlobStore.open(store.path) as again:
        assert read(again, Digest.of(ONE)) == ONE
        problems = again.verify().problems
        named = {digest for problem in problems for digest in problem.digests}
        assert Digest.of(BOTH) in named and Digest.of(ONE) not in named
        assert again.resolve(full("both")).digest not in named  # the catalog has its text


def test_all_frames_of_one_pack(store: BlobStore) -> None:
    """A blob that is read from copies all along, through several windows."""
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    other = next(pack for pack in store.catalog.packs(LIVE) if pack.number != row.pack)
    twice = doubled(store)
    footer = store.packs.footer(other.number)
    for record in frames_of(store, other.number, layout.CONTENT) + frames_of(store, other.number, layout.SEGMENT):
        if {bytes(each) for each in footer.ids[footer.places["record"] == record]} <= twice:
            spoil(store, other.number, record)
    with BlobStore.open(store.path) as again:
        assert read(again, Digest.of(ONE)) == ONE
