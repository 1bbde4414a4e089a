"""BLAKE3 of many inputs: fixed vectors, and the package as the reference, on every path of this machine."""

import ctypes
import mmap
from collections.abc import Iterator

import blake3
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native import cpu
from lamina._native.blake3many import hash_many

WAVE = 512 * 1024  # above this an input is hashed in parts
PATHS = ["portable", *(path for path in cpu.KERNELS["blake3"] if path in cpu.features())]

# The first 32 bytes of the official test vectors (test_vectors.json), whose inputs are 0, 1, ..., 250, 0, 1, ...
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    63: "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b",
    64: "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98",
    65: "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
    3073: "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
    5121: "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
    16384: "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
    31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}

Ids = npt.NDArray[np.uint8]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    cpu.force(request.param)
    assert cpu.selected()["blake3"] == request.param
    yield request.param
    cpu.force(None)


def vector_input(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def columns(rows: list[tuple[int, int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    both = np.array(rows, np.int64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def ids_of(data: bytes | memoryview, rows: list[tuple[int, int]]) -> Ids:
    return hash_many(data, *columns(rows))


def check(data: bytes | memoryview, rows: list[tuple[int, int]]) -> None:
    ids = ids_of(data, rows)
    assert ids.shape == (len(rows), 32)
    assert ids.dtype == np.dtype(np.uint8)
    for (at, size), found in zip(rows, ids, strict=True):
        assert found.tobytes() == blake3.blake3(data[at : at + size]).digest(), (at, size)


@pytest.fixture(scope="module")
def noise() -> bytes:
    return np.random.default_rng(11).bytes(4 << 20)


@pytest.mark.parametrize("size", VECTORS)
def test_vectors(path: str, size: int) -> None:
    assert ids_of(vector_input(size), [(0, size)]).tobytes().hex() == VECTORS[size]


def test_every_length_in_one_batch(path: str, noise: bytes) -> None:
    check(noise, [(at, at) for at in range(4201)])


def test_every_length_alone(path: str, noise: bytes) -> None:
    for size in [*range(0, 200), *range(960, 1100), *range(2040, 2056), *range(4080, 4110)]:
        check(noise, [(7, size)])


def test_every_number_of_chunks(path: str, noise: bytes) -> None:
    check(noise, [(chunks, chunks * 1024 + more) for chunks in range(1, 70) for more in (-1, 0, 1)])


def test_every_number_of_equal_inputs(path: str, noise: bytes) -> None:
    for count in range(40):
        check(noise, [(64 * i, 64) for i in range(count)])
        check(noise, [(3000 * i, 3000) for i in range(count)])


def test_inputs_around_a_wave_and_far_above(path: str, noise: bytes) -> None:
    sizes = [k * WAVE + more for k in (1, 2, 3, 4, 7) for more in (-1024, -1, 0, 1, 1024, 1025)]
    check(noise, [(3, size) for size in sizes])
    check(noise, [(9, 100), (0, len(noise)), (5, 3 * WAVE), (1, 5000)])


def test_waves_that_fill_to_the_last_place(path: str, noise: bytes) -> None:
    check(noise, [(0, 1)] * 511 + [(0, 1025), (3, 1)])
    check(noise, [(0, 1)] * 510 + [(0, 1025), (3, 1)])
    check(noise, [(i, 1025) for i in range(600)])


def test_random_batches(path: str, noise: bytes) -> None:
    rng = np.random.default_rng(12)
    for top in (64, 200, 1024, 5000, 40_000, 300_000):
        sizes = rng.integers(0, top, 300 if top < 40_000 else 30)
        check(noise, [(int(rng.integers(0, len(noise) - size)), int(size)) for size in sizes])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 130), st.integers(900, 1100), st.integers(0, 20_000)), max_size=40),
    st.sampled_from(PATHS),
)
def test_any_mixture(sizes: list[int], path: str) -> None:
    data = vector_input(30_000)
    cpu.force(path)
    try:
        check(data, [(i, size) for i, size in enumerate(sizes)])
    finally:
        cpu.force(None)


@pytest.fixture
def page() -> Iterator[memoryview]:
    """A page whose end nobody may pass: the next one is not readable, so that a read beyond ends the process."""
    size = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, 2 * size) as pages:
        pages[:size] = vector_input(size)
        handle = ctypes.c_char.from_buffer(pages, size)
        guard = ctypes.c_void_p(ctypes.addressof(handle))
        assert libc.mprotect(guard, size, 0) == 0
        view = memoryview(pages)[:size]
        yield view
        assert libc.mprotect(guard, size, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        view.release()
        del handle


def test_nothing_past_the_end_is_read(path: str, page: memoryview) -> None:
    for size in (0, 1, 63, 64, 65, 1000, 1024, 1025, 2047, 4000):
        for beside in (0, 1, 3, 7):
            check(page, [(0, 3000)] * beside + [(len(page) - size, size)] * 2)


def test_out_is_filled_and_returned() -> None:
    out = np.zeros((2, 32), np.uint8)
    assert hash_many(b"ab", *columns([(0, 1), (1, 1)]), out) is out
    assert out[1].tobytes() == blake3.blake3(b"b").digest()


def test_nothing_gives_nothing() -> None:
    none = np.empty(0, np.int64)
    assert hash_many(b"", none, none).shape == (0, 32)
    assert hash_many(b"", none, none, np.empty((0, 32), np.uint8)).shape == (0, 32)
    assert ids_of(b"", [(0, 0)])[0].tobytes() == blake3.blake3().digest()


@pytest.mark.parametrize("shape", [(1, 32), (3, 32), (2, 31), (2, 64)])
def test_an_out_of_another_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not \\(2, 32\\)"):
        hash_many(b"ab", *columns([(0, 1), (1, 1)]), np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 11), (10, 1), (11, 0), (2**63 - 1, 1), (1, 2**63 - 1)])
def test_rows_outside_the_buffer(offset: int, length: int) -> None:
    out = np.zeros((2, 32), np.uint8)
    with pytest.raises(ValueError, match="outside the 10 bytes"):
        hash_many(bytes(10), *columns([(0, 1), (offset, length)]), out)
    assert not out.any()


def test_columns_of_unequal_length() -> None:
    with pytest.raises(ValueError, match="2 offsets but 1 lengths"):
        hash_many(bytes(10), np.zeros(2, np.int64), np.zeros(1, np.int64))
