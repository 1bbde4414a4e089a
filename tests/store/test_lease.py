from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest

from lamina.errors import LeaseLost, StorageError, StoreLocked
from lamina.storage.local import LocalBackend
from lamina.store import forks
from lamina.store import lease as module
from lamina.store.catalog import Catalog
from lamina.store.lease import Lease, dead_leases, oldest_start, reap
from lamina.store.schema import BlobRow
from lamina.store.transaction import Transaction

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    backend = LocalBackend(tmp_path / "store")
    backend.initialise()
    return backend


@pytest.fixture
def state(backend: LocalBackend) -> Path:
    return backend.state_dir()


@pytest.fixture
def catalog(state: Path) -> Iterator[Catalog]:
    with Catalog.create(state / "catalog.sqlite", timeout=0.2) as catalog:
        yield catalog


def files(state: Path) -> list[str]:
    return sorted(each.name for each in (state / "leases").iterdir())


def rows(catalog: Catalog) -> list[str]:
    return [row.id for row in catalog.leases()]


HOLDER = """
import os, sys
from pathlib import Path
from lamina.storage.local import LocalBackend
from lamina.store.catalog import Catalog
from lamina.store.lease import Lease
backend = LocalBackend(Path(sys.argv[1]))
catalog = Catalog.open(backend.state_dir() / "catalog.sqlite")
lease = Lease.acquire(catalog, backend.state_dir(), "load")
with catalog.transaction() as tx:
    tx.hold(lease.id, sys.argv[2])
writer = backend.create("packs/ab/abc", lease.id)
writer.write(bytes(2 << 20))
print(lease.id, flush=True)
sys.stdin.read()
"""


class Holder:
    """A real process with a lease, a hold and a temporary; it waits to be killed."""

    def __init__(self, backend: LocalBackend) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", HOLDER, str(backend.root), DIGEST], env=ENV, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.id = self._pipe(self._process.stdout).readline().strip()
        assert len(self.id) == 32

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe
        return pipe

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()


@pytest.fixture
def holder(backend: LocalBackend, catalog: Catalog) -> Iterator[Holder]:
    holder = Holder(backend)
    yield holder
    holder.kill()


def test_acquire_and_release(catalog: Catalog, state: Path) -> None:
    drawn = catalog.next_seq()
    with Lease.acquire(catalog, state, "load") as lease:
        assert lease.start == drawn + 1
        assert [tuple(row) for row in catalog.leases()] == [(lease.id, "load", drawn + 1)]
        assert files(state) == [lease.id]
        with catalog.transaction() as tx:
            tx.check_lease(lease.id)
            tx.hold(lease.id, DIGEST)
            tx.hold(lease.id, DIGEST)
    assert rows(catalog) == []
    assert files(state) == []
    assert catalog._db.read("SELECT * FROM holds") == []
    lease.release()
    with pytest.raises(LeaseLost), catalog.transaction() as tx:
        tx.check_lease(lease.id)


def test_killed_is_dead_and_alive_is_not(catalog: Catalog, state: Path, backend: LocalBackend, holder: Holder) -> None:
    with catalog.transaction() as tx:
        tx.add_blob(BlobRow(DIGEST, DIGEST, "blob", "m", 1, 1, 1))
    with Lease.acquire(catalog, state, "gc") as mine:
        assert dead_leases(catalog, state) == []
        assert reap(catalog, state, backend) == []
        assert [each.owner for each in backend.temporaries()] == [holder.id]
        assert catalog.unreachable() == set()
        holder.kill()
        assert dead_leases(catalog, state) == [holder.id]
        assert reap(catalog, state, backend) == [holder.id]
        assert rows(catalog) == files(state) == [mine.id]
        assert backend.temporaries() == []
        assert catalog.unreachable() == {DIGEST}
        assert reap(catalog, state, backend) == []


def test_a_reader_elsewhere_keeps_what_was_condemned(catalog: Catalog, state: Path, backend: LocalBackend) -> None:
    """A lease that is taken between the collector's number and its condemnation is older than the condemnation."""
    assert oldest_start(catalog, state) is None
    catalog.next_seq()
    with Lease.acquire(catalog, state, "save") as reader:
        with catalog.transaction() as tx:
            tx.add_pack(1, "ab" * 16, 1, 1)
            condemned = tx.condemn_packs([1])
        oldest = oldest_start(catalog, state)
        assert oldest == reader.start
        assert oldest < condemned
        with Lease.acquire(catalog, state, "save") as later:
            assert later.start > condemned
            assert oldest_start(catalog, state) == reader.start
            reader.release()
            assert oldest_start(catalog, state) == later.start
    assert oldest_start(catalog, state) is None


def test_a_lease_without_a_row_counts_as_the_oldest(catalog: Catalog, state: Path, backend: LocalBackend) -> None:
    """After the catalog was rebuilt."""
    lease = Lease.acquire(catalog, state, "save")
    with catalog.transaction() as tx:
        tx.remove_lease(lease.id)
    assert oldest_start(catalog, state) == 0
    assert dead_leases(catalog, state) == []
    writer = backend.create("packs/ab/abc", lease.id)
    assert reap(catalog, state, backend) == []
    assert files(state) == [lease.id]
    assert len(backend.temporaries()) == 1
    writer.abort()
    with pytest.raises(LeaseLost), catalog.transaction() as tx:
        tx.check_lease(lease.id)
    lease.release()
    assert oldest_start(catalog, state) is None


