"""Slots, memory, and what is left when clients go: nothing."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contracts.contents import digest_of, read, upload
from store.storekit import leftovers, noise

from images.served.conftest import open_files
from lamina.errors import LaminaError, StorageError, StoreError
from lamina.images.served import intake, uploads
from lamina.images.served.contents import StoreContents
from lamina.images.served.intake import Feed, Slots
from lamina.images.served.readings import Readings
from lamina.store import BlobStore
from lamina.store.session import Session

WAIT = 30.0
START = uploads.START
DATA = noise(1, START + 3_000_000)


def begun(contents: StoreContents, data: bytes = DATA, repository: str = "app") -> str:
    """An upload that is large, still comes, and that nobody is at."""
    upload_id = contents.begin_upload(repository)
    with contents.upload(repository, upload_id) as one:
        for at in range(0, len(data), 1 << 20):
            one.write(memoryview(data)[at : at + (1 << 20)])
    return upload_id


def free(contents: StoreContents) -> int:
    return contents._uploads._slots._free


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for its client stands still at once."""
    monkeypatch.setattr(intake, "STALLED", -1.0)


def test_a_large_upload_takes_a_slot_while_it_comes(served: StoreContents) -> None:
    upload_id = begun(served)
    assert free(served) == 1
    with served.upload("app", upload_id) as one:
        one.finish(digest_of(DATA))
    assert free(served) == 2


