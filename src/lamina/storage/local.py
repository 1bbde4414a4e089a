"""The storage backend of a local directory; its layout is in store/FORMAT.md."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lamina.errors import Conflict, NotFound, StoreDamaged, StoreError, StoreTooNew
from lamina.storage import Format, Temporary, check_name, check_owner, reserve
from lamina.storage.mounts import refuse_network
from lamina.storage.problems import storage_error, storage_errors
from lamina.storage.writer import LocalWriter, sync_directory

VERSION = 2  # of stores that are made; those of earlier versions are read, and stay what they are
_FORMAT = re.compile(r"lamina store\nversion ([0-9]{1,9})\nid ([0-9a-f]{32})\n")
_OWN = frozenset({"packs", "tmp", "state", "quarantine", "format"})  # what stands at the top of a store
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})


def _scan(path: Path) -> list[os.DirEntry[str]]:
    """All entries at once (256 or so), so that no descriptor stays open between two of them."""
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, "list the store", path) from error


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # it went while we listed
        return None
    except OSError as error:
        raise storage_error(error, "list the store", entry.path) from error


def _read_small(path: Path) -> bytes:
    """The first 4 KiB of a file; one that is no regular file has none.  OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 4096) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def _make_directory(path: Path) -> None:
    """A directory and what is missing above it; the names that are made last."""
    if not path.exists():
        _make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


