"""SHA-256 of several streams: hashlib as the reference, on every path of this machine and on their mixture."""

import ctypes
import hashlib
import mmap
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina._native import cpu
from lamina._native.sha256many import Sha256, update_many

# None: all the machine has, where the number of streams decides.
PATHS = [None, "portable", *(path for path in cpu.KERNELS["sha256"] if path in cpu.features())]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[str | None]:
    cpu.force(request.param)
    if request.param:
        assert cpu.selected()["sha256"] == request.param
    yield request.param
    cpu.force(None)


@pytest.fixture(scope="module")
def noise() -> memoryview:
    return memoryview(np.random.default_rng(21).bytes(1 << 20))


def check(pieces: list[memoryview]) -> None:
    states = [Sha256() for _ in pieces]
    update_many(states, pieces)
    for state, piece in zip(states, pieces, strict=True):
        assert state.digest() == hashlib.sha256(piece).digest(), len(piece)


# FIPS 180-2, appendix B, and the empty message.
@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_vectors(path: str | None, message: bytes, digest: str) -> None:
    one, two = Sha256(), Sha256()
    one.update(message)
    update_many([two], [message])
    assert one.hexdigest() == two.hexdigest() == digest


def test_it_looks_like_a_hashlib_object() -> None:
    for name in ("name", "digest_size", "block_size"):
        assert getattr(Sha256(), name) == getattr(hashlib.sha256(), name)


def test_every_length_alone(path: str | None, noise: memoryview) -> None:
    for size in [*range(301), *range((1 << 16) - 66, (1 << 16) + 67)]:
        one = Sha256()
        one.update(noise[1 : 1 + size])
        assert one.digest() == hashlib.sha256(noise[1 : 1 + size]).digest(), size


def test_every_length_together(path: str | None, noise: memoryview) -> None:
    check([noise[size : 2 * size] for size in range(301)])
    check([noise[at : at + size] for at, size in enumerate(range((1 << 16) - 66, (1 << 16) + 67))])


def test_every_number_of_streams(path: str | None, noise: memoryview) -> None:
    for count in [*range(35), 63, 64, 65, 128, 131]:
        check([noise[3 * i : 3 * i + 200] for i in range(count)])
        check([noise[i : i + 1000 + 64 * i] for i in range(count)])


