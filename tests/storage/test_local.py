from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contracts.backend import BackendContract, get, pattern, put

from lamina.errors import NotFound, StorageError, StoreDamaged, StoreError, StoreTooNew
from lamina.storage import direct, local, mounts
from lamina.storage.local import LocalBackend
from lamina.storage.writer import sync_directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def backend(root: Path) -> LocalBackend:
    backend = LocalBackend(root)
    backend.initialise()
    return backend


class TestLocal(BackendContract):
    pass


@pytest.fixture
def refuse_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without O_DIRECT, which makes the file before it says so."""
    true_open = os.open

    def refusing(path: object, flags: int, mode: int = 0o777) -> int:
        fd = true_open(path, flags & ~os.O_DIRECT, mode)  # type: ignore[arg-type]
        if flags & os.O_DIRECT:
            os.close(fd)
            raise OSError(errno.EINVAL, "no O_DIRECT")
        return fd

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.usefixtures("refuse_direct")
class TestBuffered(BackendContract):
    def test_drained(self, backend: LocalBackend) -> None:
        data = pattern(20 << 20)
        put(backend, "packs/ab/one", data)
        assert get(backend, "packs/ab/one") == data


class TestDirectRefusedAtWrite(BackendContract):
    @pytest.fixture(autouse=True)
    def _refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import fcntl

        true_write = os.pwrite

        def refusing(fd: int, data: bytes, offset: int) -> int:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
                raise OSError(errno.EINVAL, "misaligned")
            return true_write(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", refusing)


def test_the_directory_is_private_whatever_the_umask(root: Path) -> None:
    for mask, path in [(0o000, root), (0o277, root.with_name("other"))]:
        before = os.umask(mask)
        try:
            path.mkdir(parents=True)
            path.rmdir()
            LocalBackend(path).initialise()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_of_the_user_keeps_its_mode(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o2775)
    LocalBackend(root).initialise()
    assert stat.S_IMODE(root.stat().st_mode) == 0o2775


def test_a_directory_with_other_things_is_refused(root: Path) -> None:
    root.mkdir()
    (root / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"letters\.txt"):
        LocalBackend(root).initialise()
    assert [each.name for each in root.iterdir()] == ["letters.txt"]


def test_an_interrupted_initialisation_is_completed(root: Path) -> None:
    (root / "packs").mkdir(parents=True)
    (root / "tmp").mkdir()
    with pytest.raises(NotFound):
        LocalBackend(root).read_format()
    assert LocalBackend(root).initialise().version == 2
    assert not any((root / "tmp").iterdir())


def test_the_directories_last_before_the_format(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss must not leave a format without them: nobody would make them then."""
    seen: list[set[str]] = []

    def sync(path: Path) -> None:
        if path == root:
            seen.append({entry.name for entry in path.iterdir()})
        sync_directory(path)

    monkeypatch.setattr(local, "sync_directory", sync)
    LocalBackend(root).initialise()
    assert {"packs", "tmp", "state"} in seen
    assert seen[-1] == {"packs", "tmp", "state", "format"}


def test_of_two_at_it_the_first_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, true_link = [], os.link

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", true_link)
        first.append(LocalBackend(root).initialise())
        true_link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    assert [LocalBackend(root).initialise()] == first


@pytest.mark.parametrize("text", ["", "lamina store\nversion 1\n", "lamina store\nversion x\nid " + "0" * 32 + "\n"])
def test_a_damaged_format_file(root: Path, backend: LocalBackend, text: str) -> None:
    (root / "format").write_text(text)
    with pytest.raises(StoreDamaged):
        backend.read_format()


def test_a_newer_store(root: Path, backend: LocalBackend) -> None:
    (root / "format").write_text("lamina store\nversion 3\nid " + "0" * 32 + "\n")
    with pytest.raises(StoreTooNew, match="version 3"):
        backend.initialise()


def test_o_direct_is_used_where_it_is_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noting(path: object, flags: int, mode: int = 0o777) -> int:
        asked.append(flags)
        raise OSError(errno.EACCES, "stop")

    backend = LocalBackend(root)
    backend.initialise()
    monkeypatch.setattr(os, "open", noting)
    with pytest.raises(StorageError, match="no permission"):
        backend.create("packs/ab/one", "me")
    assert asked[0] & os.O_DIRECT
    assert asked[0] & os.O_EXCL


def test_buffers_are_used_again_and_few_are_kept(backend: LocalBackend) -> None:
    writers = [backend.create(f"packs/ab/{i}", "me") for i in range(10)]
    for each in writers:
        each.abort()
    assert len(direct._pool) == 4
    kept = {id(buffer) for buffer in direct._pool}
    put(backend, "packs/ab/one", b"x")
    assert {id(buffer) for buffer in direct._pool} == kept


