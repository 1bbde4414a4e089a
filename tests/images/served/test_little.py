"""Little blobs: one session for those that come together, each with its own outcome, and nothing lost among them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from store.storekit import leftovers, tar_of

from lamina.content.verify import BytesReader, read_all
from lamina.digest import Digest
from lamina.errors import StorageError
from lamina.images.served import little
from lamina.images.served.contents import StoreContents
from lamina.images.served.little import KEPT, LITTLE, TOGETHER, Little
from lamina.registry.server.refusal import Refusal
from lamina.store import BlobStore
from lamina.store.index import ChunkIndex
from lamina.store.session import Session

WAIT = 30.0


def data_of(number: int, size: int = 500) -> bytes:
    return (b'{"number": %d, "text": "' % number).ljust(size - 2, b"x") + b'"}'


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, store: BlobStore) -> list[Session]:
    """Those that are begun."""
    made: list[Session] = []
    true = store.session

    def session(**options: Any) -> Session:
        made.append(true(**options))
        return made[-1]

    monkeypatch.setattr(store, "session", session)
    return made


class Together:
    """Holds the first batch until so many wait behind it."""

    def __init__(self, made: Little, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        true = made._commit

        def commit(batch: list[Any]) -> None:
            if not self.batches:
                self.batches.append(len(batch))
                for _ in range(1000):
                    if len(made._waiting) >= count:
                        break
                    threading.Event().wait(0.01)
            else:
                self.batches.append(len(batch))
            true(batch)

        monkeypatch.setattr(made, "_commit", commit)


def put_all(made: Little, blobs: list[bytes], name: Callable[[int], str] = lambda number: "one") -> list[BaseException | None]:
    """All at the same time; what each met with."""
    def put(number: int) -> BaseException | None:
        try:
            made.put(name(number), Digest.of(blobs[number]), blobs[number])
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(len(blobs)) as pool:
        return list(pool.map(put, range(len(blobs))))


def test_alone(store: BlobStore, sessions: list[Session]) -> None:
    made = Little(store, "zstd:1")
    for number in range(3):
        made.put("one", Digest.of(data_of(number)), data_of(number))
        assert store.catalog.links.has("one", Digest.of(data_of(number)))
    assert len(sessions) == 3 and leftovers(store) == [] and store.verify().problems == []


def test_those_that_wait_share_a_session(store: BlobStore, sessions: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    made = Little(store, "zstd:1")
    together = Together(made, 19, monkeypatch)
    blobs = [data_of(number) for number in range(20)]
    assert put_all(made, blobs, lambda number: f"name{number % 3}") == [None] * 20
    assert together.batches == [1, 19] and len(sessions) == 2
    for number, data in enumerate(blobs):
        assert store.catalog.links.has(f"name{number % 3}", Digest.of(data))
        row = store.catalog.blob(Digest.of(data))
        assert row is not None
        with store.reading() as reading:
            assert read_all(store.reader_of_row(row, reading.index), 1000) == data
    assert leftovers(store) == [] and store.verify().problems == []


def test_no_more_than_so_many_at_once(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(little, "TOGETHER", 4)
    made = Little(store, "zstd:1")
    together = Together(made, 10, monkeypatch)
    assert put_all(made, [data_of(number) for number in range(11)]) == [None] * 11
    assert together.batches == [1, 4, 4, 2]


def test_the_same_blob_from_many(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Little(store, "zstd:1")
    Together(made, 5, monkeypatch)
    assert put_all(made, [data_of(1)] * 6, lambda number: f"name{number}") == [None] * 6
    assert all(store.catalog.links.has(f"name{number}", Digest.of(data_of(1))) for number in range(6))
    assert store.verify().problems == []


def test_what_is_there_needs_no_session(store: BlobStore, sessions: list[Session]) -> None:
    made = Little(store, "zstd:1")
    for name in ("one", "two"):
        made.put(name, Digest.of(data_of(1)), data_of(1))
    assert len(sessions) == 1 and store.catalog.links.has("two", Digest.of(data_of(1)))


def test_another_digest(store: BlobStore, sessions: list[Session]) -> None:
    with pytest.raises(Refusal, match="has the digest"):
        Little(store, "zstd:1").put("one", Digest.of(b"another"), b"this")
    assert sessions == []


@pytest.mark.parametrize("algorithm", ["sha512", "sha384"])
def test_other_digests(store: BlobStore, algorithm: str) -> None:
    digest = Digest.of(data_of(1), algorithm)
    Little(store, "zstd:1").put("one", digest, data_of(1))
    assert store.catalog.links.has("one", digest)


def test_what_one_meets_with_is_not_the_others_fault(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Little(store, "zstd:1")
    Together(made, 7, monkeypatch)
    true = Session.intake
    bad = Digest.of(data_of(5))

    def intake(self: Session, *args: Any, **options: Any) -> Any:
        if options["expect"] == bad:
            raise StorageError("no", "here")
        return true(self, *args, **options)

    monkeypatch.setattr(Session, "intake", intake)
    found = put_all(made, [data_of(number) for number in range(8)])
    assert [number for number, error in enumerate(found) if error is not None] == [5]
    assert isinstance(found[5], StorageError)
    assert store.catalog.blob(bad) is None and store.verify().problems == [] and leftovers(store) == []


def test_after_a_failure_others_come_through(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Little(store, "zstd:1")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", lambda self: (_ for _ in ()).throw(StorageError("full", "here")))
        assert [type(each) for each in put_all(made, [data_of(number) for number in range(4)])] == [StorageError] * 4
    made.put("one", Digest.of(data_of(9)), data_of(9))
    assert store.catalog.links.has("one", Digest.of(data_of(9))) and leftovers(store) == []


def test_many_at_once(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Little(store, "zstd:1")
    alone, true, crowded = threading.Lock(), made._commit, []

    def commit(batch: list[Any]) -> None:
        if not alone.acquire(blocking=False):
            crowded.append(len(batch))
            return
        try:
            true(batch)
        finally:
            alone.release()

    monkeypatch.setattr(made, "_commit", commit)
    with ThreadPoolExecutor(16) as pool:
        for wave in pool.map(lambda number: made.put("one", Digest.of(data_of(number)), data_of(number)), range(100)):
            assert wave is None
    assert all(store.catalog.links.has("one", Digest.of(data_of(number))) for number in range(100))
    assert crowded == [] and not made._busy and made._waiting == [] and store.verify().problems == []


def test_configs_are_kept_for_their_manifest_and_no_more(store: BlobStore) -> None:
    made = Little(store, "zstd:1")
    config, layer = data_of(1), tar_of({"a": b"b"})
    for each in (config, layer):
        made.put("one", Digest.of(each), each)
    assert made.recent(Digest.of(config)) == config and made.recent(Digest.of(layer)) is None
    for number in range(KEPT // LITTLE + 10):
        made._remember(Digest.of(b"%d" % number), data_of(number, LITTLE))
    assert made.recent(Digest.of(config)) is None
    assert sum(map(len, made._recent.values())) == made._held <= KEPT


def test_a_session_that_knows_no_pack_leaves_the_index_alone(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find all its files useless, and remove them."""
    flushed: list[int] = []
    monkeypatch.setattr(ChunkIndex, "flush", lambda *_, **__: flushed.append(1))
    made = Little(store, "zstd:1")
    made.put("one", Digest.of(data_of(1)), data_of(1))
    assert flushed == []
    with store.session() as session:
        session.link("one", session.intake(BytesReader(data_of(2)), plain=False).digest)
        session.commit()
    assert flushed == [1]


@pytest.mark.parametrize("size", [0, 1, LITTLE, LITTLE + 1])
def test_through_an_upload(served: StoreContents, store: BlobStore, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    true = Little.put

    def put(self: Little, repository: str, digest: Digest, data: bytes) -> None:
        seen.append(len(data))
        true(self, repository, digest, data)

    monkeypatch.setattr(Little, "put", put)
    data = bytes(size)
    upload_id = served.begin_upload("one")
    with served.upload("one", upload_id) as upload:
        for at in range(0, size, 30_000):
            upload.write(memoryview(data)[at : at + 30_000])
        assert upload.finish(Digest.of(data)).size == size
    assert seen == ([size] if size <= LITTLE else [])
    assert served.blob("one", Digest.of(data)).size == size
    assert list(Path(store.receiving.folder).iterdir()) == []


def test_constants() -> None:
    assert LITTLE * TOGETHER <= 4 << 20
