"""Downloads that were interrupted go on where they were: what is asked for again is counted."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import GZIP_LAYER, Line, finish, keep_blob, layer, layer_of, partial_files, plain
from storekit import assert_whole, flip, leftovers, pack_files, problems, read, remove, tar_of, words

from lamina.content.verify import BytesReader
from lamina.errors import DigestMismatch, LaminaError, RegistryUnavailable, SizeMismatch, StorageError
from lamina.storage.writer import LocalReach, sync_directory
from lamina.store import BlobStore, journalling, partials, sink
from lamina.store.ingest import SEAMLESS
from lamina.store.session import Job

SIZE = 6 << 20
CARRY = SEAMLESS[2]  # bytes that may not have been cut into a chunk yet


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PACK_BYTES", 1 << 20)


def cut(store: BlobStore, data: bytes, until: int) -> Line:
    """A session whose line breaks."""
    line = Line(data, until)
    with store.session() as session, pytest.raises(RegistryUnavailable, match="the line is cut"):
        session.push(layer_of(data), line)
    return line


def resume(store: BlobStore, data: bytes, content: bytes) -> Line:
    """A session in which the layer comes to its end; nothing is left then but what came."""
    line = Line(data)
    with store.session() as session:
        session.push(layer_of(data), line)
        finish(session, "image", [(data, content)])
    assert read(store, layer_of(data).digest) == data
    assert partial_files(store) == []
    with store.session():  # clears away what dead ones left
        pass
    assert leftovers(store) == []
    return line


def partial_path(store: BlobStore) -> Path:
    (name,) = partial_files(store)
    return store.path / "state" / "partials" / name


def temporaries(store: BlobStore) -> list[Path]:
    return sorted((store.path / "tmp").iterdir())


@pytest.mark.parametrize("tenth", range(1, 11))
def test_cut_at_every_tenth(store: BlobStore, tenth: int) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    first = cut(store, data, min(len(data) * tenth // 10, len(data) - 1))
    assert problems(store) == []
    assert pack_files(store) == set()
    second = resume(store, data, content)
    assert first.given + second.given - len(data) <= CARRY
    assert second.began == [len(data) - second.given]
    assert_whole(store, data)


@pytest.mark.usefixtures("small_packs")
def test_sealed_packs_are_put_aside(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    first = cut(store, data, len(data) * 2 // 3)
    assert len(temporaries(store)) > 2
    assert pack_files(store) == set(), "a rebuild of the catalog would take them for published ones"
    second = resume(store, data, content)
    assert first.given + second.given - len(data) <= CARRY
    assert_whole(store, data)


def test_many_cuts(store: BlobStore) -> None:
    """Each try begins where the one before ended, whatever that one had read back itself."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    given = [cut(store, data, len(data) * part // 8).given for part in range(1, 8)]
    assert len(partial_files(store)) == 1
    given.append(resume(store, data, content).given)
    assert sum(given) - len(data) <= 7 * CARRY
    assert_whole(store, data)