def test_release_after_a_rebuild_is_quiet(catalog: Catalog, state: Path) -> None:
    path = state / "catalog.sqlite"
    with Lease.acquire(catalog, state, "save") as lease:
        path.unlink()
        with Catalog.rebuild(path, lambda _: None) as fresh, pytest.raises(LeaseLost), fresh.transaction() as tx:
            tx.check_lease(lease.id)
    assert files(state) == []


def test_rows_without_files_and_files_without_rows(catalog: Catalog, state: Path, backend: LocalBackend) -> None:
    with catalog.transaction() as tx:
        tx.add_lease("row", "load")
        tx.hold("row", DIGEST)
    (state / "leases").mkdir()
    (state / "leases" / "file").touch()
    backend.create("packs/ab/abc", "file").write(b"x")
    backend.create("packs/ab/abc", "orphan").write(b"x")
    assert dead_leases(catalog, state) == ["file", "row"]
    assert reap(catalog, state, backend) == ["file", "row"]
    assert rows(catalog) == files(state) == []
    assert backend.temporaries() == []
    assert catalog._db.read("SELECT * FROM holds") == []


@pytest.mark.parametrize("name", ["../../mine", "/{tmp}/mine", "..", "", "a/b"])
def test_a_row_that_leads_elsewhere_removes_nothing_there(
    catalog: Catalog, state: Path, backend: LocalBackend, tmp_path: Path, name: str
) -> None:
    """A catalog may be a stranger's."""
    (state / "leases").mkdir()
    mine = (state / "leases" / "../../mine").resolve()
    mine.touch()
    with catalog.transaction() as tx:
        tx.add_lease(name.replace("/{tmp}/mine", str(mine)), "load")
    assert dead_leases(catalog, state) == reap(catalog, state, backend) == []
    assert mine.exists()


def test_without_any_lease(catalog: Catalog, state: Path, backend: LocalBackend) -> None:
    assert dead_leases(catalog, state) == reap(catalog, state, backend) == []


def test_what_was_taken_for_dead_is_made_anew(catalog: Catalog, state: Path, backend: LocalBackend,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our making the file and our locking it, another process takes it for dead; and a third, which has opened it by
    then, comes to that later."""
    true_lock, reaped, late = fcntl.flock, [], []

    def overtaken(fd: int, kind: int) -> None:
        monkeypatch.setattr(fcntl, "flock", true_lock)
        (name,) = files(state)
        late.append(forks.open_lock(state / "leases" / name, os.O_RDONLY))
        reaped.extend(reap(catalog, state, backend))
        true_lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with Lease.acquire(catalog, state, "load") as lease:
        monkeypatch.setattr(forks, "open_lock", lambda *_: late.pop())
        assert module._reap(catalog, state, reaped[0])
        monkeypatch.undo()
        assert files(state) == rows(catalog) == [lease.id]
        assert dead_leases(catalog, state) == []
        with catalog.transaction() as tx:
            tx.check_lease(lease.id)


def test_while_it_is_reaped_nobody_else_can(catalog: Catalog, state: Path, backend: LocalBackend, holder: Holder,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    holder.kill()
    true_transaction, inner = catalog.transaction, []

    def transaction() -> AbstractContextManager[Transaction]:
        inner.append(reap(catalog, state, backend))
        return true_transaction()

    monkeypatch.setattr(catalog, "transaction", transaction)
    assert reap(catalog, state, backend) == [holder.id]
    assert inner == [[]]


def test_acquire_that_fails_leaves_no_file(catalog: Catalog, state: Path) -> None:
    with Catalog.open(state / "catalog.sqlite") as other, other.transaction(), pytest.raises(StoreLocked):
        Lease.acquire(catalog, state, "load")
    assert files(state) == []


def test_release_that_fails_is_quiet_and_leaves_it_dead(catalog: Catalog, state: Path, backend: LocalBackend) -> None:
    lease = Lease.acquire(catalog, state, "load")
    with Catalog.open(state / "catalog.sqlite") as other, other.transaction():
        lease.release()  # what it was for may be published: it is not to be reported as failed
    assert reap(catalog, state, backend) == [lease.id]
    assert rows(catalog) == files(state) == []


def test_a_program_that_we_start_does_not_keep_it_alive(catalog: Catalog, state: Path) -> None:
    lease = Lease.acquire(catalog, state, "load")
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], close_fds=False, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline()
        forks.close_lock(lease._fd)
        assert dead_leases(catalog, state) == [lease.id]
        child.kill()
    lease._fd = -1


def test_the_lease_directory_cannot_be_made(catalog: Catalog, state: Path) -> None:
    (state / "leases").write_text("in the way")
    for act in (lambda: Lease.acquire(catalog, state, "load"), lambda: dead_leases(catalog, state)):
        with pytest.raises(StorageError, match="cannot use a lease file"):
            act()


def test_names_of_modules_stay_light() -> None:
    assert not hasattr(module, "time")  # liveness knows no clock