def test_it_goes_through_once(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Request after request feeds the same pipeline."""
    made = []
    real = uploads.Uploads._intake
    monkeypatch.setattr(uploads.Uploads, "_intake", lambda self, *rest, **more: made.append(1) or real(self, *rest, **more))  # type: ignore[func-returns-value]
    upload_id = served.begin_upload("app")
    data = noise(2, 3 * START)
    for at in range(0, len(data), 1 << 20):
        with served.upload("app", upload_id) as one:
            one.write(memoryview(data)[at : at + (1 << 20)])
    with served.upload("app", upload_id) as one:
        one.finish(digest_of(data))
    assert len(made) == 1
    assert read(served, "app", digest_of(data)) == data


def test_more_uploads_than_slots_end_all(served: StoreContents) -> None:
    """Side by side, in steps: two have slots, the others their files."""
    data = {each: noise(each, START + 2_000_000) for each in range(6)}
    ids = {each: begun(served, data[each][: START + 1_000_000]) for each in data}
    assert free(served) == 0
    threads = []
    for each, upload_id in ids.items():
        def end(each: int = each, upload_id: str = upload_id) -> None:
            with served.upload("app", upload_id) as one:
                one.write(memoryview(data[each])[START + 1_000_000 :])
                one.finish(digest_of(data[each]))
        threads.append(threading.Thread(target=end))
        threads[-1].start()
    for thread in threads:
        thread.join(WAIT)
    assert not any(thread.is_alive() for thread in threads)
    for each in data.values():
        assert read(served, "app", digest_of(each)) == each
    assert free(served) == 2


def test_who_stands_still_makes_room(served: StoreContents, impatient: None) -> None:
    still = [begun(served), begun(served)]
    assert free(served) == 0
    other = noise(3, START + 5)
    upload(served, "app", other)
    assert read(served, "app", digest_of(other)) == other
    for upload_id in still:  # and they go on, all the same
        with served.upload("app", upload_id) as one:
            assert one.offset == len(DATA)
            one.finish(digest_of(DATA))
    assert free(served) == 2


def test_so_does_who_stands_still_within_a_request(served: StoreContents, impatient: None) -> None:
    """Its client has sent half of a body: the request that holds it finds out at the next bytes."""
    ids = [served.begin_upload("app") for _ in range(2)]
    with served.upload("app", ids[0]) as first, served.upload("app", ids[1]) as second:
        for one in (first, second):
            one.write(memoryview(DATA))
        assert free(served) == 0
        upload(served, "app", noise(3, START + 5))
        for one in (first, second):
            one.write(memoryview(b"more"))
            one.finish(digest_of(DATA + b"more"))
    assert read(served, "app", digest_of(DATA + b"more")) == DATA + b"more"
    assert free(served) == 2


def test_who_is_whole_waits_for_nobody_who_is_not(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send a byte now and then never stand still: in the end they have to go, too."""
    monkeypatch.setattr(intake, "STALLED", 1e9)
    monkeypatch.setattr(uploads, "PATIENCE", 0.0)
    ids = [begun(served), begun(served)]
    assert free(served) == 0
    upload(served, "app", noise(3, START + 5))
    for upload_id in ids:
        with served.upload("app", upload_id) as one:
            one.finish(digest_of(DATA))


def test_small_ones_wait_for_no_large_one(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "STALLED", 1e9)
    ids = [begun(served), begun(served)]
    upload(served, "app", b"small")
    assert free(served) == 0  # nor do they send any away
    for upload_id in ids:
        with served.upload("app", upload_id) as one:
            one.cancel()
    assert free(served) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_tending_lets_go_of_who_does_not_go_on(served: StoreContents, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """So that a collection has no lease to wait for."""
    began, true = threading.Event(), served.store.session

    def session(**options: Any) -> Session:
        made = true(**options)
        began.set()
        return made

    monkeypatch.setattr(served.store, "session", session)
    upload_id = begun(served)
    assert began.wait(WAIT)  # in a thread of its own
    served.tend(3600)
    assert free(served) == 1
    assert leftovers(served.store) != []
    monkeypatch.setattr(uploads, *(("LONG", -1.0) if slow else ("IDLE", -1.0)))
    if slow:
        monkeypatch.setattr(uploads, "SLOW", 1 << 60)
    served.tend(3600)
    assert free(served) == 2
    assert leftovers(served.store) == []
    with served.upload("app", upload_id) as one:
        one.finish(digest_of(DATA))


def test_another_process_goes_on_with_it(served: StoreContents, another: Callable[[], StoreContents]) -> None:
    """What this one has of it is no more to be used."""
    upload_id = begun(served)
    with another().upload("app", upload_id) as one:
        one.write(memoryview(b"in between"))
    with served.upload("app", upload_id) as one:
        one.write(memoryview(b"and more"))
        one.finish(digest_of(DATA + b"in betweenand more"))
    assert free(served) == 2


def test_another_algorithm_than_was_begun_with(served: StoreContents) -> None:
    upload_id = begun(served)
    with served.upload("app", upload_id) as one:
        one.finish(digest_of(DATA, "sha512"))
    assert read(served, "app", digest_of(DATA, "sha512")) == DATA


# -- failures


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "full")


def test_a_full_disk_leaves_no_slot_taken(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = begun(served)
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="no space"), \
            served.upload("app", upload_id) as one:
        patch.setattr("lamina.store.receiving.os.pwrite", full)
        one.write(memoryview(bytes(3 << 20)))
    del one
    assert free(served) == 2
    gc.collect()
    assert not [name for name in open_files() if "/receiving/" in name]
    with served.upload("app", upload_id) as one:
        at = one.offset
        assert len(DATA) == at
        rest = noise(9, 100)
        one.write(memoryview(rest))
        stored = (served.store.receiving.folder / upload_id).read_bytes()
        assert stored[4096:][: len(DATA)] == DATA
        one.cancel()


def test_a_pipeline_that_fails_is_told_at_the_end_and_can_be_done_again(
        served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def fail(*_: object, **__: object) -> None:
        made.append(1)
        raise StorageError("no luck")

    upload_id = served.begin_upload("app")
    with monkeypatch.context() as patch, served.upload("app", upload_id) as one:
        patch.setattr("lamina.store.session.Session.intake", fail)
        for at in range(0, len(DATA), 1 << 18):
            one.write(memoryview(DATA)[at : at + (1 << 18)])
        with pytest.raises(LaminaError, match="no luck"):
            one.finish(digest_of(DATA))
        assert len(made) <= 2  # not once more for every piece
    assert free(served) == 2
    assert leftovers(served.store) == []
    with served.upload("app", upload_id) as one:
        one.finish(digest_of(DATA))
    assert read(served, "app", digest_of(DATA)) == DATA


def test_no_session_to_be_had(served: StoreContents, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = served.begin_upload("app")
    with served.upload("app", upload_id) as one:
        one.write(memoryview(b"some"))
        with monkeypatch.context() as patch:
            patch.setattr(BlobStore, "session", lambda *_, **__: (_ for _ in ()).throw(StorageError("no lease")))
            with pytest.raises(StorageError, match="no lease"):
                one.finish(digest_of(b"some"))
        one.finish(digest_of(b"some"))


# -- nothing is left


def more(before: list[str]) -> list[str]:
    """Descriptors that have come since, but for the open store's own: packs, the catalog."""
    gc.collect()
    found = Counter(open_files()) - Counter(before)
    return [each for each in found.elements() if "/packs/" not in each and "/catalog.sqlite" not in each]


def test_nothing_is_left_of_all_this(served: StoreContents) -> None:
    """Threads, descriptors, leases, locks, temporaries, files of uploads."""
    upload(served, "app", DATA)
    read(served, "app", digest_of(DATA))
    served._readings.close()
    files, threads = open_files(), set(threading.enumerate())
    for turn in range(6):
        data = noise(turn, START + 500_000)
        upload_id = begun(served, data)
        with served.upload("app", upload_id) as one:
            if turn % 3 == 0:
                one.finish(digest_of(data))
            elif turn % 3 == 1:
                one.cancel()
            else:
                with pytest.raises(LaminaError):
                    one.finish(digest_of(b"no"))
        reader = served.open_blob("app", digest_of(DATA), turn, len(DATA) - turn)
        reader.readinto(memoryview(bytearray(100)))
        reader.close()
    served._readings.close()
    assert set(threading.enumerate()) <= threads
    assert leftovers(served.store) == []
    assert list(served.store.receiving.all()) == []
    assert more(files) == []


def test_a_stop_leaves_what_has_arrived(store: BlobStore) -> None:
    files = open_files()
    contents = StoreContents(store, slots=1)
    upload_id = begun(contents)
    contents.close()
    assert leftovers(store) == []
    assert more(files) == []
    with StoreContents(store).upload("app", upload_id) as one:
        assert one.offset == len(DATA)
        one.cancel()


# -- parts


def test_who_waits_for_a_slot_comes_before_who_tries() -> None:
    slots, inside = Slots(1), threading.Event()
    assert slots.try_enter()
    thread = threading.Thread(target=lambda: slots.enter(lambda _: inside.set()))
    thread.start()
    assert inside.wait(WAIT)
    slots.leave()
    assert not slots.try_enter()
    thread.join(WAIT)
    assert not thread.is_alive()
    slots.leave()
    assert slots.try_enter()


def test_a_feed_that_is_abandoned_ends_in_its_file_too() -> None:
    feed = Feed(lambda buffer, at: len(buffer), 1 << 40)
    assert feed.readinto(memoryview(bytearray(10))) == 10
    feed.abandon()
    with pytest.raises(intake.Abandoned):
        feed.readinto(memoryview(bytearray(10)))
    assert not feed.grow(1 << 41)
    assert not feed.end()


def in_memory(data: bytes) -> intake.Pread:
    """A file with these bytes."""
    def pread(buffer: memoryview, at: int) -> int:
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)
    return pread


def test_a_feed_gives_no_more_than_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "AHEAD", 4)
    data = bytes(range(20))
    feed, buffer, found = Feed(in_memory(data), 2), bytearray(2), bytearray()
    arrived = threading.Thread(target=lambda: [feed.grow(size) for size in (5, 5, 16, 20)] and feed.end())
    arrived.start()
    while count := feed.readinto(memoryview(buffer)):
        found += buffer[:count]
        assert len(found) <= feed.fed <= len(found) + 4 + 11  # at most one step beyond what may be ahead
    arrived.join(WAIT)
    assert found == data


def test_a_feed_of_a_file_that_became_shorter() -> None:
    feed = Feed(in_memory(b"abc"), 0)
    assert feed.grow(4)
    assert feed.readinto(memoryview(bytearray(10))) == 3
    with pytest.raises(StoreError, match="shorter"):
        feed.readinto(memoryview(bytearray(10)))


def test_a_feed_that_has_ended_is_not_sent_away() -> None:
    feed = Feed(in_memory(b"abcdef"), 0)
    assert feed.grow(3)
    assert feed.end()
    assert not feed.send_away()
    buffer = bytearray(10)
    assert (feed.readinto(memoryview(buffer)), buffer[:3]) == (3, b"abc")
    assert feed.readinto(memoryview(buffer)) == 0


def test_requests_share_a_lease_for_a_while(store: BlobStore) -> None:
    now = [0.0]
    readings = Readings(store, lambda: now[0])
    contents = StoreContents(store)
    digest = upload(contents, "app", b"some")
    row = store.resolve(digest)
    readers = [readings.open(lambda reading: reading.fetch(row)) for _ in range(3)]
    assert len(store.catalog.leases()) == 1
    now[0] = 6.0
    readers.append(readings.open(lambda reading: reading.fetch(row)))
    assert len(store.catalog.leases()) == 2
    for each in readers[:3]:
        each.close()
        each.close()
    assert len(store.catalog.leases()) == 1
    readers[3].close()
    now[0] = 12.0
    readings.tend()
    assert store.catalog.leases() == []
    with pytest.raises(KeyError):
        readings.open(lambda reading: {}["x"])  # type: ignore[return-value, index]
    readings.close()
    assert store.catalog.leases() == []


def test_no_lease_is_forgotten_when_the_next_cannot_be_had(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    readings = Readings(store, lambda: now[0])
    contents = StoreContents(store)
    row = store.resolve(upload(contents, "app", b"some"))
    readings.open(lambda reading: reading.fetch(row)).close()
    now[0] = 6.0
    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "reading", lambda *_: (_ for _ in ()).throw(StorageError("no lease")))
        with pytest.raises(StorageError):
            readings.open(lambda reading: reading.fetch(row))
    readings.close()
    assert store.catalog.leases() == []


CHILD = """
import hashlib, random, sys
from pathlib import Path
from typing import Any
from lamina.digest import Digest
from lamina.images.served.contents import StoreContents
from lamina.store import BlobStore
from lamina.store.session import Session

def memory():
    found = dict(line.split(":") for line in open("/proc/self/status"))
    return sum(int(found[name].split()[0]) for name in ("RssAnon", "RssShmem")) >> 10

seen = []

def pieces(size):
    rng = random.Random(len(seen))
    seen.append(size)
    for _ in range(size):
        yield rng.randbytes(1 << 20)

def push(contents, size):
    hashed = hashlib.sha256()
    with contents.upload("app", contents.begin_upload("app")) as one:
        for piece in pieces(size):
            hashed.update(piece)
            peaks.append(memory())
            one.write(memoryview(piece))
        one.finish(Digest.done("sha256", hashed))
    return Digest.done("sha256", hashed)

def pull(contents, digest, size):
    buffer = memoryview(bytearray(1 << 20))
    for start in (0, 1):
        reader = contents.open_blob("app", digest, start, size << 20)
        while reader.readinto(buffer):
            peaks.append(memory())
        reader.close()

with BlobStore.open(Path(sys.argv[1])) as store:
    contents = StoreContents(store)
    for size in (80, 40, 40, 40, 40, 300):
        peaks = []
        pull(contents, push(contents, size), size)
        print(max(peaks))
    contents.close()
"""


def test_memory_does_not_grow_with_what_is_pushed(tmp_path: Path) -> None:
    """300 MB, after some that are smaller: what is kept in memory by mistake, of one or of each, is more than the bound."""
    found = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "store")], capture_output=True, text=True, check=False,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert found.returncode == 0, found.stderr
    peaks = [int(line) for line in found.stdout.split()]
    assert len(peaks) == 6
    assert max(peaks) - peaks[1] < 32, f"{peaks} MiB"  # by then the frames that are kept at hand are as many as may be
    assert max(peaks) < 250