def test_a_try_that_gets_less_far_takes_nothing_away(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    cut(store, data, len(data) * 3 // 4)
    before = partial_files(store)

    class Impatient(Line):
        def start_at(self, offset: int) -> None:
            raise RegistryUnavailable("the line is cut", "at once")

    for _ in range(3):
        with store.session() as session, pytest.raises(RegistryUnavailable):
            session.push(layer_of(data), Impatient(data))
    assert partial_files(store) == before
    assert len(temporaries(store)) == 1, "what each try has read back goes with it"
    assert resume(store, data, content).given <= len(data) // 4 + CARRY


def test_what_came_whole_is_not_asked_for_again(store: BlobStore) -> None:
    """The session fails when all of the blob was there."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    with store.session() as session:
        session.push(layer_of(data), Line(data))
    line = resume(store, data, content)
    assert (line.given, line.began) == (0, [])
    assert_whole(store, data)


def test_a_retry_in_the_same_session(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    broken, line = Line(data, SIZE // 2), Line(data)
    with store.session() as session:
        session.bring([Job(layer_of(data), lambda: broken)])
        session.push(layer_of(data), line)
        assert broken.given + line.given - len(data) <= CARRY
        finish(session, "image", [(data, content)])
    assert partial_files(store) == []
    assert_whole(store, data)


@pytest.mark.usefixtures("small_packs")
def test_a_retry_in_the_same_session_that_fails_too(store: BlobStore) -> None:
    """What it names lies in packs that the first try wrote, some sealed meanwhile."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    with store.session() as session:
        for part in (2, 3):
            with pytest.raises(RegistryUnavailable):
                session.push(layer_of(data), Line(data, SIZE * part // 4))
    assert resume(store, data, content).given <= SIZE // 4 + 3 * CARRY


@pytest.mark.usefixtures("small_packs")
def test_a_commit_without_the_one_that_failed(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    other, its_content = layer(2, SIZE // 2), plain(2, SIZE // 2)
    with store.session() as session:
        session.push(layer_of(other), Line(other))
        with pytest.raises(RegistryUnavailable):
            session.push(layer_of(data), Line(data, SIZE // 2))
        finish(session, "other", [(other, its_content)])
    assert [name.partition(".")[0] for name in partial_files(store)] == [layer_of(data).digest.replace(":", "-")]
    assert problems(store) == []
    store.collect()
    assert resume(store, data, content).given <= SIZE // 2 + CARRY
    assert_whole(store, data, other)


def test_only_large_compressed_resumable_blobs_are_noted(store: BlobStore) -> None:
    with store.session() as session:
        for data in (tar_of({"a": layer(1, SIZE)}), layer(3, 1 << 19)):
            with pytest.raises(RegistryUnavailable):
                session.push(layer_of(data), Line(data, len(data) - 1))
        session.push(layer_of(layer(1, SIZE)), BytesReader(layer(1, SIZE)))
    assert partial_files(store) == []
    assert leftovers(store) == []


def test_a_layer_that_compresses_again(store: BlobStore) -> None:
    """gzip -0 is worth another pass, and is read back out of zstd frames."""
    content = tar_of({"text": words(1, SIZE)})
    data = gzip.compress(content, 0, mtime=0)
    cut(store, data, len(data) // 2)
    assert sum(path.stat().st_size for path in temporaries(store)) < len(data) // 3
    assert resume(store, data, content).given <= len(data) // 2 + CARRY
    assert_whole(store, data)
    assert sum(pack.bytes for pack in store.catalog.packs()) < len(data) * 2 // 3


def test_chunks_that_the_store_had(store: BlobStore) -> None:
    """They are looked up again; when they have gone, the beginning that can be had ends there."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    half = data[: SIZE // 2]
    for gone in (False, True):
        keep_blob(store, "half", half)
        first = cut(store, data, SIZE * 3 // 4)
        if gone:
            remove(store, "half")
            store.collect()
            assert resume(store, data, content).given > SIZE * 7 // 8
        else:
            assert first.given + resume(store, data, content).given - len(data) <= CARRY
            remove(store, "image", "half")
            store.collect()


# -- wrong content


def test_a_beginning_that_was_wrong(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    wrong = bytearray(data)
    wrong[SIZE // 4] ^= 1
    with store.session() as session, pytest.raises(RegistryUnavailable):
        session.push(layer_of(data), Line(bytes(wrong), SIZE // 2))
    with store.session() as session, pytest.raises(DigestMismatch) as error:
        session.push(layer_of(data), Line(data))
    assert "thrown away" in str(error.value.hint)
    assert partial_files(store) == []
    assert resume(store, data, content).given == len(data)


def test_too_long_and_too_short(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    with store.session() as session, pytest.raises(SizeMismatch):
        session.push(layer_of(data), Line(data + b"more"))
    assert partial_files(store) == []
    with store.session() as session, pytest.raises(SizeMismatch):
        session.push(layer_of(data), Line(data[: SIZE // 2]))
    assert resume(store, data, content).given <= SIZE // 2 + CARRY


# -- damage


@pytest.mark.parametrize("step", range(24))
def test_a_damaged_partial(store: BlobStore, step: int) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    cut(store, data, SIZE * 3 // 4)
    path = partial_path(store)
    size = path.stat().st_size
    if step % 2:
        os.truncate(path, size * step // 24)
    else:
        flip(path, min(size - 1, step * 4 if step < 16 else size * step // 24), 0x80)
    resume(store, data, content)
    assert_whole(store, data)


def test_files_that_are_no_partials(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    folder = store.path / "state" / "partials"
    folder.mkdir()
    digest = layer_of(data).digest.replace(":", "-")
    for name in ("x", f"{digest}.{'0' * 32}.1", f"{digest}.{'1' * 32}.1", f"md5-{'0' * 64}.{'0' * 32}.1"):
        (folder / name).write_bytes(b"LAMINAPT" + os.urandom(1000) if "1" * 32 in name else b"")
    assert resume(store, data, content).given == len(data)


def test_a_damaged_pack(store: BlobStore) -> None:
    """The beginning ends at the chunk that is not what it was."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    cut(store, data, SIZE * 3 // 4)
    (path,) = temporaries(store)
    flip(path, SIZE // 2)
    (began,) = resume(store, data, content).began
    assert SIZE // 2 - 2 * CARRY < began < SIZE // 2 + CARRY
    assert_whole(store, data)


@pytest.mark.usefixtures("small_packs")
def test_a_missing_pack(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    cut(store, data, SIZE * 3 // 4)
    oldest, *_ = sorted(temporaries(store), key=lambda path: path.stat().st_mtime_ns)
    oldest.unlink()
    assert resume(store, data, content).given == len(data)
    assert_whole(store, data)


# -- upkeep


def test_the_collector_spares_them_for_a_week(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    for age, spared in ((partials.OLD - 60, True), (partials.OLD + 60, False)):
        cut(store, data, SIZE // 2)
        then = time.time() - age
        os.utime(partial_path(store), (then, then))
        store.collect()
        with store.session():
            pass
        assert bool(partial_files(store)) == bool(temporaries(store)) == spared
        assert (resume(store, data, content).given < len(data)) == spared
        remove(store, "image")
        store.collect()


def test_the_blob_has_come_otherwise(store: BlobStore) -> None:
    """From an archive, say: what was kept goes with the next collection."""
    data = layer(1, SIZE)
    cut(store, data, SIZE // 2)
    keep_blob(store, "blob", data)
    assert partial_files(store) == []
    cut_again = Line(data, SIZE // 2)
    with store.session(verify=True) as session, pytest.raises(RegistryUnavailable):
        session.push(layer_of(data), cut_again)
    assert len(partial_files(store)) == 1
    store.collect()
    assert partial_files(store) == []
    assert problems(store) == leftovers(store) == []


def test_a_partial_is_gone_before_its_packs(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """For good: it might be preferred, after a power cut, to a later one that covers as much."""
    seen: list[tuple[list[str], int]] = []

    def sync(path: Path) -> None:
        if path.name == "partials":
            seen.append((partial_files(store), len(temporaries(store))))
        sync_directory(path)

    data = layer(1, SIZE)
    cut(store, data, SIZE // 2)
    (partial,), packs = store.partials.all(), len(temporaries(store))
    monkeypatch.setattr(partials, "sync_directory", sync)
    store.partials.drop(partial)
    assert seen == [([], packs)] and packs > 0
    assert temporaries(store) == []


def test_no_more_than_so_many(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partials, "LIMIT", 3)
    datas = [layer(seed, 2 << 20) for seed in range(5)]
    for number, data in enumerate(datas):
        cut(store, data, len(data) - 1)
        os.utime(next(path for path in (store.path / "state" / "partials").iterdir() if layer_of(data).digest[7:] in path.name),
                 (number, number))
    assert {name[7:71] for name in partial_files(store)} == {layer_of(data).digest[7:] for data in datas[2:]}
    assert len(temporaries(store)) == 3


@pytest.mark.usefixtures("small_packs")
def test_a_rebuilt_catalog(tmp_path: Path) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    with BlobStore.open(tmp_path / "store") as store:
        keep_blob(store, "other", layer(2, SIZE))
        first = cut(store, data, SIZE * 3 // 4)
    for path in (tmp_path / "store" / "state").glob("catalog.sqlite*"):
        path.unlink()
    with BlobStore.open(tmp_path / "store") as store:
        assert problems(store) == []
        assert first.given + resume(store, data, content).given - len(data) <= CARRY
        assert_whole(store, data)


# -- beside others


def test_two_at_once(store: BlobStore) -> None:
    data, content = layer(1, SIZE), plain(1, SIZE)
    waiting, go = threading.Event(), threading.Event()

    class Slow(Line):
        def readinto(self, buffer: memoryview, /) -> int:
            if self._at > SIZE // 2:
                waiting.set()
                assert go.wait(60)
            return super().readinto(buffer)

    with store.session() as session:
        slow = Slow(data)
        thread = threading.Thread(target=session.push, args=(layer_of(data), slow))
        thread.start()
        assert waiting.wait(60)
        other = Line(data)
        with store.session() as second:
            second.push(layer_of(data), other)
            finish(second, "second", [(data, content)])
        go.set()
        thread.join()
        finish(session, "first", [(data, content)])
    assert (slow.given, slow.began, other.given, other.began) == (len(data), [], len(data), [])
    assert partial_files(store) == []
    store.collect()
    assert_whole(store, data)


def test_two_go_on_from_the_same(store: BlobStore) -> None:
    """The first to commit takes it away under the hands of the second, which then asks for more, and gets it right."""
    data, content = layer(1, SIZE), plain(1, SIZE)
    cut(store, data, SIZE * 3 // 4)
    reading, go = threading.Event(), threading.Event()
    line = Line(data)

    def wait(key: str, count: int) -> None:
        reading.set()
        assert go.wait(60)

    with store.session() as session:
        session._progress.advance = wait  # type: ignore[method-assign]
        thread = threading.Thread(target=session.push, args=(layer_of(data), line))
        thread.start()
        assert reading.wait(60)
        with store.session() as second:
            second.push(layer_of(data), Line(data))
            finish(second, "second", [(data, content)])
        go.set()
        thread.join()
        finish(session, "first", [(data, content)])
    assert read(store, layer_of(data).digest) == data
    store.collect()
    assert partial_files(store) == []
    assert_whole(store, data)


# -- when the disk fails


def test_a_partial_that_cannot_be_written(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journalling.Journal, "_create", full)
    data, content = layer(1, SIZE), plain(1, SIZE)
    assert resume(store, data, content).given == len(data)


def test_a_pack_that_cannot_be_synced_is_given_up(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LocalReach) -> None:
        raise StorageError("cannot write: input/output error")

    monkeypatch.setattr(LocalReach, "sync", broken)
    data, content = layer(1, SIZE), plain(1, SIZE)
    with store.session() as session, pytest.raises(LaminaError, match="input/output"):
        session.push(layer_of(data), Line(data))
        finish(session, "image", [(data, content)])
    assert partial_files(store) == []
    assert leftovers(store) == []


# -- how it is told


def test_what_progress_hears(store: BlobStore) -> None:
    data = layer(1, SIZE)
    cut(store, data, SIZE // 2)
    heard: list[str] = []
    counted = 0

    class Ears:
        def start(self, key: str, label: str, total: int | None) -> None:
            heard.append("start")

        def advance(self, key: str, count: int) -> None:
            nonlocal counted
            counted += count

        def state(self, key: str, status: str) -> None:
            heard.append(status)

        def done(self, key: str, status: str) -> None:
            heard.append(status)

    with store.session(progress=Ears()) as session:
        session.push(layer_of(data), Line(data))
    assert heard == ["start", "resuming", "downloading", "verifying", "loaded"]
    assert counted == len(data), "what is read back counts, too"
    assert layer_of(data).media_type == GZIP_LAYER


def test_a_partial_whose_packs_are_lost_goes_with_its_session(store: BlobStore) -> None:
    """As on a full disk: a file that could not be written to is given up."""
    data = layer(1, SIZE)
    with store.session() as session:
        with pytest.raises(RegistryUnavailable):
            session.push(layer_of(data), Line(data, len(data) // 2))
        session.sink.close()
        assert temporaries(store) == []
    assert partial_files(store) == [] and leftovers(store) == []