# -- the disk says no -----------------------------------------------------------------------------------------


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(("code", "text"), [
    (errno.ENOSPC, "no space left"), (errno.EDQUOT, "quota"), (errno.EIO, "input/output"), (errno.EROFS, "read-only"),
    (errno.ETXTBSY, "busy"),
])
def test_a_write_that_fails(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    each = backend.create("packs/ab/one", "me")
    each.write(b"x" * 1000)
    monkeypatch.setattr(os, "pwrite", failing(code))
    with pytest.raises(StorageError, match=text) as caught:
        each.write(bytes(2 << 20))
    assert caught.value.where.endswith("packs/ab/one")
    with pytest.raises(ValueError, match="closed"):
        each.seal()
    assert list(backend.temporaries()) == []
    assert list(backend.list()) == []


@pytest.mark.parametrize("act", ["fsync", "ftruncate"])
def test_a_seal_that_fails_gives_the_file_up(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    each = backend.create("packs/ab/one", "me")
    each.write(b"x" * 1000)
    monkeypatch.setattr(os, act, failing(errno.EIO))
    with pytest.raises(StorageError, match="input/output"):
        each.seal()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="closed"):
        each.seal()
    assert list(backend.temporaries()) == []
    assert list(backend.list()) == []


@pytest.mark.parametrize("act", ["sync of a reach", "write"])
def test_what_has_lost_bytes_is_never_sealed(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """The system tells once, of a file, that its bytes are lost: the next sync would go well."""
    each = backend.create("packs/ab/one", "me")
    each.write(pattern(3 << 20))
    reach = each.reach()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync" if act != "write" else "pwrite", failing(errno.EIO))
        with pytest.raises(StorageError, match="input/output"):
            reach.sync() if act != "write" else each.write(pattern(2 << 20))
    with pytest.raises(StorageError if act != "write" else ValueError):
        each.seal()
    with pytest.raises(StorageError, match="input/output"):
        reach.sync()
    reach.close()
    assert list(backend.temporaries()) == []
    assert list(backend.list()) == []


def test_a_seal_waits_for_a_sync_that_is_under_way(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it may be done before the other thread has been told that bytes are lost."""
    each = backend.create("packs/ab/one", "me")
    each.write(pattern(3 << 20))
    reach = each.reach()
    syncing, sealing = threading.Event(), threading.Event()

    def lose(fd: int) -> None:
        syncing.set()
        sealing.wait()
        raise OSError(errno.EIO, "I/O error")

    def sync() -> None:
        with pytest.raises(StorageError, match="input/output"):
            reach.sync()

    monkeypatch.setattr(os, "fdatasync", lose)
    with ThreadPoolExecutor(2) as pool:
        synced = pool.submit(sync)
        syncing.wait()
        sealed = pool.submit(lambda: (sealing.set(), each.seal()))
        synced.result()
        with pytest.raises(StorageError, match="input/output"):
            sealed.result()
    reach.close()
    assert list(backend.temporaries()) == []
    assert list(backend.list()) == []


def test_a_directory_that_does_not_sync_shows_nothing(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "packs/ab/other", b"x")
    true_sync = os.fsync

    def fail(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, "I/O error")
        true_sync(fd)

    each = backend.create("packs/ab/one", "me")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="input/output"):
        each.seal()
    assert [name for name, _ in backend.list()] == ["packs/ab/other"]
    assert list(backend.temporaries()) == []


def test_the_order_of_a_seal(backend: LocalBackend, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, name, directory: in no other order is it durable before it is visible."""
    done: list[str] = []
    true_sync, true_rename = os.fsync, Path.rename

    def sync(fd: int) -> None:
        done.append("sync " + str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(root)))
        true_sync(fd)

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return true_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    put(backend, "packs/ab/one", b"x", owner="me")
    assert done == ["sync tmp/me.one", "sync packs", "rename", "sync packs/ab", "sync tmp"]


def test_short_writes_go_on(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    true_write = os.pwrite

    def short(fd: int, data: memoryview, offset: int) -> int:
        return true_write(fd, data[:12288], offset) - 100 * (len(data) > 4096)

    monkeypatch.setattr(os, "pwrite", short)
    put(backend, "packs/ab/one", pattern(1_234_567))
    monkeypatch.undo()
    assert get(backend, "packs/ab/one") == pattern(1_234_567)


def test_a_write_of_nothing_is_a_full_disk(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    each = backend.create("packs/ab/one", "me")
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 100)
    with pytest.raises(StorageError, match="no space left"):
        each.write(bytes(1 << 20))


@pytest.fixture
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("reserve", [0, 64 << 20])
def test_a_real_limit(backend: LocalBackend, reserve: int) -> None:
    """No room for the reservation is no error; no room for the bytes is."""
    with backend.create("packs/ab/small", "me", reserve=reserve) as each:
        each.write(b"x" * 100_000)
        each.seal()
    each = backend.create("packs/ab/large", "me", reserve=reserve)
    with pytest.raises(StorageError, match="file too large"):
        each.write(b"x" * 2_000_000)
    assert list(backend.temporaries()) == []
    assert list(backend.list()) == [("packs/ab/small", 100_000)]


def test_reserved_space_is_given_back(backend: LocalBackend, root: Path) -> None:
    with backend.create("packs/ab/one", "me", reserve=4 << 20) as each:
        each.write(b"x" * 10)
        each.seal()
    assert (root / "packs/ab/one").stat().st_blocks * 512 <= 8192


def test_a_file_in_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StorageError, match="not a directory"):
            LocalBackend(root).initialise()


def test_unreadable(root: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "packs/ab/one", b"x")
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    with pytest.raises(StorageError, match="no permission"):
        backend.open("packs/ab/one")
    monkeypatch.setattr(os, "scandir", failing(errno.EACCES))
    with pytest.raises(StorageError, match="no permission"):
        list(backend.list())


def test_no_permission_for_a_user(tmp_path: Path) -> None:
    """With a real user other than root, where we may become one."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code = """
import os, sys
from pathlib import Path
from lamina.errors import StorageError
from lamina.storage.local import LocalBackend
if os.getuid() == 0:
    os.chdir(sys.argv[1]); os.chown(".", 65534, 65534); os.setgroups([]); os.setgid(65534); os.setuid(65534)
else:
    os.chdir(sys.argv[1])
try:
    LocalBackend(Path("store")).initialise()
except StorageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(locked)], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert "no permission" in done.stdout


def test_a_read_that_fails(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "packs/ab/one", b"x")
    with backend.open("packs/ab/one") as handle:
        monkeypatch.setattr(os, "preadv", failing(errno.EIO))
        with pytest.raises(StorageError, match="input/output"):
            handle.pread_into(memoryview(bytearray(1)), 0)


def test_strays_can_be_swept(backend: LocalBackend, root: Path) -> None:
    for name in (".nfs01", "no dot", "x y.z"):
        (root / "tmp" / name).write_text("x")
    for each in backend.temporaries():
        assert backend.sweep_temporaries(each.owner) == 1
    assert not any((root / "tmp").iterdir())


# -- file systems ----------------------------------------------------------------------------------------------

MOUNTS = rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /proc rw - proc proc rw
40 21 0:40 / /home rw master:1 - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/me/disk rw - ext4 /dev/sdb rw
42 21 0:42 / /mnt/with\040blank rw - fuse.sshfs me@there:/ rw
43 21 0:43 / /twice rw - cifs //server/share rw
44 43 0:44 / /twice rw - tmpfs none rw
broken line
45 21 0:45 / /home2 rw - btrfs /dev/sdc rw
"""


@pytest.mark.parametrize(("path", "kind"), [
    ("/var/store", "ext4"), ("/home/me/store", "nfs4"), ("/home", "nfs4"), ("/home/me/disk/store", "ext4"),
    ("/mnt/with blank/store", "fuse.sshfs"), ("/twice/store", "tmpfs"), ("/home2/store", "btrfs"), ("/homes", "ext4"),
])
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert mounts.file_system(Path(path), MOUNTS)[0] == kind


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"40 21 0:40 / / rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(mounts, "_MOUNTS", table)
    store = LocalBackend(tmp_path / "store")
    with pytest.raises(StoreError, match=r"network file system \(nfs4, mounted at /\).*--store"):
        store.initialise()
    assert not store.root.exists()
    table.write_bytes(b"40 21 0:40 / / rw - ext4 /dev/sda rw\n")
    store.initialise()
    table.write_bytes(b"40 21 0:40 / / rw - fuse.sshfs me@there rw\n")
    with pytest.raises(StoreError, match="network"):
        store.state_dir()


def test_without_a_table_of_mounts_all_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    LocalBackend(tmp_path / "store").initialise()


@pytest.mark.parametrize("name", ["packs", "tmp", "state", "quarantine", "state/leases", "state/catalog.sqlite",
                                  "state/verify.new", "state/anything"])
def test_a_link_out_of_the_store_is_refused(tmp_path: Path, name: str) -> None:
    """What lies there would be swept away as ours."""
    store = LocalBackend(tmp_path / "store")
    store.initialise()
    path = store.root / name
    if path.exists():
        path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="a symbolic link stands in the store"):
        store.read_format()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path / "store")
    store.initialise()
    (store.root / "packs" / "ab").mkdir()
    os.mkfifo(store.root / "packs" / "ab" / "abc")
    with pytest.raises(StoreDamaged, match="no regular file"):
        store.open("packs/ab/abc")
    (store.root / "format").unlink()
    os.mkfifo(store.root / "format")
    with pytest.raises(StoreDamaged, match="format file"):
        store.read_format()


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys
import lamina.storage.local, lamina.store.catalog, lamina.store.lease
print(sorted({"numpy", "zstandard", "rich", "isal", "ctypes", "blake3"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == "[]\n"
