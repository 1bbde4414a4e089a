"""One blob over several connections: the same bytes in the same order, or one clear error."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest
from contracts.samples import describe

from lamina.content import Reader, Resumable
from lamina.content.verify import VerifyingReader, read_all
from lamina.errors import LaminaError, NotFound, RegistryError, RegistryUnavailable, SizeMismatch
from lamina.registry import ranges
from lamina.registry.target import RegistryTarget
from registry.fake import Fake
from registry.kit import NAME, target_of
from registry.server import Exchange

PIECE = 10_000
DATA = random.Random(6).randbytes(12 * PIECE + 17)
BLOB = describe(DATA)
GET = "/blobs/sha256:"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        fake.repositories[NAME.path].blobs[BLOB.digest] = DATA
        yield fake


@pytest.fixture
def target(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryTarget]:
    monkeypatch.setattr(ranges, "PIECE", PIECE)
    monkeypatch.setattr(ranges, "LEAST", len(DATA))
    with target_of(fake, connections=3) as target:
        yield target


def content(target: RegistryTarget) -> bytes:
    with VerifyingReader(target.fetch(BLOB), BLOB) as reader:
        return read_all(reader, BLOB.size)


def failing(reader: Reader, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_all(reader, BLOB.size)
    reader.close()


def asked(fake: Fake) -> list[str]:
    return sorted((str(one.headers.get("Range")) for one in fake.asked("GET", GET)), key=lambda text: (len(text), text))


def served(first: int, last: int, total: int | str = len(DATA), status: int = 206, **more: str) -> Callable[[Exchange], bool]:
    def hook(exchange: Exchange) -> bool:
        exchange.reply(status, {"Content-Range": f"bytes {first}-{last}/{total}"} | {
            name.replace("_", "-"): value for name, value in more.items()}, DATA[first : last + 1])
        return True
    return hook


@pytest.mark.parametrize("step", [1_000, 9_999, 64_000])
def test_in_order(fake: Fake, target: RegistryTarget, step: int) -> None:
    reader, found = target.fetch(BLOB), bytearray()
    assert isinstance(reader, Resumable) and not fake.asked("GET", GET)
    buffer = memoryview(bytearray(step))
    while count := reader.readinto(buffer):
        found += buffer[:count]
    reader.close()
    assert found == DATA
    assert asked(fake) == sorted((f"bytes={at}-{min(at + PIECE, len(DATA)) - 1}" for at in range(0, len(DATA), PIECE)),
                                 key=lambda text: (len(text), text))


@pytest.mark.parametrize("offset", [0, 1, PIECE, 55_555, len(DATA) - 1, len(DATA)])
def test_from_the_middle(target: RegistryTarget, offset: int) -> None:
    reader = target.fetch(BLOB)
    reader.start_at(offset)  # type: ignore[attr-defined]
    assert read_all(reader, BLOB.size) == DATA[offset:]
    reader.close()


def test_three_at_a_time_and_no_more(fake: Fake, target: RegistryTarget) -> None:
    barrier = threading.Barrier(3, timeout=10)  # Of fewer it would break, and the push with it.
    fake.fault("GET", GET, lambda exchange: barrier.wait() < 0, times=3)
    reader = target.fetch(BLOB)
    assert reader.readinto(memoryview(bytearray(1))) == 1
    reader.close()
    assert len(fake.asked("GET", GET)) == 3  # And what is read ahead is bounded.
    assert content(target) == DATA


def test_small_blobs_and_mirrors_have_one_connection(fake: Fake, target: RegistryTarget) -> None:
    small = DATA[:-1]
    fake.repositories[NAME.path].blobs[describe(small).digest] = small
    assert read_all(target.fetch(describe(small)), len(small)) == small
    with target_of(fake) as alone:
        assert content(alone) == DATA
    assert asked(fake) == ["None", "None"]


@pytest.mark.parametrize("after", [0, 1])
def test_a_registry_without_ranges(fake: Fake, target: RegistryTarget, after: int) -> None:
    fake.ranges = bool(after)
    fake.fault("GET", GET, lambda exchange: setattr(fake, "ranges", False), skip=3)
    assert content(target) == DATA


@pytest.mark.parametrize("piece", [0, 5, 12])
def test_a_cut(fake: Fake, target: RegistryTarget, piece: int) -> None:
    def cut(exchange: Exchange) -> bool:
        first, last = (int(text) for text in exchange.headers["Range"][6:].split("-"))
        exchange.raw(f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{len(DATA)}\r\n"
                     f"Content-Length: {last + 1 - first}\r\n\r\n".encode() + DATA[first : (first + last) // 2])
        exchange.cut()
        return True
    fake.fault("GET", GET, cut, times=1, skip=piece)
    assert content(target) == DATA


def test_patience_ends(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, lambda exchange: exchange.cut(), skip=5)
    failing(target.fetch(BLOB), RegistryUnavailable)
    assert len(fake.asked("GET", GET)) < 50


@pytest.mark.parametrize(("hook", "error"), [
    (served(1, 9_999), RegistryError), (served(0, 9_999, len(DATA) + 1), SizeMismatch),
    (served(0, 9_999, Content_Encoding="gzip"), RegistryError), (served(0, 0, status=404), NotFound),
    (served(0, 0, status=403), LaminaError)])
def test_what_is_wrong(fake: Fake, target: RegistryTarget, hook: Callable[[Exchange], bool], error: type[Exception]) -> None:
    fake.fault("GET", GET, hook)
    failing(target.fetch(BLOB), error)


def test_more_than_was_asked_for(fake: Fake, target: RegistryTarget) -> None:
    def longer(exchange: Exchange) -> bool:
        first, last = (int(text) for text in exchange.headers["Range"][6:].split("-"))
        return served(first, last + 1)(exchange)
    fake.fault("GET", GET, longer)
    failing(target.fetch(BLOB), RegistryError)


def test_a_range_in_parts(fake: Fake, target: RegistryTarget) -> None:
    """Fewer bytes than were asked for are good as far as they go."""
    def half(exchange: Exchange) -> bool:
        first, last = (int(text) for text in exchange.headers["Range"][6:].split("-"))
        return served(first, (first + last) // 2)(exchange)
    fake.fault("GET", GET, half, times=8)
    assert content(target) == DATA


def test_closed_early(target: RegistryTarget) -> None:
    reader = target.fetch(BLOB)
    assert reader.readinto(memoryview(bytearray(10))) == 10
    reader.close()
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("range")]
