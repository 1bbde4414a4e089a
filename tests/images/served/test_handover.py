"""Two processes, one store: an upload is ended by whoever has it in its pipeline, and by anybody if nobody has."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store.storekit import leftovers, noise

from lamina.digest import Digest
from lamina.errors import StorageError
from lamina.images.served import handover, uploads
from lamina.images.served.contents import StoreContents
from lamina.images.served.handover import FOLDER, LINE, Handover, _reached
from lamina.images.served.uploads import START
from lamina.registry.server.refusal import Refusal
from lamina.store import BlobStore

DATA = noise(1, START + 3_000_000)
DIGEST = Digest.of(DATA)


@pytest.fixture
def one(served: StoreContents) -> StoreContents:
    served.listen()
    return served


@pytest.fixture
def two(another: Callable[[], StoreContents]) -> StoreContents:
    made = another()
    made.listen()
    return made


@pytest.fixture
def sessions(one: StoreContents, two: StoreContents, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StoreContents]]:
    """Whose sessions were begun."""
    begun: list[StoreContents] = []
    for each in (one, two):
        def session(of: StoreContents = each, true: Any = each.store.session, **options: Any) -> Any:
            begun.append(of)
            return true(**options)

        monkeypatch.setattr(each.store, "session", session)
    yield begun
    assert list(Path(one.store.receiving.folder).iterdir()) == []


def begin(contents: StoreContents, data: bytes = DATA) -> str:
    """An upload of these bytes so far, which are in the pipeline."""
    upload_id = contents.begin_upload("app")
    more(contents, upload_id, data)
    return upload_id


def more(contents: StoreContents, upload_id: str, data: bytes) -> None:
    with contents.upload("app", upload_id) as upload:
        for at in range(0, len(data), 1 << 20):
            upload.write(memoryview(data)[at : at + (1 << 20)])


def finish(contents: StoreContents, upload_id: str, digest: Digest = DIGEST) -> None:
    with contents.upload("app", upload_id) as upload:
        assert upload.finish(digest).digest == digest


def test_who_began_ends(one: StoreContents, two: StoreContents, sessions: list[StoreContents]) -> None:
    upload_id = begin(one)
    finish(two, upload_id)
    assert sessions == [one] and two.blob("app", DIGEST).size == len(DATA)
    assert one._uploads._live == {} and one._uploads._all == set()
    assert leftovers(one.store) == [] and one.store.verify().problems == []


def test_what_came_elsewhere_is_taken_from_the_file(one: StoreContents, two: StoreContents,
                                                    sessions: list[StoreContents]) -> None:
    upload_id = begin(one, DATA[:-2_500_001])
    more(two, upload_id, DATA[-2_500_001:-7])
    with two.upload("app", upload_id) as upload:
        upload.write(memoryview(DATA)[-7:])
        assert upload.finish(DIGEST).size == len(DATA)
    assert sessions == [one] and one.store.verify().problems == []


def test_who_began_catches_up(one: StoreContents, two: StoreContents, sessions: list[StoreContents]) -> None:
    upload_id = begin(one, DATA[: START + 10])
    for turn, at in enumerate(range(START + 10, len(DATA), 700_001)):
        more((two, one)[turn % 2], upload_id, DATA[at : at + 700_001])
    finish(one, upload_id)
    assert sessions == [one] and one.store.verify().problems == []


def test_nobody_has_it(one: StoreContents, two: StoreContents, sessions: list[StoreContents]) -> None:
    upload_id = begin(one)
    one._uploads.drop(next(iter(one._uploads._live.values())))
    one._uploads._live.clear()
    finish(two, upload_id)
    assert sessions == [one, two] and two.blob("app", DIGEST).size == len(DATA)


def test_a_wrong_digest_ends_it(one: StoreContents, two: StoreContents, sessions: list[StoreContents]) -> None:
    upload_id = begin(one)
    with pytest.raises(Refusal) as told:
        finish(two, upload_id, Digest.of(b"another"))
    assert told.value.code == "DIGEST_INVALID" and sessions == [one]
    with pytest.raises(Refusal), two.upload("app", upload_id):
        pass
    assert leftovers(one.store) == []


def test_another_algorithm_begins_anew(one: StoreContents, two: StoreContents, sessions: list[StoreContents]) -> None:
    finish(two, begin(one), Digest.of(DATA, "sha512"))
    assert sessions == [one, two] and leftovers(one.store) == []


def test_who_had_it_fails(one: StoreContents, two: StoreContents, sessions: list[StoreContents],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*_: object) -> None:
        raise StorageError("no", "here")

    upload_id = begin(one)
    monkeypatch.setattr(one._uploads, "commit", commit)
    finish(two, upload_id)
    assert sessions == [one, two] and two.blob("app", DIGEST).size == len(DATA) and leftovers(one.store) == []


def test_small_ones_ask_nobody(one: StoreContents, two: StoreContents, sessions: list[StoreContents],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "ask", None)
    data = DATA[: START - 1]
    finish(two, begin(one, data), Digest.of(data))
    assert sessions == [two]


def test_one_that_has_died_is_forgotten(two: StoreContents, store: BlobStore) -> None:
    path = store.state_dir / FOLDER / "0000"
    with socket.socket(socket.AF_UNIX) as dead, _reached(path) as address:
        dead.bind(address)
    finish(two, begin(two))
    upload_id = begin(two)
    two._uploads.drop(next(iter(two._uploads._live.values())))
    two._uploads._live.clear()
    finish(two, upload_id)
    assert not path.exists()


@pytest.mark.parametrize("answer", [b"", b"maybe\n", b"yes\n", b"yes\nnothing\n", b"yes\n[]\n", b"yes\n{}\n", b"y" * 9000])
def test_strange_answers_are_none(two: StoreContents, store: BlobStore, answer: bytes) -> None:
    path = store.state_dir / FOLDER / "0000"
    with socket.socket(socket.AF_UNIX) as strange:
        with _reached(path) as address:
            strange.bind(address)
        strange.listen()

        def serve() -> None:
            connection, _ = strange.accept()
            with connection:
                connection.recv(LINE)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert two._uploads._handover is not None
        assert not two._uploads._handover.ask("0" * 32, "app", DIGEST, 5)
        thread.join()
    path.unlink()


@pytest.mark.parametrize("question", [b"", b"\n", b"[]\n", b"{}\n", b'{"upload": 5}\n', b"x" * 9000, b"\xff\n"])
def test_strange_questions_get_no_answer(one: StoreContents, store: BlobStore, question: bytes) -> None:
    (path,) = (store.state_dir / FOLDER).iterdir()
    with socket.socket(socket.AF_UNIX) as asking, _reached(path) as address:
        asking.connect(address)
        asking.settimeout(20)
        asking.sendall(question)
        asking.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            assert asking.recv(100) == b""
    upload_id = begin(one)
    finish(one, upload_id)


def test_another_user_is_not_heard(one: StoreContents, two: StoreContents, sessions: list[StoreContents],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_user_of", lambda _: 12345)
    upload_id = begin(one)
    finish(two, upload_id)
    assert sessions == [one, two]
    one._uploads._make_room(uploads.PATIENCE + 1)


def test_a_path_of_any_length(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120)
    folder.mkdir()
    asked: list[str] = []

    def adopt(upload_id: str, *_: object) -> Callable[[], None]:
        return lambda: asked.append(upload_id)

    first, second = (Handover(folder, adopt) for _ in range(2))
    assert first.ask("x", "app", DIGEST, 1) and asked == ["x"]
    first.close()
    second.close()
    assert list((folder / FOLDER).iterdir()) == []


def test_a_close_waits_for_what_was_promised(tmp_path: Path) -> None:
    go, begun, done = threading.Event(), threading.Event(), []

    def end() -> None:
        begun.set()
        assert go.wait(20)
        done.append(1)

    first, second = Handover(tmp_path, lambda *_: end), Handover(tmp_path, lambda *_: None)
    asking = threading.Thread(target=lambda: done.append(second.ask("x", "app", DIGEST, 1)))
    asking.start()
    assert begun.wait(20)
    closing = threading.Thread(target=first.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive() and not done
    go.set()
    closing.join()
    asking.join()
    assert done == [1, True]
    second.close()