class LocalHandle:
    """A file, open for reading."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a fifo is not waited for
        except FileNotFoundError as error:
            raise NotFound("a file of the store is missing", path) from error
        except OSError as error:
            raise storage_error(error, "open a file", path) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise StoreDamaged("no regular file", path)
        self._size, self._modified = status.st_size, status.st_mtime

    @property
    def size(self) -> int:
        return self._size

    @property
    def modified(self) -> float:
        return self._modified

    # Through the page cache.  CPU seconds a stored GB in reads of 1 MiB: cached 0.11-0.14, not cached 0.13-0.22 into pages
    # that are used again and 1.2 into fresh ones, POSIX_FADV_RANDOM 0.27-0.38, O_DIRECT 0.06-0.13 whether cached or not.
    # A GB of an image is a quarter of a stored one, and costs 2.0 in all: O_DIRECT would save a twentieth, seldom more, and
    # the next reader would wait for the disk again.
    def pread_into(self, buffer: memoryview, offset: int) -> int:
        self._check_open()
        done = 0
        with storage_errors("read", self._path):
            while done < len(buffer):
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
                if count == 0:
                    break
                done += count
        return done

    def map(self, offset: int, length: int) -> memoryview:
        self._check_open()
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ValueError(f"bytes {offset}..{offset + length} are not all in {self.name}")
        from lamina.storage.mapping import map_range  # ctypes: 5 ms that the listing of images can do without

        with storage_errors("map a file", self._path):
            return map_range(self._fd, offset, length)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()

    def _check_open(self) -> None:
        if self._fd < 0:
            raise ValueError(f"{self.name} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class LocalBackend:
    """A directory.  It is made with mode 0700; one that is there keeps its mode, and what is made inside follows
    the umask, so that opening the directory opens the store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tmp = root / "tmp"
        self._state: Path | None = None

    def initialise(self, id: str = "", version: int = 0) -> Format:
        with suppress(NotFound):
            return self.read_format()
        with storage_errors("make a store", self.root):
            self._make_root()
            for name in ("packs", "tmp", "state"):
                (self.root / name).mkdir(exist_ok=True)
            sync_directory(self.root)  # a store with a format has them all, whenever the power goes
            self._write_format(Format(version or VERSION, id or os.urandom(16).hex()))
        return self.read_format()

    def _make_root(self) -> None:
        refuse_network(self.root)
        _make_directory(self.root.parent)
        try:
            self.root.mkdir(mode=0o700)
        except FileExistsError:
            strange = sorted(name for name in os.listdir(self.root) if name not in _OWN)  # noqa: PTH208 - names only
            if strange:
                raise StoreError(f"the directory is not empty and no store: it holds {strange[0]!r}", self.root,
                                 "choose an empty or a new directory") from None
            with suppress(PermissionError):  # it is somebody else's, who has made the directory
                sync_directory(self.root.parent)
            return
        self.root.chmod(0o700)  # whatever the umask took away
        sync_directory(self.root.parent)

    def _write_format(self, format: Format) -> None:
        """Put the format in place whole; of two processes at it, the first one's stays."""
        path = self._tmp / f"format.{os.urandom(8).hex()}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            os.write(fd, f"lamina store\nversion {format.version}\nid {format.id}\n".encode())
            os.fsync(fd)
            with suppress(FileExistsError, FileNotFoundError):  # swept by one who came first
                os.link(path, self.root / "format")
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)
        sync_directory(self.root)

    def read_format(self) -> Format:
        path = self.root / "format"
        try:
            data = _read_small(path)
        except FileNotFoundError:
            raise NotFound("no store here", self.root) from None
        except OSError as error:
            raise storage_error(error, "read the store's format", path) from error
        found = _FORMAT.fullmatch(data.decode("ascii", "replace"))
        if not found:
            raise StoreDamaged("the format file of the store is damaged", path, "remove it: a new one will be written")
        version = int(found[1])
        if version > VERSION:
            raise StoreTooNew(f"the store has format version {version}, newer than this Lamina knows ({VERSION})",
                              self.root, "use a newer Lamina")
        self._refuse_links()
        return Format(version, found[2])

    def _refuse_links(self) -> None:
        """`StoreError` where a directory or file of ours leads elsewhere: what lies there would be swept away as ours."""
        links = [entry for entry in _scan(self.root) if entry.is_symlink() and entry.name in _OWN]
        links = links or [entry for entry in _scan(self.root / "state") if entry.is_symlink()]
        if links:
            raise StoreError("a symbolic link stands in the store", links[0].path, "put what it leads to in its place")

    def create(self, name: str, owner: str, *, reserve: int = 0) -> LocalWriter:
        final = self.root / check_name(name)
        if final.exists():
            raise Conflict("a file of that name is there already", final)
        return LocalWriter(name, self._tmp / f"{check_owner(owner)}.{final.name}", final, reserve)

    def open(self, name: str) -> LocalHandle:
        return LocalHandle(name, self.root / check_name(name))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        folder = prefix.rpartition("/")[0]
        pending = [check_name(folder)] if folder else ["packs"]
        while pending:
            folder = pending.pop()
            for entry in _scan(self.root / folder):
                name = f"{folder}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if name.startswith(prefix) or prefix.startswith(name + "/"):
                        pending.append(name)
                elif name.startswith(prefix):
                    size = _size(entry)
                    if size is not None:
                        yield name, size

    def delete(self, name: str) -> None:
        path = self.root / check_name(name)
        with storage_errors("remove a file", path):
            path.unlink(missing_ok=True)

    def keep_as(self, name: str, other: str) -> None:
        path, kept = self.root / check_name(name), self.root / check_name(other)
        with storage_errors("keep a file", kept):
            kept.parent.mkdir(exist_ok=True)
            sync_directory(self.root)
            try:
                os.link(path, kept)
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._copy(path, kept)
            sync_directory(kept.parent)

    def _copy(self, path: Path, other: Path) -> None:
        """For file systems without hard links."""
        temporary = other.with_name(f"new.{os.urandom(8).hex()}")
        try:
            with path.open("rb") as source, temporary.open("xb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            temporary.rename(other)
        finally:
            temporary.unlink(missing_ok=True)

    def temporaries(self) -> Sequence[Temporary]:
        found = []
        for entry in _scan(self._tmp):
            owner, _, name = entry.name.partition(".")
            size = _size(entry)
            if size is not None:
                found.append(Temporary(owner, name, size))
        return found

    def open_temporary(self, owner: str, name: str) -> LocalHandle:
        return LocalHandle(name, self._tmp / check_name(f"{check_owner(owner)}.{name}"))

    def withdraw(self, name: str, owner: str) -> None:
        path = self.root / check_name(name)
        with storage_errors("move a file", path), suppress(FileNotFoundError):
            path.rename(self._tmp / f"{check_owner(owner)}.{path.name}")

    def sweep_temporaries(self, owner: str, keep: Container[str] = ()) -> int:
        mine = [each for each in self.temporaries() if each.owner == owner and each.name not in keep]
        for each in mine:
            path = self._tmp / (f"{each.owner}.{each.name}" if each.name else each.owner)
            with storage_errors("remove a temporary file", path):
                path.unlink(missing_ok=True)
        return len(mine)

    def free_space(self) -> int:
        with storage_errors("ask for the free space", self.root):
            found = os.statvfs(self.root)
        if not found.f_blocks:  # a tmpfs without a limit, some of FUSE
            return (1 << 63) - 1
        return (found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize  # root may use what is kept back

    def hold_reserve(self) -> None:
        with storage_errors("keep space in reserve for removals", self.root):
            reserve.hold(self.state_dir())

    def ease(self) -> None:
        reserve.ease(self.state_dir())

    def state_dir(self) -> Path:
        if self._state is None:
            path = self.root / "state"
            with storage_errors("make a directory", path):
                path.mkdir(exist_ok=True)
                refuse_network(path)
            self._state = path
        return self._state
