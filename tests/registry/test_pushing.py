"""Blobs go up whole and right, on from where they broke, or with one clear error and nothing left behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from contracts.samples import DrippingReader, FailingReader, describe

from lamina.content.verify import BytesReader
from lamina.errors import DigestMismatch, LaminaError, NotFound, RegistryError, RegistryUnavailable, SizeMismatch
from lamina.registry.target import RegistryTarget
from registry.fake import Fake
from registry.kit import NAME, Journal, Keys, target_of
from registry.server import Exchange, Server

PIECE = 10_000
DATA = random.Random(5).randbytes(10 * PIECE + 17)
BLOB = describe(DATA)
SMALL = DATA[: PIECE - 1]
UPLOADS = "/blobs/uploads/"


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.pushing.PIECE", PIECE)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        yield fake


@pytest.fixture
def target(fake: Fake) -> Iterator[RegistryTarget]:
    with target_of(fake) as target:
        yield target


def stored(fake: Fake, digest: str = BLOB.digest) -> bytes | None:
    return fake.repositories[NAME.path].blobs.get(digest)


def pieces(fake: Fake) -> list[str | None]:
    return [one.headers.get("Content-Range") for one in fake.asked("PATCH")]


def nothing_left(fake: Fake) -> bool:
    return not fake.sessions and not fake.repositories[NAME.path].blobs


def kept(fake: Fake, count: int, *, cut: bool = True) -> Callable[[Exchange], bool]:
    """A fault: the registry keeps `count` bytes of a piece; then the line breaks, or it says so."""
    def hook(exchange: Exchange) -> bool:
        session = fake.sessions[exchange.path.partition("?")[0].rpartition("/")[2]]
        session.data += exchange.read()[:count]
        if cut:
            exchange.cut()
        exchange.reply(202, fake._place(exchange.path.partition("?")[0].rpartition("/")[2]))
        return True
    return hook


def answer(status: int, **headers: str) -> Callable[[Exchange], bool]:
    def hook(exchange: Exchange) -> bool:
        exchange.read()
        exchange.reply(status, {name.replace("_", "-"): value for name, value in headers.items()})
        return True
    return hook


def cut(exchange: Exchange) -> None:
    exchange.read()
    exchange.cut()


# -- how it is sent


def test_a_small_blob_goes_whole(fake: Fake, target: RegistryTarget) -> None:
    target.push(describe(SMALL), BytesReader(SMALL))
    assert [one.method for one in fake.seen] == ["POST", "PUT"]


def test_a_large_blob_goes_in_pieces(fake: Fake, target: RegistryTarget) -> None:
    target.push(BLOB, DrippingReader(DATA, 777))
    assert stored(fake) == DATA
    assert pieces(fake) == [f"{at}-{min(at + PIECE, len(DATA)) - 1}" for at in range(0, len(DATA), PIECE)]
    assert [one.headers["Content-Length"] for one in fake.asked("PATCH")] == ["10000"] * 10 + ["17"]


@pytest.mark.parametrize("minimum", [PIECE, PIECE + 1, 3 * PIECE, len(DATA), 2 * len(DATA)])
def test_pieces_are_as_large_as_is_asked_for(fake: Fake, target: RegistryTarget, minimum: int) -> None:
    fake.chunk_min = minimum
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA
    assert all(int(one.headers["Content-Length"]) == max(minimum, PIECE) for one in fake.asked("PATCH")[:-1])


def test_pieces_have_a_greatest_size(fake: Fake, target: RegistryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.pushing.MAX_PIECE", 2 * PIECE)
    fake.fault("POST", UPLOADS, lambda exchange: setattr(fake, "chunk_min", 10**18))
    with pytest.raises(LaminaError):
        target.push(BLOB, BytesReader(DATA))
    assert {one.headers["Content-Length"] for one in fake.asked("PATCH")} == {str(2 * PIECE)}
    assert nothing_left(fake)


def test_a_stream_has_its_name_from_its_end(fake: Fake, target: RegistryTarget) -> None:
    for data in (DATA, SMALL, b"", DATA[: 2 * PIECE]):
        found = target.push_stream("text/plain", DrippingReader(data, 999))
        assert found == describe(data, "text/plain")
        assert stored(fake, found.digest) == data


def test_a_location_at_another_origin_gets_no_credentials(fake: Fake) -> None:
    fake.guard.kind = "basic"
    with Server(lambda exchange: (exchange.read(), exchange.reply(201))) as storage:  # type: ignore[arg-type, return-value]
        fake.fault("POST", UPLOADS, answer(202, Location=f"{storage.base}/put?X-Signature=presigned"), skip=1)
        with target_of(fake, keys=Keys("user", "secret")) as target:
            target.push(describe(SMALL), BytesReader(SMALL))
        assert [(one.method, one.path) for one in storage.seen] == [
            ("PUT", f"/put?X-Signature=presigned&digest={describe(SMALL).digest}")]
        assert "Authorization" not in storage.seen[0].headers


@pytest.mark.parametrize("location", [
    "", "file:///etc/passwd", "ftp://host/x", "gopher://x", "http://", "http://[::1", "x" * 20_000, "http://host:port/x"])
def test_a_location_that_is_none(fake: Fake, target: RegistryTarget, location: str) -> None:
    fake.fault("POST", UPLOADS, answer(202, Location=location))
    with pytest.raises(RegistryError):
        target.push(BLOB, BytesReader(DATA))


# -- what breaks


@pytest.mark.parametrize("arrived", [0, 1, 5_000, 9_999, 10_000])
@pytest.mark.parametrize("piece", [0, 4, 9])
def test_goes_on_within_a_piece(fake: Fake, target: RegistryTarget, piece: int, arrived: int) -> None:
    fake.fault("PATCH", UPLOADS, kept(fake, arrived), times=1, skip=piece)
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA
    again = 2 if arrived == 1 and not piece else 1  # "0-0" may be no byte or one.
    assert sum(one.size for one in fake.asked("PATCH")) == len(DATA) + again * PIECE - arrived


@pytest.mark.parametrize("arrived", [1, 5_000])
def test_goes_on_where_the_registry_took_less(fake: Fake, target: RegistryTarget, arrived: int) -> None:
    fake.fault("PATCH", UPLOADS, kept(fake, arrived, cut=False), times=1, skip=3)
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA


@pytest.mark.parametrize("status", [416, 500, 502, 503, 429])
def test_goes_on_after_a_refusal(fake: Fake, target: RegistryTarget, status: int) -> None:
    fake.fault("PATCH", UPLOADS, answer(status), times=2, skip=3)
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA


def test_a_lost_upload_ends_the_push(fake: Fake, target: RegistryTarget) -> None:
    """As docker-registry does it: after a torn piece it does not know the upload."""
    fake.stateful = True
    fake.fault("PATCH", UPLOADS, kept(fake, 5_000), times=1, skip=3)
    with pytest.raises(RegistryUnavailable, match="push again"):
        target.push(BLOB, BytesReader(DATA))
    assert stored(fake) is None
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA


def test_an_upload_that_went_back_ends_the_push(fake: Fake, target: RegistryTarget) -> None:
    def forget(exchange: Exchange) -> None:
        del next(iter(fake.sessions.values())).data[100:]
    fake.fault("PATCH", UPLOADS, forget, times=1, skip=3)
    with pytest.raises(RegistryUnavailable, match="push again"):
        target.push(BLOB, BytesReader(DATA))
    assert nothing_left(fake)  # Cancelled: the registry was asked to forget it.


@pytest.mark.parametrize(("reached", "said"), [
    ("0-40000", "more of an upload than was sent"), ("0-99999999", "more of an upload than was sent"),
    ("0-99999999999999999999999", "lost"), ("7-3", "lost"), ("bytes 0-1", "lost"), ("abc", "lost"), ("", "lost")])
def test_a_status_that_makes_no_sense(fake: Fake, target: RegistryTarget, reached: str, said: str) -> None:
    fake.fault("PATCH", UPLOADS, cut, times=1, skip=3)
    fake.fault("GET", UPLOADS, answer(204, Range=reached))
    with pytest.raises(RegistryError, match=said):
        target.push(BLOB, BytesReader(DATA))
    assert nothing_left(fake)


@pytest.mark.parametrize("count", [0, 1])
def test_an_upload_that_does_not_get_on(fake: Fake, target: RegistryTarget, count: int) -> None:
    fake.fault("PATCH", UPLOADS, kept(fake, count, cut=False), skip=3)
    with pytest.raises(RegistryUnavailable):
        target.push(BLOB, BytesReader(DATA))
    assert len(fake.asked("PATCH")) < 12


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["whole", "pieces"])
def test_the_last_word_is_lost_but_the_blob_is_there(fake: Fake, target: RegistryTarget, data: bytes) -> None:
    blob = describe(data)

    def arrives(exchange: Exchange) -> None:
        exchange.read()
        fake.repositories[NAME.path].blobs[blob.digest] = data
        exchange.cut()
    fake.fault("PUT", UPLOADS, arrives, times=1)
    target.push(blob, BytesReader(data))
    assert len(fake.asked("PUT")) == 1


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["whole", "pieces"])
def test_the_last_word_did_not_arrive(fake: Fake, target: RegistryTarget, data: bytes) -> None:
    fake.fault("PUT", UPLOADS, cut, times=1)
    target.push(describe(data), BytesReader(data))
    assert stored(fake, describe(data).digest) == data


# -- what is wrong


@pytest.mark.parametrize("data", [SMALL, DATA], ids=["whole", "pieces"])
def test_a_blob_that_was_stored_as_another(fake: Fake, target: RegistryTarget, data: bytes) -> None:
    fake.fault("PUT", UPLOADS, answer(201, Docker_Content_Digest=describe(b"x").digest))
    with pytest.raises(DigestMismatch):
        target.push(describe(data), BytesReader(data))


@pytest.mark.parametrize(("given", "error"), [
    (DATA[:-1] + bytes([DATA[-1] ^ 1]), DigestMismatch), (DATA[:-1], SizeMismatch), (DATA + b"\0", SizeMismatch)])
@pytest.mark.parametrize("journal", [False, True])
def test_wrong_bytes_are_no_blob(fake: Fake, given: bytes, error: type[Exception], journal: bool) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads if journal else None) as target, pytest.raises(error):
        target.push(BLOB, DrippingReader(given))
    assert nothing_left(fake)
    assert not fake.asked("PUT")
    assert not uploads.entries


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 500])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_refusals(fake: Fake, target: RegistryTarget, method: str, status: int) -> None:
    fake.fault(method, UPLOADS, answer(status))
    with pytest.raises(LaminaError) as caught:
        target.push(BLOB, BytesReader(DATA))
    assert "_state" not in str(caught.value) and "\n" not in str(caught.value)
    assert stored(fake) is None


# -- the journal


class Killed(BaseException):
    """The process ends here."""


def killed(*_: object) -> None:
    raise Killed


def test_goes_on_where_a_process_was_killed(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Journal()
    fake.stateful = True
    with target_of(fake, uploads=uploads) as target, monkeypatch.context() as patch, pytest.raises(Killed):
        put = uploads.put
        patch.setattr(uploads, "put", lambda key, value: put(key, value) if value["offset"] < 60_000 else killed())
        target.push(BLOB, BytesReader(DATA))
    assert uploads.log[-1]["offset"] == 50_000
    # The process was killed when the registry had the next piece, but before that was noted.
    fake.stateful = False
    with target_of(fake, uploads=uploads) as target:
        target.push(BLOB, DrippingReader(DATA))
    assert stored(fake) == DATA
    assert sum(one.size for one in fake.asked("PATCH")) == len(DATA)
    assert not uploads.entries


@pytest.mark.parametrize(("mark", "again"), [("layer x, gzip", False), ("", True)])
def test_a_marked_stream_goes_on_where_a_process_was_killed(fake: Fake, mark: str, again: bool) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target:
        fake.fault("PATCH", UPLOADS, cut, skip=4, times=10)
        fake.fault("GET", UPLOADS, cut, times=10)
        with pytest.raises(RegistryUnavailable):
            target.push_stream("text/plain", BytesReader(DATA), mark)
    fake._faults.clear()
    before = sum(one.size for one in fake.asked("PATCH"))
    with target_of(fake, uploads=uploads) as target:
        assert target.push_stream("text/plain", DrippingReader(DATA), mark) == describe(DATA, "text/plain")
    sent = sum(one.size for one in fake.asked("PATCH")) - before
    assert stored(fake) == DATA and sent == (len(DATA) if again else len(DATA) - 4 * PIECE)
    assert not uploads.entries


def test_another_stream_under_the_same_mark_is_no_blob(fake: Fake) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target, pytest.raises(OSError, match="cable"):
        target.push_stream("text/plain", FailingReader(DATA), "mark")
    assert uploads.entries
    with target_of(fake, uploads=uploads) as target:
        with pytest.raises(RegistryError):
            target.push_stream("text/plain", BytesReader(DATA[::-1]), "mark")
        assert not fake.repositories[NAME.path].blobs and not uploads.entries
        target.push_stream("text/plain", BytesReader(DATA[::-1]), "mark")
    assert stored(fake, describe(DATA[::-1]).digest) == DATA[::-1]


def test_keeps_an_upload_that_may_be_tried_again(fake: Fake) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target:
        fake.fault("PATCH", UPLOADS, cut, skip=3, times=10)
        fake.fault("GET", UPLOADS, cut, times=10)
        with pytest.raises(RegistryUnavailable):
            target.push(BLOB, BytesReader(DATA))
        assert uploads.entries and fake.sessions
    fake._faults.clear()
    sent = sum(one.size for one in fake.asked("PATCH"))
    with target_of(fake, uploads=uploads) as target:
        target.push(BLOB, BytesReader(DATA))
    assert sum(one.size for one in fake.asked("PATCH")) - sent == len(DATA) - 30_000
    assert stored(fake) == DATA


def test_keeps_an_upload_when_the_source_fails(fake: Fake) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target:
        with pytest.raises(OSError, match="cable"):
            target.push(BLOB, FailingReader(DATA))
        assert uploads.entries and fake.sessions
        target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA and not uploads.entries and not fake.sessions


def test_the_bytes_before_the_middle_are_verified_too(fake: Fake) -> None:
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target:
        with pytest.raises(OSError, match="cable"):
            target.push(BLOB, FailingReader(DATA))
        with pytest.raises(DigestMismatch):
            target.push(BLOB, BytesReader(b"\xff" + DATA[1:]))
    assert nothing_left(fake) and not uploads.entries


@pytest.mark.parametrize("entry", [
    {"location": "/v2/some/repo/blobs/uploads/gone"}, {"location": "http://127.0.0.1:1/x"}, {"location": "file:///etc/passwd"},
    {"location": 7}, {}, {"location": "", "minimum": "x"}])
def test_begins_again_where_the_journal_is_of_no_use(fake: Fake, entry: dict[str, object]) -> None:
    uploads = Journal()
    uploads.entries[f"{fake.base}/{NAME.path}@{BLOB.digest}"] = entry
    with target_of(fake, uploads=uploads) as target:
        target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA and not uploads.entries


def test_an_upload_with_more_than_the_blob_is_begun_again(fake: Fake) -> None:
    uploads = Journal()
    fake.fault("GET", UPLOADS, answer(204, Range=f"0-{len(DATA)}"))
    uploads.entries[f"{fake.base}/{NAME.path}@{BLOB.digest}"] = {"location": f"{fake.base}/v2/{NAME.path}/blobs/uploads/x"}
    with target_of(fake, uploads=uploads) as target:
        target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA


# -- mounts


def test_mounts_what_the_registry_has_elsewhere(fake: Fake, target: RegistryTarget) -> None:
    fake.repositories["base/image"].blobs[BLOB.digest] = DATA
    target.mount_from = lambda digest: ["none/here", NAME.path, "base/image"]
    assert target.exists(BLOB)
    assert stored(fake) == DATA
    assert not fake.asked("PATCH")
    assert not fake.asked("POST", NAME.path.replace("/", "%2F"))


def test_an_upload_that_was_begun_by_a_mount_is_used(fake: Fake, target: RegistryTarget) -> None:
    target.mount_from = lambda digest: ["none/here", "nor/here"]
    for data in (DATA, SMALL):
        assert not target.exists(describe(data))
        target.push(describe(data), BytesReader(data))
        assert stored(fake, describe(data).digest) == data
    assert len(fake.asked("POST")) == 4 and not fake.sessions


def test_few_mounts_are_tried(fake: Fake, target: RegistryTarget) -> None:
    target.mount_from = lambda digest: (f"repo/{number}" for number in range(1000))
    assert not target.exists(BLOB)
    assert len(fake.asked("POST")) == 3


@pytest.mark.parametrize("nonsense", [
    answer(201), answer(201, Docker_Content_Digest=describe(b"x").digest), answer(201, Docker_Content_Digest="nonsense"),
    answer(202), answer(202, Location="file:///x"), answer(200), answer(403), answer(404), answer(405)])
def test_nonsense_in_answer_to_a_mount(fake: Fake, target: RegistryTarget, nonsense: Callable[[Exchange], bool]) -> None:
    fake.fault("POST", "mount=", nonsense)
    target.mount_from = lambda digest: ["base/image"]
    assert not target.exists(BLOB)
    target.push(BLOB, BytesReader(DATA))
    assert stored(fake) == DATA


def test_a_mirror_is_not_pushed_to(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.repositories[NAME.path].blobs[BLOB.digest] = DATA
        assert not target.exists(BLOB)
        target.push(BLOB, BytesReader(DATA))
        assert stored(fake) == DATA
        assert not mirror.seen


def test_what_another_thread_removed_is_not_there(fake: Fake, target: RegistryTarget) -> None:
    target.push(BLOB, BytesReader(DATA))
    del fake.repositories[NAME.path].blobs[BLOB.digest]
    assert not target.exists(BLOB)
    with pytest.raises(NotFound):
        target.fetch(BLOB).readinto(memoryview(bytearray(10)))


def test_two_pushes_of_one_blob_do_not_write_to_one_upload(fake: Fake) -> None:
    """The second one begins while the first is under way: it must not go on with the other's upload."""
    uploads = Journal()
    with target_of(fake, uploads=uploads) as target:
        blob = describe(DATA)

        class Meanwhile(BytesReader):
            """After half of it, somebody else pushes the whole."""

            def readinto(self, buffer: memoryview, /) -> int:
                if len(uploads.log) == 5:
                    uploads.log.append({})
                    target.push(blob, BytesReader(DATA))
                return super().readinto(buffer)

        target.push(blob, Meanwhile(DATA))
        assert len(uploads.log) > 5 and stored(fake) == DATA
        assert not uploads.entries and not uploads.claimed
