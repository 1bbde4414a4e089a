"""The cutter against ten lines of Python; its golden cuts; its promises about sizes."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native import cdc
from lamina._native.cdc import MAX_SIZE, Cutter, mask

GEAR = [int.from_bytes(hashlib.sha256(b"lamina gear 1" + bytes([i])).digest()[:8], "little") for i in range(256)]
SIZES = (64, 128, 512)  # every chunk has its whole window, and a test many cuts of each sort

# SHA-256 over the i64 lengths of the default cutter for `generated(8 MiB)`. Stores on disk count on these cuts:
# if this changes, nothing that was stored before is found again.
GOLDEN = "40ae67c186023bc7af87cb66725d9a5525086ca80f37483a9f7a5e9b4e1f51e4"


def generated(size: int, seed: bytes = b"cuts") -> bytes:
    """Bytes that are the same everywhere, with no generator to trust but SHA-256."""
    blocks = (hashlib.sha256(seed + i.to_bytes(8, "little")).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def reference(data: bytes, small: int, average: int, large: int) -> list[int]:
    below, above = (mask(average.bit_length() - 1 + more) for more in (2, -2))
    cuts, at = [], 0
    while (left := len(data) - at) > 0:
        end, value = min(left, large), 0
        for length in range(small - 63, end if left > small else 0):  # the hash after `length` bytes
            value = (value << 1) + GEAR[data[at + length - 1]] & 2**64 - 1
            if length >= small and not value & (below if length < average else above):
                end = length
                break
        cuts.append(end)
        at += end
    return cuts


def hashes(data: bytes) -> npt.NDArray[np.uint64]:
    """The hash after every length, by the sum of its definition; what is before the data counts as nothing."""
    terms = np.array(GEAR, np.uint64)[np.frombuffer(data, np.uint8)]
    found = np.zeros(len(data) + 1, np.uint64)
    for k in range(64):
        found[k + 1 :] += terms[: len(data) - k] << np.uint64(k)
    return found


def cuts_by_sum(data: bytes, small: int, average: int, large: int) -> list[int]:
    """As `reference`, for megabytes."""
    values, bits, cuts, at = hashes(data), average.bit_length() - 1, list[int](), 0
    while (left := len(data) - at) > 0:
        end = min(left, large)
        lengths = np.arange(small, end)
        masks = np.where(lengths < average, np.uint64(mask(bits + 2)), np.uint64(mask(bits - 2)))
        hits = lengths[values[at + small : at + end] & masks == 0] if left > small else lengths[:0]
        cuts.append(int(hits[0]) if hits.size else end)
        at += cuts[-1]
    return cuts


def check(data: bytes, sizes: tuple[int, int, int] = SIZES) -> npt.NDArray[np.int64]:
    lengths = Cutter(*sizes).cut(data)
    assert lengths.dtype == np.dtype(np.int64)
    assert lengths.tolist() == reference(data, *sizes)
    return lengths


def test_the_default_cuts_are_for_ever() -> None:
    lengths = Cutter().cut(generated(8 << 20))
    assert hashlib.sha256(lengths.astype("<i8").tobytes()).hexdigest() == GOLDEN


def test_the_default_sizes() -> None:
    check(generated(1 << 20), (16384, 65536, 262144))


def test_masks() -> None:
    assert mask(1) == 1 << 12
    assert mask(2) == 1 << 12 | 1 << 41
    for bits in range(1, 27):
        assert mask(bits).bit_count() == bits
        assert mask(bits) & mask(bits - 1) == mask(bits - 1)
        assert mask(bits) >> 60 == mask(bits) & 0xFFF == 0


def test_random_bytes() -> None:
    lengths = check(generated(40_000))
    assert {lengths[:-1].min() < 128, lengths.max() > 128} == {True}


@pytest.mark.parametrize("value", [0, 1, 255])
def test_constant_bytes_are_cut_at_the_maximum(value: int) -> None:
    assert check(bytes([value]) * 2000).tolist() == [512, 512, 512, 464]


def test_two_values() -> None:
    rng = np.random.default_rng(3)
    check(rng.integers(0, 2, 8000, dtype=np.uint8).tobytes())


def test_periods() -> None:
    for period in (2, 3, 63, 64, 65, 100):
        check((generated(period) * (3000 // period + 1))[:3000])


def test_every_length_around_the_bounds() -> None:
    data = generated(1100)
    for size in [*range(131), *range(500, 530), *range(1020, 1100)]:
        check(data[:size])


def test_a_cut_at_every_distance() -> None:
    """A 64-byte window that cuts under both masks, moved through every place of a chunk."""
    noise = generated(1 << 16)
    hit = next(i for i in range(64, len(noise)) if len(reference(noise[i - 64 : i + 1], 64, 128, 512)) == 2)
    window = noise[hit - 64 : hit]
    for place in range(450):
        check(bytes(place) + window + bytes(600 - place))


def test_megabytes_of_every_kind() -> None:
    """Random, periodic and constant bytes, few values, and a program: where several places are scanned at once."""
    rng = np.random.default_rng(7)
    data = rng.bytes(500_000) + generated(4099) * 30 + bytes(100_000) + bytes(range(256)) * 200
    data += rng.integers(0, 3, 100_000, dtype=np.uint8).tobytes() + Path(cdc.__file__).read_bytes()[:400_000]
    for sizes in [(64, 4096, 65_536), (1000, 8192, 12_345), (16_384, 65_536, 262_144)]:
        assert Cutter(*sizes).cut(data).tolist() == cuts_by_sum(data, *sizes)


@pytest.fixture(scope="module")
def sparse() -> bytes:
    """A window that cuts under 16 bits, and so in the default sizes from the average on."""
    noise = generated(1 << 18)
    hit = int(np.flatnonzero(hashes(noise)[64:] & np.uint64(mask(16)) == 0)[0])
    return noise[hit : hit + 64]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9000), min_size=1, max_size=4), st.sampled_from([(64, 64), (64, 16384), (777, 16384)]))
def test_the_first_of_several_hits_is_the_cut(sparse: bytes, places: list[int], sizes: tuple[int, int]) -> None:
    """Among hits in the same or neighbouring stretches, in whatever order the scan comes upon them."""
    data = bytearray(b"\x01" * 9500)
    for place in places:
        data[place : place + 64] = sparse
    limits = (*sizes, 65_536)
    assert Cutter(*limits).cut(bytes(data)).tolist() == cuts_by_sum(bytes(data), *limits)


def test_a_cut_at_every_length_around_the_stretches(sparse: bytes) -> None:
    for place in [*range(130), *(1024 * k + more for k in range(1, 9) for more in range(-66, 3))]:
        data = b"\x01" * place + sparse + b"\x01" * (9000 - place)
        assert Cutter(64, 16384, 16384).cut(data)[0] == place + 64


@pytest.mark.parametrize("sizes", [(64, 64, 64), (64, 64, 1000), (65, 128, 129), (100, 256, 256), (256, 256, 8192)], ids=str)
def test_other_sizes(sizes: tuple[int, int, int]) -> None:
    check(generated(6000), sizes)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=1500), st.integers(1, 4))
def test_any_bytes(data: bytes, repeat: int) -> None:
    check(data * repeat)


def test_chunks_keep_to_the_bounds_and_near_the_average() -> None:
    data = np.random.default_rng(5).integers(0, 256, 32 << 20, dtype=np.uint8)
    lengths = Cutter().cut(data)
    assert lengths.sum() == data.size
    assert lengths[:-1].min() >= 16384
    assert lengths.max() <= 262144
    assert 60_000 < lengths.mean() < 90_000


def test_an_insertion_changes_few_chunks() -> None:
    data = generated(4 << 20)
    cutter = Cutter(1024, 4096, 16384)

    def chunks(content: bytes) -> set[bytes]:
        ends = np.cumsum(cutter.cut(content)).tolist()
        return {content[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)}

    before, after = chunks(data), chunks(data[: 1 << 20] + b"inserted" + data[1 << 20 :])
    assert len(after - before) < 8


def test_many_files_are_cut_as_each_alone() -> None:
    data = generated(30_000)
    offsets = np.array([0, 5, 5, 29_999, 30_000, 700, 12_000], np.int64)
    lengths = np.array([64, 9000, 0, 1, 0, 65, 18_000], np.int64)
    cutter = Cutter(*SIZES)
    rows, sizes = cutter.cut_many(data, offsets, lengths)
    assert [rows.dtype, sizes.dtype] == [np.dtype(np.uint32), np.dtype(np.int64)]
    expected = [
        (row, size)
        for row, (at, n) in enumerate(zip(offsets, lengths, strict=True))
        for size in cutter.cut(data[at : at + n]).tolist()
    ]
    assert list(zip(rows.tolist(), sizes.tolist(), strict=True)) == expected


def test_nothing_gives_nothing() -> None:
    none = np.empty(0, np.int64)
    assert Cutter().cut(b"").size == 0
    assert [column.size for column in Cutter().cut_many(b"", none, none)] == [0, 0]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 11), (10, 1), (11, 0), (2**63 - 1, 1), (1, 2**63 - 1)])
def test_files_outside_the_buffer(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="outside the 10 bytes"):
        Cutter().cut_many(bytes(10), np.array([0, offset], np.int64), np.array([1, length], np.int64))


def test_columns_of_unequal_length() -> None:
    with pytest.raises(ValueError, match="2 offsets but 1 lengths"):
        Cutter().cut_many(bytes(10), np.zeros(2, np.int64), np.zeros(1, np.int64))


@pytest.mark.parametrize(
    "sizes", [(63, 64, 64), (128, 64, 256), (64, 128, 127), (64, 128, MAX_SIZE + 1), (-1, 64, 64), (64, 96, 128)]
)
def test_sizes_that_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"does not hold|not a power of two"):
        Cutter(*sizes)


def test_sizes_are_told() -> None:
    cutter = Cutter(64, 128, MAX_SIZE)
    assert (cutter.min_size, cutter.avg_size, cutter.max_size) == (64, 128, MAX_SIZE)
