"""Parts of a blob, by `narrow`, against slices of the whole: layers of all shapes, wherever the part begins and ends."""

from __future__ import annotations

import gzip
import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storekit import noise, tar_of, words

from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.oci import OCI_LAYER, Descriptor
from lamina.store import BlobStore, assemble
from lamina.store.blobstore import Reading

SHAPES = {
    "no tar": noise(1, 3_000_000),
    "gzip": gzip.compress(words(2, 9_000_000), 1, mtime=0),
    "one file": tar_of({"a": noise(3, 2_500_000)}),
    "tiny files": tar_of({f"{i}": b"%d" % i for i in range(3000)}),
    "empty files": tar_of({f"{i:099}": b"" for i in range(2000)}),
    "around 512": tar_of({f"{i}": noise(i, i) for i in range(490, 1100, 3)}),
    "around chunks": tar_of({f"{i}": noise(i, size) for i, size in enumerate((16383, 16384, 65536, 262143, 262144, 262145))}),
    "mixed": tar_of({f"{i}": noise(i, (i * 7919) % 200_000) for i in range(60)}),
    "the same again": tar_of({f"{i}": noise(5, 100_000) for i in range(50)}),
    "cut off": tar_of({"a": noise(6, 400_000), "b": noise(7, 400_000)})[:700_001],
    "tar and more": tar_of({"a": noise(8, 100_000)}) + noise(9, 900_000),
    "zeros": bytes(5_000_000),
}


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory):
    with BlobStore.open(tmp_path_factory.mktemp("ranges") / "store") as store:
        with store.session() as session:
            for data in SHAPES.values():
                blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
                session.push(blob, BytesReader(data))
                session.root(blob)
            session.commit()
        with store.reading() as reading:
            yield reading


def part(reading: Reading, data: bytes, start: int, stop: int, largest: int = 1 << 22) -> bytes:
    reader = reading.fetch_part(Digest.of(data), start, stop)
    try:
        assert reader.size == stop - start
        if largest >= 1 << 22:
            return bytes(read_all(reader, stop - start))
        rng, got = random.Random(start), bytearray()
        while True:
            buffer = bytearray(rng.randint(1, largest))
            count = reader.readinto(memoryview(buffer))
            if not count:
                return bytes(got)
            got += buffer[:count]
    finally:
        reader.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_first_last_and_all(reading: Reading, shape: str) -> None:
    data = SHAPES[shape]
    size = len(data)
    for start, stop in [(0, 1), (0, size), (size - 1, size), (1, size), (0, size - 1), (size // 2, size // 2 + 1), (511, 513),
                        (size // 3, size - size // 3)]:
        assert part(reading, data, start, stop) == data[start:stop], (start, stop)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SHAPES)), st.floats(0, 1), st.one_of(st.integers(1, 2000), st.integers(1, 6_000_000)),
       st.sampled_from([100, 5000, 300_000, 1 << 22]))
def test_any_part(reading: Reading, shape: str, begin: float, length: int, largest: int) -> None:
    data = SHAPES[shape]
    start = min(int(begin * len(data)), len(data) - 1)
    if largest == 100:
        length = min(length, 20_000)
    stop = min(start + length, len(data))
    assert part(reading, data, start, stop, largest) == data[start:stop]


@pytest.mark.parametrize("plan", [1, 1000, 70_000, 1 << 20])
@pytest.mark.parametrize("shape", ["mixed", "tiny files", "no tar", "zeros"])
def test_small_plans(reading: Reading, monkeypatch: pytest.MonkeyPatch, shape: str, plan: int) -> None:
    """The part begins, and ends, in whatever plan: also exactly where one ends."""
    monkeypatch.setattr(assemble, "PLAN", plan if plan > 1 else 4096)
    monkeypatch.setattr(assemble, "PIECES", 3 if plan == 1 else assemble.PIECES)
    data, rng = SHAPES[shape][:400_000] if plan == 1 else SHAPES[shape], random.Random(plan)
    whole = SHAPES[shape]
    step = max(plan, 4096)
    starts = {0, 1, step - 1, step, step + 1, 2 * step, rng.randrange(len(data))}
    for start in sorted(each for each in starts if each < len(data)):
        for length in {1, step, step + 1, rng.randrange(1, 100_000)}:
            stop = min(start + length, len(whole))
            assert part(reading, whole, start, stop) == whole[start:stop], (start, stop)


def test_nothing_is_left(reading: Reading) -> None:
    data, before = SHAPES["no tar"], set(threading.enumerate())
    held = reading.store.packs.frames
    for _ in range(3):
        reader = reading.fetch_part(Digest.of(data), 1000, len(data))
        reader.readinto(memoryview(bytearray(10)))
        reader.close()
        reading.fetch_part(Digest.of(data), 5, 100).close()
    assert set(threading.enumerate()) <= before
    assert part(reading, data, 7, len(data)) == data[7:]
    assert held is reading.store.packs.frames


def test_a_document(tmp_path: Path) -> None:
    from storekit import load

    with BlobStore.open(tmp_path / "store") as store:
        manifest = load(store, "it", tar_of({"a": b"1"}))
        text = store.document(manifest.digest)
        with store.reading() as reading:
            assert part(reading, text, 3, 30) == text[3:30]
