"""The optimizer: what it saves, what it leaves, that every byte comes back, and that damage stays what it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from contracts.samples import describe
from storekit import (
    assert_whole,
    flip,
    full,
    layer,
    leftovers,
    load,
    names,
    noise,
    pack_files,
    problems,
    push,
    read,
    record_at,
    remove,
    tar_of,
    words,
)
from test_memory import anonymous

from lamina._native.chunkindex import NONE
from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.errors import Conflict
from lamina.store import BlobStore, layout, neighbours, optimize
from lamina.store.packs import Packs, pack_path
from lamina.store.recipe import Head
from lamina.store.schema import CONDEMNED, LIVE, PackRow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(tmp_path: Path, store: BlobStore) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as other:
        yield other


# Three versions of a file of 600 kB that share no chunk (a byte in a hundred differs), far from each other in their layers.
TEXT = words(1, 600_000)


def version(number: int, size: int = 400_000) -> bytes:
    data = bytearray(TEXT)
    data[number::5000] = bytes(len(data[number::5000]))
    return tar_of({"aaa": noise(10 + number, size), "usr/lib/like": bytes(data), "zzz": noise(20 + number, size)})


VERSIONS = [version(number) for number in range(3)]


def load_versions(store: BlobStore) -> None:
    for number, data in enumerate(VERSIONS):
        load(store, f"version{number}", data)


def stored(store: BlobStore) -> int:
    return sum(size for _, size in store.backend.list("packs/"))


def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pack a round."""
    monkeypatch.setattr(optimize, "ROUND_BYTES", 1)


def test_like_lies_beside_like_and_all_comes_back(store: BlobStore) -> None:
    """What is alike is farther apart than a frame, as it is loaded."""
    far = [version(number, 2_500_000) for number in range(3)]
    for number, data in enumerate(far):
        load(store, f"version{number}", data)
    before = stored(store)
    done = store.optimize()
    assert (done.before, done.after, done.packs, done.left, done.dead, done.problems) == (before, stored(store), 3, 0, 0, [])
    noises = 6 * 2_500_000
    assert stored(store) - noises < (before - noises) / 2  # the three texts, each compressed by itself before
    assert_whole(store, *far)
    frames = np.concatenate([store.packs.footer(pack.number).records for pack in store.catalog.packs(LIVE)])
    assert int(frames["plain"].max()) > layout.FRAME_BYTES


def test_the_order_of_chunks(store: BlobStore) -> None:
    """Directories, then names, then places in a file: what of a large file is new lies after its beginning."""
    large = noise(9, 1_000_000)
    load(store, "one", tar_of({"b/x": noise(1, 1000), "a/y": noise(2, 1000), "a-/x": noise(3, 1000), "a/large": large}))
    load(store, "two", tar_of({"a/b/x": noise(4, 1000), "b/x": noise(5, 1000), "a/y": noise(6, 1000), "./a/w": noise(7, 1000),
                               "a/large": large[:-1000] + noise(8, 1000), "top": noise(10, 1000)}))
    store.optimize()
    (pack,) = [pack for pack in store.catalog.packs(LIVE) if pack.chunks > 10]
    footer = store.packs.footer(pack.number)
    ids = [bytes(chunk_id) for chunk_id in footer.ids]
    seeds = [10, 7, 2, 6, 4, 3, 1, 5]
    at = [ids.index(blake3(noise(seed, 1000)).digest()) for seed in seeds]
    assert at == sorted(at)
    assert [int(length) for length in footer.places["length"][1:5]].count(1000) == 0  # top, then a/large
    assert at[1] - at[0] > 6


def test_again_it_does_nothing_but_for_a_higher_level(store: BlobStore) -> None:
    load_versions(store)
    store.optimize(level=3)
    files = pack_files(store)
    assert store.optimize(level=3).packs == store.optimize(level=2).packs == 0
    assert pack_files(store) == files
    load(store, "more", layer(1))
    assert store.optimize(level=3).packs == 1
    assert files < pack_files(store)
    assert store.optimize(level=4).packs == 2
    assert not files & pack_files(store)
    assert store.optimize(level=4).packs == 0
    assert_whole(store, *VERSIONS, layer(1))


def test_levels_of_packs_that_are_gone_are_forgotten(store: BlobStore) -> None:
    load_versions(store)
    store.optimize()
    assert set(store.catalog.pack_levels().values()) == {optimize.LEVEL}
    store.optimize(level=optimize.LEVEL + 1)
    assert store.catalog.pack_levels().keys() == {pack.number for pack in store.catalog.packs()}


