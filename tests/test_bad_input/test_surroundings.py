"""What the machine refuses: permissions, room, a newer store, a network file system, a locked catalog, terminals."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from archive.builders import Image, Member, docker_20, oci, tar, write_directory

from lamina.errors import StorageError, StoreDamaged, StoreError, StoreLocked, StoreTooNew
from lamina.storage import mounts, reserve
from test_bad_input.kit import NEW, Home, Hook, Limits, Said, assert_refused, assert_told, command, environment, loading

MODES = Limits(modes=True)

# Does not compress, so that it takes room.
def image_of(size: int) -> Image:
    return Image((tar([Member("large", random.Random(3).randbytes(size))]), tar([Member("small", b"small")])),
                 ("docker.io/library/large:1",))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(docker_20(NEW)))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.tar"
    path.write_bytes(tar(docker_20(image_of(6 << 20))))
    return path


def contents(path: Path) -> dict[str, bytes]:
    """All files below, as they are."""
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


# -- no permission


def test_no_permission_to_read(home: Home, archive: Path, tmp_path: Path) -> None:
    archive.chmod(0)
    assert_refused(home, command("load", "-q", "-i", archive, limits=MODES), f"cannot open: Permission denied, {archive}")
    layout = write_directory(tmp_path / "layout", oci(NEW))
    (layout / "blobs" / "sha256" / NEW.id.hex).chmod(0)
    assert_refused(home, command("load", "-q", "-i", layout, limits=MODES), f"Permission denied, {layout}/blobs")
    layout.chmod(0)
    assert_refused(home, command("load", "-q", "-i", layout, limits=MODES), f"ermission denied, {layout}")
    layout.chmod(0o700)


@pytest.mark.parametrize("part", ["tmp", "packs", "state/leases", "state/catalog.sqlite", "."])
def test_no_permission_to_write_the_store(home: Home, archive: Path, part: str) -> None:
    place = home.path / part
    mode = place.stat().st_mode & 0o777

    def attempt(home: Home) -> Said:
        place.chmod(0o500 if part not in (".", "state/catalog.sqlite") else 0)
        try:
            return command("load", "-q", "-i", archive, limits=MODES)(home)
        finally:
            place.chmod(mode)

    assert_refused(home, attempt, f"permission|ermission denied|unable to open.*{home.path}")


# -- no room


@pytest.mark.parametrize("limit", [4 << 10, 600 << 10, 3 << 20, 5 << 20])
def test_files_that_may_not_grow(home: Home, large: Path, limit: int) -> None:
    """As a full disk does, it ends a write in the middle: of the catalog's log, or of a pack."""
    said = assert_refused(home, command("load", "-q", "-i", large, limits=Limits(file_size=limit)),
                          "file too large|disk I/O error|cannot")
    assert str(home.path) in said.lines[0]


@pytest.mark.parametrize("calls", [1, 2, 5])
@pytest.mark.parametrize("call_name", ["pwrite", "fsync", "rename"])
def test_a_disk_that_is_full(home: Home, large: Path, monkeypatch: pytest.MonkeyPatch, call_name: str, calls: int) -> None:
    """The call fails from some time on; the line says so, and what was begun is gone when the disk has room again."""
    left = calls if call_name == "pwrite" else 1
    real = getattr(Path if call_name == "rename" else os, call_name)

    def fails(*arguments: object, **named: object) -> object:
        nonlocal left
        left -= 1
        if left < 0 or call_name != "pwrite":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    def attempt(home: Home) -> Said:
        with monkeypatch.context() as patch:
            patch.setattr(Path if call_name == "rename" else os, call_name, fails)
            return loading(large)(home)

    said = assert_refused(home, attempt, "no space left on the device, .*, free some space and try again")
    assert isinstance(said.error, StorageError)


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "lamina-test", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.interop
@pytest.mark.parametrize(("size", "match"), [
    ("1m", "not enough free space to take in new layers: .* needed, .* there"),
    ("6m", "not enough free space to take in new layers: .* needed, .* there"),
    ("20m", "no space left|not enough free space|disk I/O error"),  # begun, and full in the middle
])
def test_a_small_disk(tmp_path: Path, size: str, match: str) -> None:
    """With the real thing: 32 MB do not go in, and the room is there again afterwards but for the reserve."""
    archive = tmp_path / "larger.tar"
    archive.write_bytes(tar(docker_20(image_of(32 << 20))))
    with small_disk(tmp_path / "disk", size) as disk:
        home = Home(disk / "store")
        with home.open():
            free = free_bytes(disk)
        said = assert_refused(home, command("load", "-q", "-i", archive), match)
        assert str(disk) in said.lines[0]
        kept = home.path / "state" / reserve.NAME
        reserved = kept.stat().st_size if kept.exists() else 0
        assert abs(free - free_bytes(disk) - reserved) <= 160 << 10  # the catalog's own
        assert home.packs() == ()


# -- a store that cannot be used


def refuses_to_open(home: Home, match: str, kind: type[StoreError], **options: object) -> None:
    """Opening it is refused in one line, by the API and by commands that read and that write, and changes nothing."""
    before = contents(home.path)
    with pytest.raises(kind, match=match) as caught:
        home.open(**options)
    error = caught.value
    assert_told(Said(1, (f"lamina: error: {error}",), error=error), match)
    for words in (["images"], ["load", "-q"], ["gc"], ["tag", "a", "b"]):
        assert_told(command(*words)(home), match)
    assert contents(home.path) == before


