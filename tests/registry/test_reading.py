"""Blobs come whole and right, or with one clear error, whatever the registry does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from contracts.samples import describe

from lamina.content import Resumable
from lamina.content.verify import VerifyingReader, read_all
from lamina.errors import DigestMismatch, LaminaError, NotFound, RegistryError, RegistryUnavailable, SizeMismatch
from lamina.mediatypes import OCI_LAYER
from lamina.oci import Descriptor
from lamina.registry.target import RegistryTarget
from registry.fake import Fake, serve
from registry.kit import NAME, Keys, target_of
from registry.server import Exchange, Server

DATA = random.Random(4).randbytes(300_000)
BLOB = describe(DATA)
GET = "/blobs/sha256:"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        fake.repositories[NAME.path].blobs[BLOB.digest] = DATA
        yield fake


@pytest.fixture
def target(fake: Fake) -> Iterator[RegistryTarget]:
    with target_of(fake) as target:
        yield target


def content(target: RegistryTarget, blob: Descriptor = BLOB) -> bytes:
    with VerifyingReader(target.fetch(blob), blob) as reader:
        return read_all(reader, blob.size)


def ranges(fake: Fake) -> list[str | None]:
    """The Range of each GET of a blob."""
    return [one.headers.get("Range") for one in fake.asked("GET", GET)]


def answer(body: bytes, status: int = 200, **headers: str) -> Callable[[Exchange], bool]:
    """A fault that answers so, whatever was asked; `_` in a header's name stands for `-`."""
    def hook(exchange: Exchange) -> bool:
        exchange.reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return True
    return hook


def cut_after(count: int, data: bytes = DATA) -> Callable[[Exchange], bool]:
    """A fault that serves what was asked, but breaks off after `count` bytes of the body."""
    def hook(exchange: Exchange) -> bool:
        first = int(exchange.headers.get("Range", "bytes=0-")[6:-1])
        total = len(data)
        head = f"206 Partial Content\r\nContent-Range: bytes {first}-{total - 1}/{total}" if first else "200 OK"
        exchange.raw(f"HTTP/1.1 {head}\r\nContent-Length: {total - first}\r\n\r\n".encode() + data[first : first + count])
        exchange.cut()
        return True
    return hook


# -- how it is asked


def test_nothing_is_asked_for_bytes_before_the_first_read(fake: Fake, target: RegistryTarget) -> None:
    target.fetch(BLOB).close()
    assert [one.method for one in fake.seen] == ["HEAD"]
    assert content(target) == DATA
    # What is known to be there is not asked for again.
    assert [one.method for one in fake.seen] == ["HEAD", "GET"]


