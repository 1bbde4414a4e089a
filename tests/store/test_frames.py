"""Frames in memory, and what reads them ahead: any bounds give the same bytes, each frame is read once, nobody hangs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storekit import EVERY, flip, load, noise, push, read, tar_of, words

from lamina.content.verify import read_all
from lamina.digest import Digest
from lamina.errors import DigestMismatch, SizeMismatch, StoreDamaged
from lamina.oci import OCI_LAYER, Descriptor
from lamina.store import BlobStore, assemble, frames, layout
from lamina.store.assemble import BlobReader, ReadAhead
from lamina.store.codec import Compression
from lamina.store.frames import Extent, Frame, Frames, Key
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE

FILES = {f"file{n}": (noise if n % 3 else words)(n, 30_000 * (n % 7) + 100 * n) for n in range(40)}
# The second takes up every third file of the first, in another order: frames of which a part is used, again and again.
OTHERS = {name: FILES[name] for name in [*FILES][::-3]} | {"own": words(99, 400_000)}
LAYERS = [tar_of(FILES), tar_of(OTHERS), tar_of({"a": b"b"})]


@pytest.fixture(scope="module", params=["none", "zstd:1"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path_factory.mktemp("frames") / "store") as store:
        for number, data in enumerate(LAYERS):
            with store.session(compression=request.param) as session:

                push(session, f"image{number}", data)
                session.commit()
        yield store


def blob(data: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER, Digest.of(data), len(data))


def ahead(store: BlobStore, data: bytes, index: object, wanted: Descriptor | None = None) -> ReadAhead:
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    reader = BlobReader(store.head_of_row(row), store.chunks(index), store.packs)  # type: ignore[arg-type]
    return ReadAhead(reader, wanted or blob(data))


def needed(store: BlobStore, data: bytes) -> set[Key]:
    """The frames of contents and segments that a layer needs."""
    row = store.catalog.blob(Digest.of(data))
    assert row is not None
    keys: set[Key] = set()
    with store.reading() as reading:
        chunks = store.chunks(reading.index)
        for block_id, *_ in store.head_of_row(row).recipe:
            block = assemble.Block.decode(chunks.chunk(block_id, ""), "")
            for ids in (block.content, block.segment):
                keys |= {(int(place[0]), int(place[1])) for place in chunks.places(ids, "")}
    return keys


@given(window=st.integers(1, 400_000), plan=st.integers(1, 2_000_000), pieces=st.integers(1, 200),
       limit=st.integers(1, 1 << 20), arena=st.sampled_from([1 << 16, 1 << 18, 1 << 20, 1 << 23]),
       extent=st.integers(1, 1 << 20), threads=st.integers(1, 3), depth=st.integers(1, 5), buffers=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_any_bounds_give_the_same_bytes(store: BlobStore, window: int, plan: int, pieces: int, limit: int, arena: int,
                                        extent: int, threads: int, depth: int, buffers: int) -> None:
    data = LAYERS[1]
    window, plan = max(window, len(data) // 300), max(plan, len(data) // 300)
    with (mock.patch.multiple(assemble, WINDOW=window, PLAN=plan, PIECES=pieces, FRAMES=limit, AHEAD=depth, BUFFERS=buffers),
          mock.patch.object(store.packs, "frames", Frames(store.packs, arena, extent, threads)), store.reading() as reading):
        reader = ahead(store, data, reading.index)
        assert read_all(reader, EVERY) == data
        reader.close()
        assert not held(store.packs.frames)


def held(all_frames: Frames) -> set[Extent]:
    """What somebody holds."""
    return {extent for extent, _ in all_frames._known.values()} - set(all_frames._idle)


def test_a_linear_read_reads_each_frame_once(store: BlobStore) -> None:
    for data in LAYERS[:2]:
        seen: Counter[Key] = Counter()
        mine = Frames(store.packs)
        fill = Frames._fill

        def counting(self: Frames, extent: Extent, seen: Counter[Key] = seen, fill: object = fill) -> None:
            seen.update(frame.key for frame in extent.frames)
            fill(self, extent)  # type: ignore[operator]

        with mock.patch.object(store.packs, "frames", mine), mock.patch.object(Frames, "_fill", counting):
            before = store.packs.bytes_read
            assert read(store, Digest.of(data)) == data
            got = store.packs.bytes_read - before
        assert seen == dict.fromkeys(needed(store, data), 1)
        stored = sum(int(store.packs.footer(number).records[record]["stored"]) for number, record in seen)
        assert stored <= got <= stored + len(seen) * frames.GAP + 100_000  # gaps, and the head and recipe


def test_several_readers_share_what_little_there_is(store: BlobStore) -> None:
    got: list[bool] = []

    def one(data: bytes) -> None:
        got.append(read(store, Digest.of(data)) == data)

    with mock.patch.object(store.packs, "frames", Frames(store.packs, 1 << 19)), mock.patch.object(assemble, "WINDOW", 100_000):
        threads = [threading.Thread(target=one, args=(LAYERS[number % 2],)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert got == [True] * 6
        assert not held(store.packs.frames)


def test_a_reader_that_is_closed_early_leaves_nothing(store: BlobStore) -> None:
    before = set(threading.enumerate())
    with (mock.patch.object(store.packs, "frames", Frames(store.packs)), mock.patch.object(assemble, "WINDOW", 50_000),
          store.reading() as reading):
        for count in (0, 1, 50_000, 200_000, len(LAYERS[0])):
            reader = ahead(store, LAYERS[0], reading.index)
            if count:
                assert reader.readinto(memoryview(bytearray(count))) > 0
            reader.close()
            reader.close()
            assert set(threading.enumerate()) <= before
            assert not held(store.packs.frames)
            assert reader.readinto(memoryview(bytearray(1))) == 0
        assert read(store, Digest.of(LAYERS[0])) == LAYERS[0]


def test_what_is_read_ahead_is_verified(store: BlobStore) -> None:
    data = LAYERS[0]
    with store.reading() as reading:
        for wanted, error in ((Digest.of(LAYERS[1]), DigestMismatch), (Digest.of(data, "sha512"), None)):
            reader = ahead(store, data, reading.index, Descriptor(OCI_LAYER, wanted, len(data)))
            for _ in range(2):
                if error is None:
                    assert read_all(reader, EVERY) in {data, b""}
                else:
                    with pytest.raises(error):
                        read_all(reader, EVERY)
            reader.close()
        for size in (len(data) - 1, len(data) + 1):
            reader = ahead(store, data, reading.index, Descriptor(OCI_LAYER, Digest.of(data), size))
            with pytest.raises(SizeMismatch, match=f"blob has {len(data)} bytes instead of {size}"):
                reader.readinto(memoryview(bytearray(1)))
            reader.close()


def test_damage_is_raised_where_the_blob_is_read_and_not_kept(tmp_path: Path) -> None:
    layers = [tar_of({"it": noise(seed, 6_000_000)}) for seed in (1, 2)]
    with BlobStore.open(tmp_path / "store") as store:
        for seed, data in enumerate(layers):
            load(store, f"image{seed}", data)
        number = next(number for number, _ in needed(store, layers[1]))
        footer = store.packs.footer(number)
        record = max(np.flatnonzero(footer.records["type"] == layout.CONTENT).tolist())  # the last one to be needed
        path = next(store.path / pack_path(pack.name) for pack in store.catalog.packs(LIVE) if pack.number == number)
        flip(path, int(footer.records[record]["offset"]))
        store.packs.forget(number)
        for _ in range(2):
            assert read(store, Digest.of(layers[0])) == layers[0]
            with store.reading() as reading:
                reader = reading.fetch(blob(layers[1]))
                assert isinstance(reader, ReadAhead)
                good = bytearray(1_000_000)
                assert reader.readinto(memoryview(good)) == len(good)  # what comes before it
                assert good == layers[1][: len(good)]
                for _ in range(2):
                    with pytest.raises(StoreDamaged, match=f"record {record} does not match its checksum"):
                        read_all(reader, EVERY)
                reader.close()
            assert not held(store.packs.frames)
        flip(path, int(footer.records[record]["offset"]))
        assert read(store, Digest.of(layers[1])) == layers[1]


def test_the_stages_are_told_of(store: BlobStore) -> None:
    told: Counter[str] = Counter()

    class Sink:
        def add(self, name: str, cpu_seconds: float, wall_seconds: float, bytes: int) -> None:
            assert cpu_seconds >= 0 and wall_seconds >= 0
            told[name] += bytes

    with mock.patch.object(store.packs, "frames", Frames(store.packs)), store.reading(Sink()) as reading:
        reader = reading.fetch(blob(LAYERS[0]))
        read_all(reader, EVERY)
        reader.close()
    assert told["weave"] == told["verify"] == len(LAYERS[0])
    assert told["read"] == told["check"] > 0


# -- frames alone, over a pack in memory -----------------------------------------------------------------------


class Disk:
    """One pack."""

    name, where = "packs/ab/abcd", "pack"

    def __init__(self, *plain: bytes, level: int = 1, gap: int = 32) -> None:
        self.bytes, self.frames, self.reads, self.stored = bytearray(), [], [], 0
        for record, data in enumerate(plain):
            codec, stored = Compression(level).encode(memoryview(data))
            self.bytes += bytes(gap)
            check = layout.checksum(stored)
            self.frames.append(Frame(7, record, len(self.bytes), len(stored), len(data), codec, check, "pack"))
            self.bytes += stored

    def handle(self, number: int) -> Disk:
        assert number == 7
        return self

    def count(self, stored: int) -> None:
        self.stored += stored

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        part = self.bytes[offset : offset + len(buffer)]
        self.reads.append((offset, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def views(all_frames: Frames, wanted: list[Frame], force: bool = True) -> list[bytes] | None:
    got = all_frames.hold(wanted, force=force, ahead=False)
    if got is None:
        return None
    try:
        return [extent.view(i).tobytes() for extent, i in got.places]
    finally:
        all_frames.release(got)


PLAIN = [words(1, 70_000), noise(2, 30_000), words(3, 200_000), b"x", noise(4, 100_000)]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("extent", "reads"), [(1, 5), (1 << 20, 1)])
def test_neighbours_are_read_together(level: int, extent: int, reads: int) -> None:
    disk = Disk(*PLAIN, level=level)
    mine = Frames(disk, extent=extent)  # type: ignore[arg-type]
    assert views(mine, disk.frames) == PLAIN
    assert views(mine, disk.frames[::2]) == PLAIN[::2]
    assert len(disk.reads) == reads
    mine.forget(8)
    assert len(disk.reads) == reads
    mine.forget(7)
    assert views(mine, disk.frames[1:3]) == PLAIN[1:3]
    assert len(disk.reads) > reads


def test_what_lies_apart_is_read_apart() -> None:
    disk = Disk(*PLAIN, gap=frames.GAP + 1)
    assert views(Frames(disk), disk.frames) == PLAIN  # type: ignore[arg-type]
    assert len(disk.reads) == len(PLAIN)
    disk = Disk(*PLAIN)
    assert views(Frames(disk), disk.frames[::-1]) == PLAIN[::-1]  # type: ignore[arg-type]


def test_the_one_used_longest_ago_goes_and_what_is_held_stays() -> None:
    disk = Disk(*(noise(seed, 60_000) for seed in range(4)), gap=frames.GAP + 1)
    a, b, c, d = disk.frames
    mine = Frames(disk, arena=3 << 16)  # type: ignore[arg-type]
    kept = mine.hold([a], force=False, ahead=False)
    assert kept is not None
    for wanted in (b, c, b, d):  # d takes the place of c
        assert views(mine, [wanted], force=False) is not None
    assert [extent.frames[0].record for extent in mine._idle] == [1, 3]
    both = mine.hold([b, c], force=False, ahead=False)
    assert both is not None
    assert views(mine, [d], force=False) is None  # no room
    assert views(mine, [d]) == [noise(3, 60_000)]  # not in the arena
    assert views(mine, [a, b, c], force=False) is not None
    mine.release(kept)
    mine.release(both)
    assert {extent.frames[0].record for extent in mine._idle} == {0, 1, 2}
    assert views(mine, [d], force=False) is not None


def test_a_frame_larger_than_the_arena() -> None:
    plain = [words(1, 300_000), noise(2, 300_000)]
    disk = Disk(*plain)
    mine = Frames(disk, arena=1 << 16)  # type: ignore[arg-type]
    for _ in range(2):
        assert views(mine, disk.frames, force=False) is None
        assert views(mine, disk.frames) == plain
    assert not mine._known


@pytest.mark.parametrize("level", [0, 1])
def test_a_damaged_frame_spoils_no_neighbour(level: int) -> None:
    disk = Disk(*PLAIN, level=level)
    disk.bytes[disk.frames[2].offset] ^= 1
    mine = Frames(disk)  # type: ignore[arg-type]
    got = mine.hold(disk.frames, force=True, ahead=False)
    assert got is not None
    for number, (extent, i) in enumerate(got.places):
        if number == 2:
            with pytest.raises(StoreDamaged, match="record 2 does not match its checksum"):
                extent.view(i)
        else:
            assert extent.view(i).tobytes() == PLAIN[number]
    mine.release(got)
    disk.bytes[disk.frames[2].offset] ^= 1
    assert views(mine, disk.frames) == PLAIN  # it was not kept


@pytest.mark.parametrize("change", [{"plain": 29_999}, {"plain": 30_001}, {"codec": 9}, {"codec": layout.ZSTD},
                                    {"stored": 10 ** 6}])
def test_frames_that_are_not_what_they_say(change: dict[str, int]) -> None:
    disk = Disk(noise(2, 30_000))
    with pytest.raises(StoreDamaged):
        views(Frames(disk), [disk.frames[0]._replace(**change)])  # type: ignore[arg-type]


def test_a_disk_that_cannot_be_read() -> None:
    disk = Disk(*PLAIN)
    mine = Frames(disk)  # type: ignore[arg-type]
    with mock.patch.object(Disk, "pread_into", side_effect=OSError("broken")), pytest.raises(OSError, match="broken"):
        views(mine, disk.frames)
    assert views(mine, disk.frames) == PLAIN


def test_what_nobody_waits_for_is_not_read() -> None:
    """A queue of one thread that stands still: its reader goes before the second extent's turn comes."""
    disk = Disk(*PLAIN, gap=frames.GAP + 1)
    mine = Frames(disk, threads=1)  # type: ignore[arg-type]
    begun, go_on = threading.Event(), threading.Event()
    pread = Disk.pread_into

    def slow(self: Disk, buffer: memoryview, offset: int) -> int:
        begun.set()
        go_on.wait(60)
        return pread(self, buffer, offset)

    with mock.patch.object(Disk, "pread_into", slow):
        mine.enter()
        first = mine.hold(disk.frames[:1], force=False, ahead=True)
        second = mine.hold(disk.frames[1:3], force=False, ahead=True)
        assert first is not None and second is not None
        begun.wait(60)
        mine.release(first)
        mine.release(second)
        go_on.set()
        mine.leave()
    assert len(disk.reads) == 1
    assert [extent.frames[0].record for extent in mine._idle] == [0]
    assert views(mine, disk.frames) == PLAIN


def test_one_after_another() -> None:
    before = set(threading.enumerate())
    disk = Disk(*PLAIN)
    disk.bytes[disk.frames[1].offset] ^= 1
    mine = Frames(disk, arena=1 << 18)  # type: ignore[arg-type]
    got = {frame.record: None if plain is None else bytes(np.asarray(plain)) for frame, plain in mine.each(disk.frames)}
    assert got == dict(enumerate(PLAIN)) | {1: None}
    for _ in mine.each(disk.frames):
        break
    assert set(threading.enumerate()) <= before
    assert not held(mine)