@pytest.mark.parametrize("what", ["catalog*", "index", "*"])
def test_what_is_derived_may_be_lost(store: BlobStore, what: str) -> None:
    """The level of large frames is taken for the usual one then."""
    load_versions(store)
    store.optimize()
    path, before = store.path, names(store)
    store.close()
    for found in (path / "state").glob(what):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    with BlobStore.open(path) as again:
        assert names(again) == before
        assert_whole(again, *VERSIONS)
        assert again.optimize().packs == 0
        assert again.optimize(level=optimize.LEVEL + 1).packs == 1
        assert_whole(again, *VERSIONS)


def test_dead_chunks_in_frames_go(store: BlobStore) -> None:
    with store.session() as session:
        push(session, "stays", tar_of({"a": noise(1, 300_000)}))
        push(session, "goes", tar_of({"b": noise(2, 300_000)}))
        session.commit()
    remove(store, "goes")
    before = stored(store)
    done = store.optimize()
    assert 300_000 <= done.dead <= 310_000
    assert stored(store) < before - 290_000
    assert_whole(store, tar_of({"a": noise(1, 300_000)}))
    assert store.catalog.blob(Digest.of(tar_of({"b": noise(2, 300_000)}))) is None


def test_what_dies_in_an_optimized_pack_makes_it_worth_doing_again(store: BlobStore) -> None:
    load_versions(store)
    load(store, "little", layer(3, 20_000))
    store.optimize()
    remove(store, "little")
    assert store.optimize().packs == 0  # less than a twentieth
    remove(store, "version0")
    assert store.optimize().dead > 1_400_000
    assert_whole(store, *VERSIONS[1:])


def test_what_is_gone_altogether_leaves_nothing(store: BlobStore) -> None:
    load_versions(store)
    remove(store, *(f"version{number}" for number in range(3)))
    store.optimize()
    assert stored(store) < 10_000
    assert_whole(store)


def test_blobs_that_are_no_tar(store: BlobStore) -> None:
    load(store, "one", noise(1, 900_000), words(2, 900_000))
    store.optimize()
    assert read(store, Digest.of(noise(1, 900_000))) == noise(1, 900_000)
    assert_whole(store, words(2, 900_000))


def test_frames_of_all_sizes(store: BlobStore) -> None:
    """What memory is given decides on it; other stores and older readers take them all."""
    sizes = [optimize.manner(9, memory << 20).compression.frame_bytes >> 20 for memory in (64, 300, 512, 1024)]
    assert sizes == [4, 4, 8, 15]
    load(store, "one", tar_of({"large": noise(3, 16 << 20)}))
    store.optimize(level=1, memory=2 << 30)
    records = np.concatenate([store.packs.footer(pack.number).records for pack in store.catalog.packs(LIVE)])
    assert 14 << 20 < int(records["plain"].max()) <= layout.RECORD_LIMIT
    assert_whole(store, tar_of({"large": noise(3, 16 << 20)}))


def test_directories_beyond_the_bound_are_taken_as_they_come(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "DIRECTORIES", 2)
    data = tar_of({f"{number}/{number}": noise(number, 30_000) for number in range(8)})
    load(store, "one", data)
    store.optimize()
    assert_whole(store, data)