def test_what_is_not_there_is_said_at_once(target: RegistryTarget) -> None:
    with pytest.raises(NotFound):
        target.fetch(describe(b"something else"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_head_says_that_it_is_there(fake: Fake, target: RegistryTarget, status: int) -> None:
    fake.fault("HEAD", GET, answer(b"", status, Location="http://127.0.0.1:1/signed-for-get-only"))
    assert content(target) == DATA


@pytest.mark.parametrize("offset", [0, 1, 150_000, 299_999, 300_000])
def test_begins_in_the_middle(fake: Fake, target: RegistryTarget, offset: int) -> None:
    reader = target.fetch(BLOB)
    assert isinstance(reader, Resumable)
    reader.start_at(offset)
    assert read_all(reader, BLOB.size) == DATA[offset:]
    reader.close()
    assert ranges(fake) == ([] if offset == len(DATA) else [f"bytes={offset}-" if offset else None])


@pytest.mark.parametrize("offset", [-1, 300_001])
def test_begins_nowhere_else(target: RegistryTarget, offset: int) -> None:
    with pytest.raises(ValueError, match="cannot start"):
        target.fetch(BLOB).start_at(offset)  # type: ignore[attr-defined]


def test_bytes_from_another_origin_are_asked_for_without_credentials(fake: Fake, target: RegistryTarget) -> None:
    with Server(lambda exchange: serve(exchange, DATA)) as storage:
        fake.elsewhere = storage.base
        fake.guard.kind = "basic"
        with target_of(fake, keys=Keys("user", "secret")) as known:
            assert content(known) == DATA
        assert [one.headers.get("Authorization") for one in storage.seen] == [None]
        assert fake.asked("GET", GET)[-1].headers["Authorization"]


# -- what breaks


@pytest.mark.parametrize("tenth", range(10))
def test_goes_on_after_a_cut(fake: Fake, target: RegistryTarget, tenth: int) -> None:
    at = len(DATA) * tenth // 10
    fake.fault("GET", GET, cut_after(at), times=1)
    assert content(target) == DATA
    assert ranges(fake) == [None, f"bytes={at}-" if at else None]


def test_goes_on_after_many_cuts(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, cut_after(30_000))
    assert content(target) == DATA
    assert ranges(fake) == [None] + [f"bytes={at}-" for at in range(30_000, 300_000, 30_000)]


@pytest.mark.parametrize("count", [0, 1])
def test_patience_ends_where_nothing_comes(fake: Fake, target: RegistryTarget, count: int) -> None:
    fake.fault("GET", GET, cut_after(count))
    with pytest.raises(RegistryUnavailable):
        content(target)
    assert len(fake.asked("GET", GET)) < 12


def test_a_cut_of_a_registry_without_ranges(fake: Fake, target: RegistryTarget) -> None:
    fake.ranges = False
    fake.fault("GET", GET, cut_after(100_000), times=1)
    assert content(target) == DATA


def test_a_range_that_is_refused_is_had_by_the_whole(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, cut_after(100_000), times=1)
    fake.fault("GET", GET, answer(b"", 416), times=1, skip=1)
    assert content(target) == DATA
    assert ranges(fake) == [None, "bytes=100000-", None]


def test_a_blob_that_is_shorter_says_416(fake: Fake, target: RegistryTarget) -> None:
    blob = Descriptor(OCI_LAYER, BLOB.digest, BLOB.size + 1000)
    reader = target.fetch(blob)
    reader.start_at(BLOB.size)  # type: ignore[attr-defined]
    with pytest.raises(SizeMismatch):
        read_all(reader, blob.size)
    reader.close()


def test_a_blob_that_vanishes(fake: Fake, target: RegistryTarget) -> None:
    reader = target.fetch(BLOB)
    del fake.repositories[NAME.path].blobs[BLOB.digest]
    with pytest.raises(NotFound):
        read_all(reader, BLOB.size)
    reader.close()


def test_a_blob_that_vanishes_in_the_middle(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, cut_after(100_000), times=1)
    fake.fault("GET", GET, answer(b"{}", 404), skip=1)
    with pytest.raises(NotFound):
        content(target)


# -- what is wrong


@pytest.mark.parametrize("body", [DATA + b"\0", DATA * 2], ids=["+1", "x2"])
@pytest.mark.parametrize("announced", [True, False])
def test_too_long(fake: Fake, target: RegistryTarget, body: bytes, announced: bool) -> None:
    headers = {} if announced else {"Transfer_Encoding": "chunked"}
    fake.fault("GET", GET, answer(body if announced else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), **headers))
    reader = target.fetch(BLOB)
    for _ in range(2):  # What has failed goes on failing.
        with pytest.raises(SizeMismatch):
            read_all(reader, BLOB.size + 1)
    reader.close()


@pytest.mark.parametrize("length", [0, 1, 299_999])
@pytest.mark.parametrize("announced", [True, False])
def test_too_short(fake: Fake, target: RegistryTarget, length: int, announced: bool) -> None:
    def short(exchange: Exchange) -> bool:
        exchange.raw(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n" % length if announced else b"")
                     + b"Connection: close\r\n\r\n" + DATA[:length])
        exchange.cut()
        return True
    fake.fault("GET", GET, short)
    with pytest.raises(RegistryUnavailable):
        content(target)


def test_wrong_bytes_are_found_by_who_verifies(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, answer(DATA[::-1]))
    with pytest.raises(DigestMismatch):
        content(target)


@pytest.mark.parametrize("given", [
    "bytes 99999-299999/300000", "bytes 100001-299999/300000", "bytes 0-299999/300000", "bytes 100000-99999/300000",
    "bytes 100000-/300000", "bytes 1e5-299999/300000", "100000-299999", "", "bytes 100000-299999/12345678901234567890"])
def test_another_range_than_was_asked_for(fake: Fake, target: RegistryTarget, given: str) -> None:
    fake.fault("GET", GET, answer(DATA[100_000:], 206, Content_Range=given))
    reader = target.fetch(BLOB)
    reader.start_at(100_000)  # type: ignore[attr-defined]
    with pytest.raises(RegistryError, match="another range"):
        read_all(reader, BLOB.size)
    reader.close()


@pytest.mark.parametrize("given", ["bytes 100000-300000/300001", "bytes 100000-299999/300001", "bytes 100000-300000/*"])
def test_a_range_of_something_longer(fake: Fake, target: RegistryTarget, given: str) -> None:
    fake.fault("GET", GET, answer(DATA[100_000:] + b"\0", 206, Content_Range=given))
    reader = target.fetch(BLOB)
    reader.start_at(100_000)  # type: ignore[attr-defined]
    with pytest.raises(SizeMismatch):
        read_all(reader, BLOB.size)
    reader.close()


def test_a_range_that_was_not_asked_for(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, answer(DATA[1:], 206, Content_Range="bytes 1-299999/300000"))
    with pytest.raises(RegistryError):
        content(target)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity"])
def test_another_encoding(fake: Fake, target: RegistryTarget, coding: str) -> None:
    fake.fault("GET", GET, answer(DATA, Content_Encoding=coding))
    with pytest.raises(RegistryError, match="encoding"):
        content(target)


def test_html(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", GET, answer(b"<html>".ljust(len(DATA)), Content_Type="text/html; charset=utf-8"))
    with pytest.raises(RegistryError, match="not a registry"):
        content(target)


@pytest.mark.parametrize("status", [400, 403, 410, 500, 503])
def test_refusals(fake: Fake, target: RegistryTarget, status: int) -> None:
    fake.fault("GET", GET, answer(b'{"errors":[{"code":"DENIED","message":"no"}]}', status))
    with pytest.raises(LaminaError) as caught:
        content(target)
    assert "\n" not in str(caught.value)


# -- mirrors


def test_a_mirror_is_read_first(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.repositories[NAME.path].blobs[BLOB.digest] = DATA
        assert content(target) == DATA
        assert not fake.seen


def test_what_a_mirror_has_not_comes_from_the_registry(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        assert content(target) == DATA
        assert mirror.seen and not mirror.asked("GET", GET)


def test_a_mirror_that_breaks_off_is_left_in_the_middle(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.repositories[NAME.path].blobs[BLOB.digest] = DATA
        mirror.fault("GET", GET, cut_after(100_000), times=1)
        mirror.fault("GET", GET, answer(b"", 503), skip=1)
        assert content(target) == DATA
        assert ranges(fake) == ["bytes=100000-"]


def test_a_mirror_that_is_down_is_asked_once(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.fault("", "", lambda exchange: exchange.cut())
        other = DATA[1:]
        fake.repositories[NAME.path].blobs[describe(other).digest] = other
        assert content(target) == DATA
        before = len(mirror.seen)
        assert content(target, describe(other)) == other
        assert len(mirror.seen) == before


