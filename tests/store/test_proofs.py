"""Blobs that were read back once: later their chunks are enough."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from storekit import flip, layer, load, noise, remove, tar_of

from lamina._native.chunkindex import NONE
from lamina.digest import Digest
from lamina.store import BlobStore, layout, verify
from lamina.store.blobcheck import Blobs
from lamina.store.blobstore import Reading
from lamina.store.index import ChunkIndex
from lamina.store.packs import pack_path
from lamina.store.proofs import MAGIC, NAME, SIZE, proof_of, read_proofs, write_proofs
from lamina.store.schema import BlobRow
from lamina.store.verifylog import Scope

ONE, TWO = (tar_of({"noise": noise(number, 400_000)}) for number in (1, 2))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        load(store, "one", ONE)
        load(store, "two", TWO)
        yield store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The layers that each run reads back."""
    found: list[set[str]] = []

    def blobs(reading: object, packs: object, rows: Iterable[BlobRow], advance: object) -> Blobs:
        rows = list(rows)
        found.append({row.digest for row in rows if row.kind != "document"})
        return Blobs(reading, packs, rows, advance)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "Blobs", blobs)
    return found


LAYERS = {Digest.of(ONE), Digest.of(TWO)}


def test_the_second_run_reads_chunks_alone(store: BlobStore, reads: list[set[str]]) -> None:
    first, second = store.verify(), store.verify()
    assert reads == [LAYERS, set()]
    assert (second.blobs, second.bytes_read, second.problems) == (first.blobs, first.bytes_read, []) != (0, 0, [])


def test_all_are_hashed_again_if_asked_for(store: BlobStore, reads: list[set[str]]) -> None:
    for _ in range(2):
        store.verify(scope=Scope(rehash=True))
    store.verify()
    assert reads == [LAYERS, LAYERS, set()]


def test_what_came_since_is_read_back(store: BlobStore, reads: list[set[str]]) -> None:
    store.verify()
    load(store, "three", layer(3))
    store.verify()
    assert reads == [LAYERS, {Digest.of(layer(3))}]


def test_what_is_young_is_read_back_though_it_is_proved(store: BlobStore) -> None:
    """Its chunks may lie in older packs, which are not looked at then."""
    both = tar_of({"before": b"x" * 600, "noise": noise(1, 400_000)})
    load(store, "both", both)
    store.verify()
    old, young = (store.catalog.blob(Digest.of(data)) for data in (ONE, both))
    assert old is not None and young is not None and old.pack != young.pack
    names = {pack.number: store.path / pack_path(pack.name) for pack in store.catalog.packs()}
    row = next(row for row in store.packs.footer(old.pack).records if row["type"] == layout.CONTENT)
    flip(names[old.pack], int(row["offset"]))
    for number, path in names.items():
        os.utime(path, (1000 + number, 1000 + number))
    store.close()
    with BlobStore.open(store.path) as again:
        problems = again.verify(scope=Scope(since=1000 + young.pack)).problems
    assert Digest.of(both) in {digest for problem in problems for digest in problem.digests}


def test_chunks_that_are_nowhere(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte is wrong, and yet a proved blob is not whole."""
    store.verify()
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    find = ChunkIndex.find

    def lost(index: ChunkIndex, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        packs, ordinals = find(index, ids)
        return np.where(packs == row.pack, NONE, packs), ordinals

    monkeypatch.setattr(ChunkIndex, "find", lost)
    assert Digest.of(ONE) in {digest for problem in store.verify().problems for digest in problem.digests}


@pytest.mark.parametrize("part", ["sample", "stored"])
def test_parts_prove_nothing(store: BlobStore, reads: list[set[str]], part: str) -> None:
    store.verify(scope=Scope(sample=1.0) if part == "sample" else Scope(stored=True))
    store.verify()
    assert reads == [set(), LAYERS]


def test_images_that_are_named_are_read_back(store: BlobStore, reads: list[set[str]]) -> None:
    store.verify()
    store.verify([Digest.of(ONE)])
    assert reads[1] == {Digest.of(ONE)}


def test_another_head_is_another_proof(store: BlobStore) -> None:
    store.verify()
    row = store.catalog.blob(Digest.of(ONE))
    assert row is not None
    head = bytes(store.packs.record(row.pack, row.record))
    assert proof_of(Digest.of(ONE), head) in read_proofs(store.state_dir)
    assert proof_of(Digest.of(ONE), head + b" ") not in read_proofs(store.state_dir)
    assert proof_of(Digest.of(TWO), head) not in read_proofs(store.state_dir)


def test_the_file_keeps_no_proof_of_what_is_gone(store: BlobStore) -> None:
    store.verify()
    assert len(read_proofs(store.state_dir)) == 2
    remove(store, "two")
    store.collect(max_unused=0)
    store.verify()
    assert len(read_proofs(store.state_dir)) == 1


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:40] + b"x" + data[41:], lambda data: b"",
                                    lambda data: b"LAMPRV9\n" + data[8:], lambda data: data + bytes(SIZE)],
                         ids=["cut", "altered", "empty", "of another version", "longer"])
def test_a_file_that_is_wrong_proves_nothing(store: BlobStore, reads: list[set[str]], change: object) -> None:
    store.verify()
    path = store.state_dir / NAME
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    assert store.verify().problems == []
    assert reads[1] == LAYERS


def test_a_run_that_cannot_write_it_goes_on(store: BlobStore) -> None:
    (store.state_dir / (NAME + ".new")).mkdir()
    assert store.verify().problems == []
    assert read_proofs(store.state_dir) == set()


def test_a_full_disk_leaves_nothing_of_it(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def full(path: Path, target: Path) -> Path:
        if path.name.startswith(NAME):
            raise OSError(errno.ENOSPC, "full")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", full)
    assert store.verify().problems == []
    assert [path.name for path in store.state_dir.iterdir() if path.name.startswith(NAME)] == []


def test_a_blob_that_is_cut_anew_meanwhile(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new chunks are none of those that this run knows of, and its old ones are still there."""
    store.verify()
    real, blobs = verify._Run._read_back, store.catalog.blobs

    def read_back(run: verify._Run, reading: Reading, given: Iterable[BlobRow]) -> None:
        real(run, reading, given)
        load(store, "other", layer(9))
        other = store.catalog.blob(Digest.of(layer(9)))
        assert other is not None
        new = {"pack": other.pack, "record": other.record}
        monkeypatch.setattr(store.catalog, "blobs", lambda *kind: (
            row._replace(**new) if row.digest == Digest.of(ONE) else row for row in blobs(*kind)))

    monkeypatch.setattr(verify._Run, "_read_back", read_back)
    assert store.verify().problems == []


def test_a_fifo_in_its_place(store: BlobStore) -> None:
    """It is not waited for, and replaced."""
    os.mkfifo(store.state_dir / NAME)
    assert store.verify().problems == []
    assert len(read_proofs(store.state_dir)) == 2


def test_bytes_on_disk(tmp_path: Path) -> None:
    """FORMAT.md says so."""
    write_proofs(tmp_path, {b"b" * SIZE, b"a" * SIZE})
    body = MAGIC + b"a" * SIZE + b"b" * SIZE
    assert (tmp_path / NAME).read_bytes() == body + blake3(body).digest()
    assert proof_of("sha256:x", b"head") == blake3(b"sha256:x\nhead").digest()
    assert read_proofs(tmp_path) == {b"a" * SIZE, b"b" * SIZE}
