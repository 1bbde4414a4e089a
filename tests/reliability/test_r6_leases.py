"""R6: leases.  Whoever dies, stops, forks, moves or loses what: nothing goes twice or too early, nothing is stuck, and a lost
lease ends its work cleanly.

`pytest tests/reliability/test_r6_leases.py` (there is no longer form).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from reliability.holders import Holder
from store.storekit import (
    assert_whole,
    full,
    layer,
    leftovers,
    live_packs,
    load,
    names,
    pack_files,
    problems,
    push,
    read,
    remove,
)

from lamina.errors import Conflict, LaminaError, LeaseLost, NotFound, StorageError
from lamina.store import BlobStore, forks, replacing
from lamina.store.catalog import Catalog
from lamina.store.lease import Lease, dead_leases, oldest_start
from lamina.store.partials import OLD, Partials
from lamina.store.replacing import Replacing
from lamina.store.schema import CONDEMNED, BlobRow

A, B, C = layer(1), layer(2), layer(3)
DAY = 86400


SKIPPED: list[str] = []


@pytest.fixture(scope="module")
def cases(tally) -> Iterator[list[str]]:
    """Those that were run, counted in the end."""
    ran: list[str] = []
    yield ran
    tally("R6", cases=len(ran) - len(SKIPPED), skipped=len(SKIPPED))


@pytest.fixture(autouse=True)
def counted(cases: list[str], request: pytest.FixtureRequest) -> None:
    cases.append(request.node.name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[BlobStore]:
    """With image `a` of the layers A and B."""
    with BlobStore.open(path) as store:
        load(store, "a", A, B)
        yield store


def sweep(store: BlobStore) -> None:
    store.collect(max_unused=0)


def unshared(*words: str) -> list[str]:
    """A command for new namespaces; the test is skipped where the kernel gives none."""
    command = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), *words]
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        why = tried.returncode and f"no namespaces here: {tried.stderr.strip()}"
    except FileNotFoundError:
        why = "no program unshare"
    if why:
        SKIPPED.append(why)
        pytest.skip(why)
    return command


# A session that relies on the store's A, has C in a sealed pack and more on its way; it commits when it hears.
WRITER = """
store = BlobStore.open(path)
session = store.session()
session.intake(__import__("lamina.content.verify", fromlist=["x"]).BytesReader(layer(1)), plain=True)
push(session, "b", layer(1), layer(3))
session.sink.seal()
push(session, "c", layer(4))
say("ready", session.lease.id)
"""
COMMITS = """
hear()
try:
    with session:
        session.commit()
    say("committed")
except LaminaError as error:
    say(type(error).__name__)
"""
READER = """
store = BlobStore.open(path)
with store.reading() as reading:
    descriptor = store.resolve(next(row.digest for row in store.catalog.blobs() if row.size == len(layer(1))))
    reading.keep(descriptor.digest)
    say("ready")
    hear()
    from lamina.content.verify import read_all
    say(read_all(reading.fetch(descriptor), 1 << 30) == layer(1))