def test_sweeps_and_rounds_within_bounds(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The originals of a round are gone before the next one begins."""
    load_versions(store)
    small_rounds(monkeypatch)
    monkeypatch.setattr(optimize, "SWEEP_CHUNKS", 1)
    counts = []
    real = optimize._Optimization._round

    def watched(self: optimize._Optimization, group: list[object], *rest: object) -> None:
        counts.append((len(group), len(pack_files(store))))
        real(self, group, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(optimize._Optimization, "_round", watched)
    order = neighbours.Neighbours.order

    def known(self: neighbours.Neighbours, packs: list[PackRow]) -> object:
        assert all((self._keys[pack.number]["directory"] != NONE).sum() > 10 for pack in packs)  # of contents
        return order(self, packs)

    monkeypatch.setattr(neighbours.Neighbours, "order", known)
    assert store.optimize().packs == 3
    assert counts == [(1, 3)] * 3
    assert_whole(store, *VERSIONS)


def test_a_budget_that_is_used_up(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load_versions(store)
    before = stored(store)
    assert (store.optimize(budget=0).left, store.optimize(budget=0).packs, stored(store)) == (before, 0, before)
    monkeypatch.setattr(optimize, "FIRST_ROUND", 1)
    now = iter(range(10**6))
    monkeypatch.setattr(optimize.time, "monotonic", lambda: next(now))
    done = store.optimize(budget=6)
    monkeypatch.undo()
    assert (done.packs, done.problems) == (1, []) and 0 < done.left < before
    assert_whole(store, *VERSIONS)
    done = store.optimize(budget=3600)
    assert (done.packs, done.left) == (2, 0)
    assert_whole(store, *VERSIONS)


def test_rounds_grow_as_far_as_time_goes() -> None:
    clock = optimize._Clock(time.monotonic(), 3600)
    assert clock.next_round() == optimize.FIRST_ROUND
    clock.took(1 << 30, 3600)
    assert optimize.FIRST_ROUND < clock.next_round() <= 1 << 30
    clock.took(1 << 40, 1)
    assert clock.next_round() == optimize.ROUND_BYTES
    assert optimize._Clock(time.monotonic() - 10, 9).next_round() == 0
    assert optimize._Clock(0, None).next_round() == optimize.ROUND_BYTES


def test_damage_is_found_named_and_not_laundered(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load_versions(store)
    load(store, "bad", layer(5, 300_000))
    found, row = record_at(store, layout.CONTENT)
    flip(found, int(row["offset"]) + 1000)
    before = problems(store)
    done = store.optimize()
    assert len(done.problems) == 1 and "checksum" in done.problems[0] and found.name in done.problems[0]
    assert done.packs == 3 and found.exists()
    assert problems(store) == before  # the same chunks of the same blob
    assert read(store, Digest.of(VERSIONS[1])) == VERSIONS[1]
    size = stored(store)
    assert store.optimize().problems == done.problems and stored(store) == size
    remove(store, "version0")
    assert store.optimize().problems == []
    assert_whole(store, *VERSIONS[1:], layer(5, 300_000))


def test_a_chunk_that_is_not_what_its_id_says(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frame's checksum is right: a bit fell before it was stored, or falls while it is read."""
    load_versions(store)
    real = optimize.decode
    victim = min(store.catalog.packs(LIVE)).name

    def fallen(codec: int, data: bytes, plain: int, where: str) -> bytes:
        found = bytearray(real(codec, data, plain, where))
        if victim in where:
            found[plain // 2] ^= 4
        return bytes(found)

    monkeypatch.setattr(optimize, "decode", fallen)
    done = store.optimize()
    assert len(done.problems) == 1 and "other chunks than" in done.problems[0] and victim in done.problems[0]
    assert done.packs == 2
    assert victim in pack_files(store) and len(pack_files(store)) == 2  # nothing is left of the round that broke off
    monkeypatch.undo()
    assert_whole(store, *VERSIONS)


def damage_chunk(store: BlobStore, chunk_id: bytes) -> str:
    """A byte of the record that a chunk lies in; the pack's name."""
    for pack in store.catalog.packs(LIVE):
        footer = store.packs.footer(pack.number)
        at = np.flatnonzero((footer.ids == np.frombuffer(chunk_id, np.uint8)).all(axis=1))
        if len(at):
            flip(store.path / pack_path(pack.name), int(footer.records["offset"][footer.places["record"][at[0]]]))
            return pack.name
    raise AssertionError(chunk_id.hex())


def head_of(store: BlobStore, data: bytes) -> Head:
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    return store.head_of_row(row)


def test_a_damaged_recipe_keeps_everything(store: BlobStore) -> None:
    load_versions(store)
    damage_chunk(store, head_of(store, VERSIONS[0]).recipe[0][0])
    files = pack_files(store)
    assert "is damaged" in store.optimize().problems[0]
    assert pack_files(store) == files


def test_a_damaged_entry_table_keeps_its_pack(store: BlobStore) -> None:
    load_versions(store)
    name = damage_chunk(store, head_of(store, VERSIONS[0]).entry_blocks[0])
    done = store.optimize()
    assert len(done.problems) == 1 and name in done.problems[0] and done.packs == 2
    assert [read(store, Digest.of(data)) for data in VERSIONS] == VERSIONS


def test_a_reader_keeps_its_files(store: BlobStore, other: BlobStore) -> None:
    load_versions(store)
    with store.reading() as reading:
        reader = reading.fetch(describe(VERSIONS[0]))
        start = bytearray(1000)
        reader.readinto(memoryview(start))
        assert other.optimize().pending > 2_400_000
        assert bytes(start) + read_all(reader, 1 << 30) == VERSIONS[0]
        reader.close()
        assert read_all(reading.fetch(describe(VERSIONS[2])), 1 << 30) == VERSIONS[2]  # begun after its packs were condemned
    assert store.catalog.packs(CONDEMNED)
    assert store.optimize().packs_removed == 3
    assert_whole(store, *VERSIONS)


def test_not_beside_a_collection(store: BlobStore, other: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load_versions(store)
    real = optimize._Optimization._choose

    def choose(*args: object) -> object:
        for begin in (other.optimize, other.collect):
            with pytest.raises(Conflict, match="another collection or optimization is running"):
                begin()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(optimize._Optimization, "_choose", choose)
    assert store.optimize().packs == 3


@pytest.mark.parametrize("step", ["_marked", "_choose", "_fill", "_checkpoint", "_condemn", "after"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_at_each_step(
    store: BlobStore, other: BlobStore, monkeypatch: pytest.MonkeyPatch, step: str, keep: bool
) -> None:
    """A session that relies on a pack which is being replaced commits just before each step; so does one with a new image.

    With `keep` its chunks are live and written anew, without they are dead when they are marked.
    """
    shared = noise(1, 600_000)
    old, new = tar_of({"shared": shared, "old": noise(2, 100_000)}), tar_of({"shared": shared, "new": noise(3, 100_000)})
    kept = tar_of({"shared": shared}) if keep else layer(6)
    load(store, "old", old)
    load(store, "keep", kept)
    remove(store, "old")
    done: list[str] = []
    with store.session() as session:
        push(session, "new", new)

        def commit() -> None:
            if not done:
                done.append(step)
                session.commit()
                load(store, "later", layer(8))

        if step != "after":
            real = getattr(optimize._Optimization, step)

            def wrapped(*args: object) -> object:
                commit()
                return real(*args)

            monkeypatch.setattr(optimize._Optimization, step, wrapped)
        other.optimize()
        commit()
    assert done == [step]
    monkeypatch.undo()
    assert problems(store) == []
    store.optimize()
    store.collect(max_unused=0)
    assert store.usage().dead == 0
    assert_whole(store, new, layer(8), kept)
    assert set(names(store)) == {full("new"), full("keep"), full("later")}


@pytest.mark.parametrize("step", ["_choose", "_fill", "_checkpoint", "_condemn", "after"])
@pytest.mark.parametrize("how", ["raises", "dies"])
def test_one_that_ends_in_its_middle(store: BlobStore, monkeypatch: pytest.MonkeyPatch, step: str, how: str) -> None:
    """In its second round; `dies`: nothing is undone, as after kill -9.  The first round stays."""
    load_versions(store)
    small_rounds(monkeypatch)
    before, calls = pack_files(store), 0
    least = 1 if step in {"_choose", "after"} else 2

    class End(BaseException):
        pass

    def counted(real: object) -> object:
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == least:
                raise End
            return real(*args)  # type: ignore[operator]
        return call

    place, name = (store, "drop_pack_file") if step == "after" else (optimize._Optimization, step)
    monkeypatch.setattr(place, name, counted(getattr(place, name)))
    if how == "dies":
        monkeypatch.setattr(BlobStore, "drop_unpublished", lambda *_: None)
    with pytest.raises(End):
        store.optimize()
    monkeypatch.undo()
    assert leftovers(store) == []
    if how == "raises" and step != "after":
        assert len(before & pack_files(store)) == (3 if step == "_choose" else 2)
        assert len(pack_files(store)) == 3
    assert problems(store) == []
    assert len(names(store)) == 3
    assert store.optimize().left == 0
    assert store.optimize().packs == 0
    assert_whole(store, *VERSIONS)


def test_the_collector_keeps_what_the_optimizer_did(store: BlobStore) -> None:
    """Its copies lose the note, not the frames."""
    load_versions(store)
    load(store, "gone", tar_of({"zz": noise(40, 9_000_000)}))
    store.optimize()
    remove(store, "gone")
    assert store.collect(max_unused=0).bytes_freed > 3_000_000
    assert_whole(store, *VERSIONS)
    assert store.catalog.pack_levels() == {}
    store.optimize()
    assert store.optimize().packs == 0
    assert_whole(store, *VERSIONS)


def test_old_frames_are_not_read_over_and_over(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    load_versions(store)
    plain = sum(int(store.packs.footer(pack.number).records["plain"].sum()) for pack in store.catalog.packs(LIVE))
    read_bytes = 0
    real = Packs.stored

    def counted(self: Packs, number: int, record: int) -> tuple[np.void, bytes]:
        nonlocal read_bytes
        row, data = real(self, number, record)
        read_bytes += len(data)
        return row, data

    monkeypatch.setattr(Packs, "stored", counted)
    store.optimize()
    assert read_bytes < 2.5 * plain  # once to see that all is sound, once to rewrite


def test_memory_is_steady(tmp_path: Path) -> None:
    """160 MB that do not compress: with the rest more than the bound if they were kept."""
    with BlobStore.open(tmp_path) as store, store.session(compression="none") as session:
        for number in range(10):
            push(session, f"n{number}", noise(number, 16 << 20))
        session.commit()
    command = [sys.executable, "-m", "lamina", "--store", str(tmp_path), "optimize", "--level", "3", "--format", "json"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    peak = 0
    try:
        while True:
            try:
                process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, anonymous(process.pid))
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["Packs"] == 3
    finally:
        process.kill()
        process.communicate()
    print(f"{peak} MiB")
    assert 30 < peak < 240
