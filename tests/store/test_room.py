"""Free space is looked at before long work begins, and nothing is refused that may work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import describe
from storekit import assert_whole, layer, load, noise, push, remove, tar_of

from lamina.content.verify import BytesReader
from lamina.errors import StorageError
from lamina.oci import OCI_LAYER
from lamina.storage.local import LocalBackend
from lamina.store import BlobStore, room
from lamina.store.session import Job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(LocalBackend, "free_space", lambda self: free)


def test_new_content_needs_the_floor(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, room.FLOOR - 1)
    with pytest.raises(StorageError, match=r"^not enough free space to take in new layers: 16.8 MB .*/store, free some"):
        load(store, "one", layer(1))
    leave(monkeypatch, room.FLOOR)
    load(store, "one", layer(1))
    assert_whole(store, layer(1))


def test_removing_does_not(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load(store, "one", layer(1))
    leave(monkeypatch, 0)
    remove(store, "one")
    assert store.collect(max_unused=0).bytes_freed > 60_000
    assert_whole(store)


@pytest.mark.parametrize(("media_type", "fits"), [(OCI_LAYER, True), (f"{OCI_LAYER}+gzip", False)])
def test_compressed_layers_need_their_size(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, media_type: str, fits: bool
) -> None:
    data = tar_of({"a": noise(1, 100_000)})
    leave(monkeypatch, room.FLOOR + len(data) - 1)
    jobs = [Job(describe(data, media_type), lambda: BytesReader(data))]
    with store.session() as session:
        if fits:
            session.bring(jobs)
        else:
            with pytest.raises(StorageError, match="not enough free space"):
                session.bring(jobs)
    leave(monkeypatch, room.FLOOR + len(data))
    with store.session() as session:
        session.bring(jobs)
    with store.session(verify=True) as session:  # what is read again is there
        leave(monkeypatch, room.FLOOR)
        session.bring(jobs)


def several(store: BlobStore) -> list[bytes]:
    """Three packs, each half dead."""
    kept = [layer(seed) for seed in range(3)]
    for seed, data in enumerate(kept):
        with store.session(compression="none") as session:  # a frame a chunk
            push(session, f"kept{seed}", data)
            push(session, f"gone{seed}", layer(10 + seed))
            session.commit()
    remove(store, "gone0", "gone1", "gone2")
    return kept


def test_a_collection_copies_as_much_as_there_is_room_for(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = several(store)
    rounds = []
    monkeypatch.setattr(LocalBackend, "free_space", lambda self: rounds.append(1) or 100_000)  # one pack's worth
    assert store.collect(max_unused=0).bytes_freed > 150_000
    assert len(rounds) >= 3
    assert_whole(store, *kept)


def test_without_room_for_one_it_says_so(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = several(store)
    leave(monkeypatch, 10_000)
    with pytest.raises(StorageError, match=r"not enough free space to collect: .*, make room beside the store"):
        store.collect(max_unused=0)
    with pytest.raises(StorageError, match="not enough free space to optimize"):
        store.optimize(level=3)
    assert_whole(store, *kept)


def test_a_file_system_that_does_not_tell_is_tried(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    told = os.statvfs(store.path)
    nothing = os.statvfs_result((*told[:2], 0, 0, 0, *told[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: nothing)
    load(store, "one", layer(1))
    assert_whole(store, layer(1))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_small_file_system_fills_up_and_is_emptied(small: Path) -> None:
    with BlobStore.open(small / "store") as store:
        there: dict[str, bytes] = {}
        with pytest.raises(StorageError, match=r"no.* space"):
            for seed in range(40):
                load(store, f"one{seed}", layer(seed, 1_500_000))
                there[f"one{seed}"] = layer(seed, 1_500_000)
        assert 3 < len(there) < 16
        assert_whole(store, *there.values())
        remove(store, *list(there)[1:])
        store.collect(max_unused=0)
        load(store, "new", layer(99, 1_500_000))
        assert_whole(store, there["one0"], layer(99, 1_500_000))


def test_where_it_is_told_it_is_what_the_system_says(store: BlobStore) -> None:
    assert 0 < store.backend.free_space() <= (found := os.statvfs(store.path)).f_bfree * found.f_frsize * 2