"""


# -- who dies or stops


def test_a_writer_is_killed(store: BlobStore, path: Path) -> None:
    with Holder(WRITER + COMMITS, path) as writer:
        writer.hear()
        sweep(store)
        assert len(leftovers(store)) > 1, "it lives: its lease and its packs stay"
        writer.kill()
    sweep(store)
    assert_whole(store, A, B)
    assert set(names(store)) == {full("a")}


def test_a_reader_is_killed(store: BlobStore, path: Path) -> None:
    with Holder(READER, path) as reader:
        reader.hear()
        remove(store, "a")
        sweep(store)
        assert any(row.size == len(A) for row in store.catalog.blobs()), "it is kept"
        reader.kill()
    sweep(store)
    sweep(store)
    assert not list(store.catalog.blobs())
    assert_whole(store)


def test_a_writer_stops_over_a_collection(store: BlobStore, path: Path) -> None:
    """What it relies on is condemned meanwhile; it writes the chunks anew from files that its lease keeps."""
    with Holder(WRITER + "stop()\n" + COMMITS, path) as writer:
        writer.hear()
        writer.wait_stopped()
        remove(store, "a")
        for _ in range(3):
            sweep(store)
        assert store.catalog.packs(CONDEMNED)
        writer.go_on()
        writer.tell()
        assert writer.end() == ["committed"]
    sweep(store)
    sweep(store)
    assert store.catalog.packs(CONDEMNED) == []
    assert_whole(store, A, C)


def test_a_reader_stops_over_a_collection(store: BlobStore, path: Path) -> None:
    with Holder(READER.replace('say("ready")', 'say("ready"); stop()'), path) as reader:
        reader.hear()
        reader.wait_stopped()
        remove(store, "a")
        for _ in range(3):
            sweep(store)
        reader.go_on()
        reader.tell()
        assert reader.end() == ["True"]
    sweep(store)
    sweep(store)
    assert pack_files(store) == live_packs(store)
    assert_whole(store)


def test_a_collector_stops_between_marking_and_condemning(store: BlobStore, path: Path) -> None:
    """A writer finds the chunks that are about to be condemned, and commits first."""
    remove(store, "a")
    code = """
from lamina.store.replacing import Replacing
true = Replacing._condemn
def condemn(*words):
    stop()
    return true(*words)
Replacing._condemn = condemn
with BlobStore.open(path) as store:
    store.collect(max_unused=0)
say("done")
"""
    with Holder(code, path) as collector:
        collector.wait_stopped()
        load(store, "again", A, B)
        collector.go_on()
        assert collector.end() == ["done"]
    assert_whole(store, A, B)


def test_a_collector_is_killed_with_its_lock(store: BlobStore, path: Path) -> None:
    remove(store, "a")
    code = """
from lamina.store import replacing
replacing.Replacing._condemn = lambda *words: (say("there"), hear())
with BlobStore.open(path) as store:
    store.collect(max_unused=0)
"""
    with Holder(code, path) as collector:
        collector.hear()
        with pytest.raises(Conflict):
            sweep(store)
        collector.kill()
    sweep(store)
    assert_whole(store)
    assert pack_files(store) == live_packs(store)


def test_two_collectors(store: BlobStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says so, and does nothing; but if somebody has deleted the lock, both may go on, and nothing is lost."""
    load(store, "b", A, C)
    remove(store, "a")
    true, tried = Replacing._condemn, []

    def condemn(self: Replacing, *words: object) -> set[int]:
        if not tried:
            tried.append(1)
            with BlobStore.open(path) as other:
                with pytest.raises(Conflict):
                    sweep(other)
                (path / "state" / replacing.LOCK).unlink()
                sweep(other)
        return true(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Replacing, "_condemn", condemn)
    sweep(store)
    assert tried
    sweep(store)
    assert_whole(store, A, C)


# -- ids, clocks, machines


def test_a_pid_is_used_again(store: BlobStore, path: Path) -> None:
    """In namespaces of their own all holders have the same pid."""
    command = unshared("--pid", "--fork", "--kill-child")
    with Holder(WRITER + "say(os.getpid())" + COMMITS, path, *command) as first:
        dead, pid = first.hear().split()[1], first.hear()
        first.kill()
    with Holder(WRITER + "say(os.getpid())" + COMMITS, path, *command) as second:
        alive = second.hear().split()[1]
        assert second.hear() == pid
        assert alive not in dead_leases(store.catalog, store.state_dir)
        sweep(store)
        assert [row.id for row in store.catalog.leases()] == [alive] != [dead]
        second.tell()
        assert second.end() == ["committed"]
    sweep(store)
    assert_whole(store, A, B, C)