def test_turns_of_many_long_and_unequal_pieces(path: str | None, noise: memoryview) -> None:
    """Above a turn of 8 KiB, so that streams leave the lanes and come back to other ones."""
    rng = np.random.default_rng(22)
    for count in (3, 5, 9, 17, 40):
        sizes = rng.integers(0, 80_000, count)
        check([noise[int(size) // 3 : int(size)] for size in sizes])
    check([noise[: 1 << 19], *(noise[i : 9000 + i] for i in range(20))])


def test_every_splitting_in_two(path: str | None, noise: memoryview) -> None:
    for size in (0, 1, 63, 64, 65, 127, 128, 129, 200):
        for at in range(size + 1):
            one = Sha256()
            one.update(noise[:at])
            one.update(noise[at:size])
            assert one.digest() == hashlib.sha256(noise[:size]).digest(), (size, at)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(st.one_of(st.integers(0, 130), st.integers(0, 20_000)), min_size=3, max_size=3),
        max_size=20,
    ),
    st.sampled_from(PATHS),
)
def test_any_splitting_of_any_mixture(rows: list[list[int]], path: str | None) -> None:
    """rows[i]: the lengths of the three pieces of stream i. The middle one goes in alone."""
    data = memoryview(bytes(range(251)) * 300)
    states = [Sha256() for _ in rows]
    cpu.force(path)
    try:
        update_many(states, [data[: row[0]] for row in rows])
        for state, row in zip(states, rows, strict=True):
            state.update(data[row[0] : row[0] + row[1]])
        update_many(states[::-1], [data[row[0] + row[1] : sum(row)] for row in reversed(rows)])
        assert [state.digest() for state in states] == [hashlib.sha256(data[: sum(row)]).digest() for row in rows]
    finally:
        cpu.force(None)


def test_paths_change_within_a_stream(noise: memoryview) -> None:
    states = [Sha256() for _ in range(20)]
    try:
        for turn, path in enumerate(PATHS * 2):
            cpu.force(path)
            update_many(states, [noise[turn * 1000 + i : turn * 1000 + i + 1000] for i in range(20)])
    finally:
        cpu.force(None)
    for i, state in enumerate(states):
        assert state.digest() == hashlib.sha256(noise[i : i + 1000 * len(PATHS) * 2]).digest()


def test_a_digest_changes_nothing(noise: memoryview) -> None:
    for size in (0, 55, 56, 63, 64, 119, 120):
        one = Sha256()
        one.update(noise[:size])
        assert one.digest() == one.digest() == bytes.fromhex(one.hexdigest())
        one.update(noise[size:300])
        assert one.digest() == hashlib.sha256(noise[:300]).digest()


def test_a_copy_goes_its_own_way(noise: memoryview) -> None:
    one = Sha256()
    one.update(noise[:100])
    other = one.copy()
    update_many([one, other], [noise[100:300], noise[500:600]])
    assert one.digest() == hashlib.sha256(noise[:300]).digest()
    assert other.digest() == hashlib.sha256(bytes(noise[:100]) + bytes(noise[500:600])).digest()


def test_a_length_in_bits_above_32_bits() -> None:
    """513 MiB from one small buffer. The count of bytes is one of 64 bits as that of bits is."""
    piece = bytes(27 << 20)
    one, same = Sha256(), hashlib.sha256()
    for _ in range(19):
        one.update(piece)
        same.update(piece)
    assert one.digest() == same.digest()


def test_any_buffer(noise: memoryview) -> None:
    array = np.frombuffer(noise, np.uint8)[:1000]
    for data in (array, bytearray(array), memoryview(array), array.tobytes(), mmap.mmap(-1, 1000)):
        one, two = Sha256(), Sha256()
        one.update(data)
        update_many([two], [data])
        assert one.digest() == two.digest() == hashlib.sha256(data).digest()


def test_nothing() -> None:
    update_many([], [])
    one = Sha256()
    update_many([one], [np.empty(0, np.uint8)])
    update_many((one,), (b"",))
    assert one.digest() == hashlib.sha256().digest()


@pytest.fixture
def page() -> Iterator[memoryview]:
    """A page whose end nobody may pass: the next one is not readable, so that a read beyond ends the process."""
    size = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, 2 * size) as pages:
        pages[:size] = bytes(range(256)) * (size // 256)
        handle = ctypes.c_char.from_buffer(pages, size)
        guard = ctypes.c_void_p(ctypes.addressof(handle))
        assert libc.mprotect(guard, size, 0) == 0
        view = memoryview(pages)[:size]
        yield view
        assert libc.mprotect(guard, size, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        view.release()
        del handle


def test_nothing_past_the_end_is_read(path: str | None, page: memoryview) -> None:
    for size in (0, 1, 63, 64, 65, 1000, 1024):
        for beside in (0, 1, 3, 7, 15):
            views = [page[:3000]] * beside + [page[len(page) - size :]] * 2
            check(views)
            for view in views:
                view.release()


def test_distinct_states_in_distinct_threads(noise: memoryview) -> None:
    def work(i: int) -> None:
        for _ in range(50):
            update_many(rows[i], [noise[i : i + 5000]] * 5)

    rows = [[Sha256() for _ in range(5)] for _ in range(4)]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, row in enumerate(rows):
        assert {state.digest() for state in row} == {hashlib.sha256(bytes(noise[i : i + 5000]) * 50).digest()}


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([b"x", b"y"], "3 states but 2 pieces"),
        ([b"x"] * 4, "3 states but 4 pieces"),
        ([b"x", b"y", "z"], "bytes-like"),
        ([b"x", None, b"z"], "bytes-like"),
        ([b"x", b"y", memoryview(b"abcdef")[::2]], "contiguous"),
        ([b"x", b"y", np.zeros((4, 4), np.uint8)[:, 1]], "contiguous"),
        (7, "not iterable"),
    ],
)
def test_a_wrong_piece_changes_no_state(pieces: list[bytes], error: str) -> None:
    states = [Sha256() for _ in range(3)]
    with pytest.raises((TypeError, ValueError, BufferError), match=error):
        update_many(states, pieces)
    assert {state.digest() for state in states} == {hashlib.sha256().digest()}
    update_many(states, [b"x"] * 3)
    assert {state.digest() for state in states} == {hashlib.sha256(b"x").digest()}


def test_a_buffer_is_given_back_after_an_error() -> None:
    data = bytearray(10)
    with pytest.raises(TypeError):
        update_many([Sha256(), Sha256()], [data, 1])  # type: ignore[list-item]
    data.append(1)  # BufferError while somebody holds it


def test_wrong_states() -> None:
    one = Sha256()
    with pytest.raises(ValueError, match="given twice"):
        update_many([one, Sha256(), one], [b"x"] * 3)
    for wrong in (hashlib.sha256(), None, {}):
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
            update_many([one, wrong], [b"x"] * 2)  # type: ignore[list-item]
    assert one.digest() == hashlib.sha256().digest()


@pytest.mark.parametrize("data", ["x", None, 5, [1, 2]])
def test_what_is_no_buffer(data: bytes) -> None:
    with pytest.raises(TypeError):
        Sha256().update(data)


def test_what_is_no_argument() -> None:
    with pytest.raises(TypeError):
        Sha256(b"x")  # type: ignore[call-arg]