def test_a_store_of_a_newer_format(home: Home) -> None:
    place = home.path / "format"
    place.write_text(place.read_text().replace("version 2\n", "version 3\n"))
    refuses_to_open(home, r"format version 3, newer than this Lamina knows \(2\), .*, use a newer Lamina", StoreTooNew)


def test_a_catalog_of_a_newer_version(home: Home) -> None:
    catalog = sqlite3.connect(home.path / "state" / "catalog.sqlite")
    with catalog:
        changed = catalog.execute("UPDATE meta SET value = 99 WHERE key = 'version'").rowcount
        changed += bool(catalog.execute("PRAGMA user_version").fetchone()[0])
        if catalog.execute("PRAGMA user_version").fetchone()[0]:
            catalog.execute("PRAGMA user_version = 99")
    catalog.close()
    assert changed
    refuses_to_open(home, "newer", StoreTooNew)


def test_a_store_whose_format_is_damaged(home: Home) -> None:
    (home.path / "format").write_bytes(b"\xff\x00")
    refuses_to_open(home, "format file of the store is damaged", StoreDamaged)


def test_a_directory_that_is_no_store(home: Home) -> None:
    (home.path / "format").unlink()
    (home.path / "letter.txt").write_text("dear")
    refuses_to_open(home, "not empty and no store: it holds 'letter.txt'", StoreError)


def table(path: Path, kind: str) -> str:
    """A table of mounts (proc(5)) in which the path lies on such a file system."""
    shown = str(path).replace(" ", r"\040")
    return f"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n36 20 0:30 / {shown} rw,relatime shared:1 - {kind} server:/export rw\n"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_store_on_a_network_file_system(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text(table(home.path, kind))
    before = contents(home.path)
    with pytest.raises(StoreError, match=rf"network file system \({kind}, mounted at {home.path}\), {home.path}/state, choose"):
        home.open()
    assert contents(home.path) == before
    # A new one leaves no trace.
    (tmp_path / "mountinfo").write_text(table(tmp_path, kind))
    with pytest.raises(StoreError, match="network file system"):
        Home(tmp_path / "new").open()
    assert not (tmp_path / "new").exists()


def test_a_network_file_system_by_the_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(table(home.path, "nfs4"))
    program = ("import sys, pathlib; from lamina.storage import mounts; mounts._MOUNTS = pathlib.Path(sys.argv.pop(1)); "
               "from lamina.cli import main; main()")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "mountinfo"), "--store", str(home.path), "images"],
                          env=environment(), capture_output=True, check=False)
    assert_told(Said(done.returncode, tuple(done.stderr.decode().splitlines())), "network file system.*, choose a store")


# -- a locked catalog

_HOLDER = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], isolation_level=None)
catalog.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Another process is in the middle of a transaction."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(home.path / "state" / "catalog.sqlite")],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()


def test_a_locked_catalog(home: Home, archive: Path) -> None:
    def attempt(home: Home) -> Said:
        with locked(home), home.open(timeout=0.2) as store:
            assert len(store.images()) == 1  # readers do not wait
            try:
                store.load(archive)
            except StoreLocked as error:
                return Said(error.exit_code, (f"lamina: error: {error}",), error=error)
        return Said(0, ())

    assert_refused(home, attempt, "the catalog is locked, .*/catalog.sqlite, another Lamina process is at work; try again")


def test_a_catalog_that_is_locked_in_the_middle_of_a_load(home: Home, large: Path) -> None:
    """The lease cannot be ended then: the next command clears it away."""
    held = locked(home)
    before = home.before
    with home.open(timeout=0.2) as store:
        with pytest.raises(StoreLocked) as caught:
            try:
                store.load(large, progress=Hook(lambda: held.__enter__()))
            finally:
                held.__exit__(None, None, None)
        assert_told(Said(1, (f"lamina: error: {caught.value}",), error=caught.value), "the catalog is locked")
        store.gc()
        assert home.leftovers() == []
        assert home.look(store) == before


def test_a_locked_catalog_by_the_command(home: Home, archive: Path) -> None:
    program = ("import sys, lamina; from lamina.cli.run import run; from lamina.cli.settings import Settings; "
               "sys.exit(run(sys.argv[1:], Settings(lambda path: lamina.open(path, timeout=0.2))))")
    with locked(home):
        done = subprocess.run([sys.executable, "-c", program, "--store", str(home.path), "load", "-q", "-i", str(archive)],
                              env=environment(), capture_output=True, check=False)
    assert_told(Said(done.returncode, tuple(done.stderr.decode().splitlines())), "the catalog is locked, .*, another Lamina")
    assert home.leftovers() == []
    assert home.settle() == home.before


# -- terminals


def test_terminals(home: Home) -> None:
    assert_refused(home, command("load", "-q", tty="in"), "requested load from stdin, but stdin is empty, name a file")
    assert_refused(home, command("import", "-", tty="in"), "stdin is empty")
    assert_refused(home, command("save", "known:1", tty="out"), "cowardly refusing to save to a terminal")