@pytest.mark.parametrize("days", [-20_000, -1, 1, 400])
def test_the_clock_is_set(store: BlobStore, path: Path, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Who is alive, what is older and what is condemned has nothing to do with clocks."""
    with store.reading() as reading, store.session() as session:
        push(session, "b", A, C)
        session.sink.seal()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + days * DAY)
        remove(store, "a")
        load(store, "c", B)
        sweep(store)
        assert dead_leases(store.catalog, store.state_dir) == []
        assert {lease.id for lease in store.catalog.leases()} == {reading.lease.id, session.lease.id}
        session.commit()
    load(store, "c", C)  # the later one counts, though its clock be behind
    sweep(store)
    assert_whole(store, A, C)
    assert store.resolve(full("c")).digest != store.resolve(full("b")).digest


@pytest.mark.parametrize(
    ("age", "stays"), [(0, True), (OLD - DAY, True), (OLD + DAY, False), (-DAY, True), (-OLD - DAY, False)])
def test_the_clock_and_what_is_kept_of_downloads(store: BlobStore, age: int, stays: bool) -> None:
    """A living writer's partial stays whatever the time; a dead one's goes when it is old, or from a future far off."""
    partials = Partials(store.state_dir, store.backend)
    partials.folder.mkdir(exist_ok=True)
    now = time.time()
    with store.session() as session:
        mine = partials.folder / f"sha256-{'1' * 64}.{session.lease.id}.1"
        dead = partials.folder / f"sha256-{'2' * 64}.{'0' * 32}.1"
        for each in (mine, dead):
            each.touch()
            os.utime(each, (now - age, now - age))
        sweep(store)
        assert mine.exists()
        assert dead.exists() == stays


def test_a_store_of_a_dead_machine(store: BlobStore, path: Path, tmp_path: Path) -> None:
    """Rows, lock files and temporaries came with it; nobody holds the locks."""
    copy = tmp_path / "copy"
    with Holder(WRITER + COMMITS, path) as writer:
        writer.hear()
        shutil.copytree(path, copy)
    with BlobStore.open(copy) as moved:
        assert len(moved.catalog.leases()) == 1
        load(moved, "b", C)
        sweep(moved)
        assert_whole(moved, A, B, C)


def test_a_second_container(store: BlobStore, path: Path, tmp_path: Path) -> None:
    """Another mount and another path, another pid: the lock is the file's."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = [*unshared("--mount", "--pid", "--fork", "--kill-child"), "sh", "-c",
               f'mount --bind "{path}" "{volume}" && exec "$@"', "sh"]
    with Holder(WRITER + COMMITS, volume, *command) as writer:
        lease = writer.hear().split()[1]
        remove(store, "a")
        sweep(store)
        assert [row.id for row in store.catalog.leases()] == [lease]
        assert store.catalog.packs(CONDEMNED)
        writer.tell()
        assert writer.end() == ["committed"]
    sweep(store)
    sweep(store)
    assert_whole(store, A, C)


# -- moves


def test_a_store_moves_while_it_is_open(store: BlobStore, path: Path, tmp_path: Path) -> None:
    store.close()
    with Holder(WRITER + COMMITS, path) as writer:
        writer.hear()
        path.rename(tmp_path / "moved")
        writer.tell()
        (said,) = writer.end()
        assert said in {"LeaseLost", "StorageError", "StoreDamaged", "NotFound"}
    assert not path.exists()
    with BlobStore.open(tmp_path / "moved") as moved:
        sweep(moved)
        assert_whole(moved, A, B)


@pytest.mark.parametrize("step", ["_condemn", "delete_condemned", "drop_orphans"])
def test_a_copy_takes_the_place_of_a_store_under_a_collector(
    store: BlobStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What the one condemned is in use in the other, and has the same name."""
    _between(monkeypatch, step, lambda: _swap(path, tmp_path), store)
    with suppress(LaminaError):
        sweep(store)
    with BlobStore.open(path) as copy:
        assert problems(copy) == []
        assert set(names(copy)) == {full("a"), full("b"), full("later")}
        assert read(copy, _digest(copy, A)) == A


def _swap(path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "old")
    shutil.copytree(tmp_path / "before", path)
    with BlobStore.open(path) as copy:
        load(copy, "later", layer(7))


def _digest(store: BlobStore, data: bytes) -> str:
    return next(row.digest for row in store.catalog.blobs() if row.size == len(data) and read(store, row.digest) == data)


def _between(monkeypatch: pytest.MonkeyPatch, step: str, act: Callable[[], None], store: BlobStore) -> None:
    """Let `act` happen in a collection, once, just before that step does what cannot be undone."""
    load(store, "b", C)
    shutil.copytree(store.path, store.path.parent / "before")
    remove(store, "a")
    # The deleting has looked at the leases already.
    place, name = (Replacing if step == "_condemn" else replacing), step.replace("delete_condemned", "_oldest_reader")
    true, done = getattr(place, name), []

    def between(*words: object) -> object:
        result = true(*words) if name != step else None
        if not done and (name == step or store.catalog.packs(CONDEMNED)):
            done.append(1)
            act()
        return true(*words) if name == step else result

    monkeypatch.setattr(place, name, between)


# -- catalogs


@pytest.mark.parametrize("step", ["_condemn", "delete_condemned", "drop_orphans"])
def test_the_catalog_is_rebuilt_under_a_collector(
    store: BlobStore, path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The new catalog has adopted what the old one condemned, and another writer relies on it."""

    def rebuild() -> None:
        (path / "state" / "catalog.sqlite").unlink()
        with BlobStore.open(path) as other:
            load(other, "new", A, B)
            load(other, "newer", layer(8))

    _between(monkeypatch, step, rebuild, store)
    with suppress(LeaseLost):
        sweep(store)
    with BlobStore.open(path) as other:
        assert problems(other) == []
        assert {full("new"), full("newer"), full("b")} <= set(names(other))
        sweep(other)
        assert_whole(other, A, B, C)


def test_the_catalog_is_rebuilt_under_a_writer(store: BlobStore, path: Path) -> None:
    with Holder(WRITER + COMMITS, path) as writer:
        writer.hear()
        (path / "state" / "catalog.sqlite").unlink()
        with BlobStore.open(path) as other:
            sweep(other)
            writer.tell()
            assert writer.end() == ["LeaseLost"]
            assert set(names(other)) == {full("a")}
            sweep(other)
            sweep(other)
            assert_whole(other, A, B)


def test_the_catalog_is_rebuilt_under_a_writer_that_has_something_to_drop(store: BlobStore, path: Path) -> None:
    """The new catalog has adopted its sealed packs, and another writer relies on one that it would drop."""
    from lamina.content.verify import BytesReader

    session = store.session()
    with pytest.raises(LeaseLost), session:
        session.intake(BytesReader(C), plain=True)  # no manifest is going to name it
        session.sink.seal()
        (path / "state" / "catalog.sqlite").unlink()
        with BlobStore.open(path) as other:
            load(other, "b", C)
        session.commit()
    with BlobStore.open(path) as other:
        sweep(other)
        assert_whole(other, A, B, C)


def test_the_catalog_is_rebuilt_under_a_reader(store: BlobStore, path: Path) -> None:
    with Holder(READER, path) as reader:
        reader.hear()
        (path / "state" / "catalog.sqlite").unlink()
        with BlobStore.open(path) as other:
            remove(other, "a")
            for _ in range(3):
                sweep(other)
            reader.tell()
            assert reader.end() == ["True"]
            sweep(other)
            sweep(other)
            assert_whole(other)


# -- leases that are lost


def test_a_row_is_removed_by_hand(store: BlobStore, path: Path) -> None:
    with Holder(WRITER + COMMITS, path) as writer:
        lease = writer.hear().split()[1]
        with store.catalog.transaction() as tx:
            tx.remove_lease(lease)
        remove(store, "a")
        sweep(store)
        writer.tell()
        assert writer.end() == ["LeaseLost"]
    sweep(store)
    sweep(store)
    assert names(store) == {}
    assert_whole(store)


def test_a_lock_file_is_deleted(store: BlobStore, path: Path) -> None:
    """Its lease is dead for all others: what it wrote goes, and it publishes nothing."""
    with Holder(WRITER + COMMITS, path) as writer:
        lease = writer.hear().split()[1]
        (path / "state" / "leases" / lease).unlink()
        sweep(store)
        writer.tell()
        assert writer.end() == ["LeaseLost"]
    sweep(store)
    assert set(names(store)) == {full("a")}
    assert_whole(store, A, B)


def test_a_lock_file_is_deleted_while_orphans_are_looked_for(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever's packs go as a dead one's has lost its lease: it must not publish them."""
    with pytest.raises(LeaseLost), store.session() as session:
        push(session, "b", C)
        session.sink.seal()
        true = replacing.dead_leases

        def gone_by_then(*words: object) -> list[str]:
            (store.state_dir / "leases" / session.lease.id).unlink(missing_ok=True)
            return true(*words)  # type: ignore[arg-type]

        monkeypatch.setattr(replacing, "dead_leases", gone_by_then)
        sweep(store)
        session.commit()
    sweep(store)
    assert_whole(store, A, B)


def test_a_hold_needs_a_lease(store: BlobStore) -> None:
    """Else it would be nobody's, and its blobs would stay for ever."""
    with pytest.raises(LeaseLost), store.session() as session:
        with store.catalog.transaction() as tx:
            tx.remove_lease(session.lease.id)
        session.exists(store.resolve(_digest(store, A)))
    with pytest.raises(LeaseLost), store.reading() as reading:
        with store.catalog.transaction() as tx:
            tx.remove_lease(reading.lease.id)
        reading.keep(_digest(store, A))
    remove(store, "a")
    sweep(store)
    assert not list(store.catalog.blobs())


def test_what_is_kept_is_there(store: BlobStore) -> None:
    digest = _digest(store, A)
    remove(store, "a")
    sweep(store)
    with store.reading() as reading, pytest.raises(NotFound):
        reading.keep(digest)


def test_a_lease_that_is_being_made_holds_nothing_up(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a crowd there is always one."""
    remove(store, "a")
    true, seen = Catalog.transaction, []

    def slow(self: Catalog) -> object:
        if not seen and os.listdir(store.state_dir / "leases"):  # noqa: PTH208 - names only
            seen.append(1)
            with BlobStore.open(store.path) as other:
                assert oldest_start(other.catalog, other.state_dir) is None
                sweep(other)
                assert other.catalog.packs(CONDEMNED) == []
        return true(self)

    monkeypatch.setattr(Catalog, "transaction", slow)
    with store.reading() as reading:
        assert seen
        monkeypatch.setattr(Catalog, "transaction", true)
        with store.catalog.transaction() as tx:
            tx.remove_lease(reading.lease.id)
        assert oldest_start(store.catalog, store.state_dir) == 0  # its row was there, and is lost


def test_a_commit_that_is_done_does_not_fail_at_its_end(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.session() as session:
        push(session, "b", C)

        def release(self: Lease) -> None:
            raise StorageError("the disk is full", self.id)

        monkeypatch.setattr(Lease, "release", release)
        session.commit()
    assert set(names(store)) == {full("a"), full("b")}


def test_a_lock_that_may_not_be_opened(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's: one clear error.  Root may open all, so the kernel's answer is made up."""
    true, refuse = os.open, ""

    def refused(path: Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(refuse):
            raise PermissionError(13, "Permission denied")
        return true(path, flags, mode)

    with BlobStore.open(store.path) as other:
        monkeypatch.setattr(forks.os, "open", refused)
        refuse = "catalog.sqlite.lock"
        with pytest.raises(StorageError, match=r"catalog's lock: Permission denied, .*catalog\.sqlite\.lock, ."):
            sweep(other)
        refuse = replacing.LOCK
        with pytest.raises(StorageError, match=r"collector's lock: no permission, .*collect\.lock, ."):
            sweep(other)


# -- forks and threads


FORKS = WRITER + """
pid = os.fork()
if pid == 0:
    {child}
    os._exit(0)
"""


def test_a_child_does_not_keep_the_lease_of_its_parent(store: BlobStore, path: Path) -> None:
    with Holder(FORKS.format(child='say("child", os.getpid()); signal.pause()') + "signal.pause()", path) as parent:
        parent.hear()
        child = int(parent.hear().split()[1])
        try:
            assert dead_leases(store.catalog, store.state_dir) == []
            parent.kill()
            os.kill(child, 0)  # it lives
            sweep(store)
            assert_whole(store, A, B)
        finally:
            os.kill(child, 9)


def test_a_child_neither_releases_nor_undoes(store: BlobStore, path: Path) -> None:
    """It gets one clear error for all that it tries with what it inherited."""
    child = """
    for act in (session.commit, store.catalog.refs, lambda: store.session(), lambda: store.reading(), store.usage,
                lambda: push(session, "d", layer(9)), lambda: store.collect()):
        try:
            act()
            say("no error")
        except LaminaError as error:
            say(type(error).__name__, "forked" in error.what)
    session.abort()
    store.close()
    say("tried")
"""
    with Holder(FORKS.format(child=child) + "os.waitpid(pid, 0)\n" + COMMITS, path) as parent:
        parent.hear()
        said = []
        while (line := parent.hear()) != "tried":
            said.append(line)
        assert said == ["StoreError True"] * 7
        parent.tell()
        assert parent.end() == ["committed"]
    sweep(store)
    assert_whole(store, A, B, C)


def test_a_child_opens_the_store_itself(path: Path) -> None:
    """SQLite would take the parent's locks for its own, and lose what it commits when the parent has gone."""
    with BlobStore.open(path):
        pass
    code = """
store = BlobStore.open(path)
load(store, "a", layer(1))
there, here = os.pipe()
if os.fork() == 0:
    own = BlobStore.open(path)
    load(own, "b", layer(2))
    say("loaded")
    os.read(there, 1)
    load(own, "c", layer(3))
    say("loaded")
    os._exit(0)
hear()
store.close()
os.write(here, b"x")
os.wait()
"""
    with Holder(code, path) as parent:
        parent.hear()
        parent.tell()
        assert parent.end() == ["loaded"]
    with BlobStore.open(path) as store:
        assert set(names(store)) == {full("a"), full("b"), full("c")}
        assert_whole(store, A, B, C)


def test_a_fork_in_the_middle_of_a_transaction(store: BlobStore, path: Path) -> None:
    """The child, which ends as programs end, does not undo what is its parent's."""
    code = """
store = BlobStore.open(path)
with store.catalog.transaction() as tx:
    tx.raise_seq(1000)
    pid = os.fork()
    if pid == 0:
        try:
            store.catalog.refs()
        except LaminaError as error:
            say(type(error).__name__)
        store = None
        sys.exit(0)
    os.waitpid(pid, 0)
say(store.catalog.sequence())
"""
    with Holder(code, path) as parent:
        said = parent.end()
    assert said[0] == "StoreError"
    assert said[-1] == "1000"
    assert store.catalog.sequence() == 1000
    assert_whole(store, A, B)


def test_threads_of_one_process(store: BlobStore) -> None:
    """Sessions, readings and a collector, all over one open store."""
    failures: list[BaseException] = []
    begin = threading.Barrier(9)
    shared = _digest(store, A)

    def work(number: int) -> None:
        try:
            begin.wait()
            for turn in range(3):
                load(store, f"t{number}", A, layer(10 + number + turn))
                assert read(store, shared) == A
                remove(store, f"t{number}")
                with suppress(Conflict):
                    sweep(store)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    begin.wait()
    for thread in threads:
        thread.join()
    assert failures == []
    sweep(store)
    assert_whole(store, A, B)


def test_what_a_commit_has_put_elsewhere_stays_there(store: BlobStore) -> None:
    """Bytes that were a layer have come as a manifest while the collector copied their head."""
    digest = "sha256:" + "a" * 64
    with store.catalog.transaction() as tx:
        tx.add_blob(BlobRow(digest, digest, "layer", "m", 1, 5, 1))
        tx.move_blobs([(digest, 6, 2)])
        tx.follow_blobs([(digest, 7, 3)], {5})
        assert store.catalog.blob(digest).pack == 6
        tx.follow_blobs([(digest, 7, 3)], {6})
        assert store.catalog.blob(digest).pack == 7
        tx.remove_blobs([digest])


