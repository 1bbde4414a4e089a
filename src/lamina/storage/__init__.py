"""Named byte strings at rest: put once, get a range, list, delete.  No word here about what the bytes mean.

A name is a relative path of plain parts (`packs/3f/3f0c...`).  What is being written is a *temporary*: it belongs to
an *owner* (a lease), has no name yet, and gets it when it is sealed, whole and durable.  Besides, a backend
hands out one directory of the local machine for what needs files (catalog, index, locks).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

_NAME = re.compile(r"(?!tmp/|state/|format$)(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}/)*[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_OWNER = re.compile(r"[A-Za-z0-9_-]{1,48}")


class Format(NamedTuple):
    """What the `format` file says."""

    version: int
    id: str


class Temporary(NamedTuple):
    """Something that is being written, or was when its owner died; `name` is the last part of its name to be."""

    owner: str
    name: str
    size: int


class Reach(Protocol):
    """The first `bytes` bytes of what is being written: how much of it can be made to last before it is sealed."""

    bytes: int

    def sync(self) -> None:
        """Make them durable, from any thread, even when the writer has ended meanwhile.

        `StorageError`: the writer is to be given up, too, and cannot be sealed any more.
        """

    def close(self) -> None:
        """Let go of what is held; again is harmless."""


class Writer(Protocol):
    """One new byte string.  One thread at a time.  Leaving a `with` unsealed aborts.

    After an error it is given up: the temporary is gone, and all but `abort` raises ValueError.
    """

    name: str

    def write(self, data: Buffer, /) -> None:
        """Append all bytes of a C-contiguous buffer, of any size; `StorageError`."""

    def tell(self) -> int:
        """Bytes taken so far."""

    def seal(self) -> None:
        """Make the bytes durable, then visible under the name, durably; `StorageError`, and then nothing is visible."""

    def reach(self, *, settle: bool = False) -> Reach:
        """What can be made durable now: all whole buffers, with `settle` all bytes taken so far (`StorageError`)."""

    def leave(self) -> None:
        """End without sealing: the temporary stays, as far as it reaches; harmless when sealed or aborted already."""

    def abort(self) -> None:
        """Throw the bytes away; harmless when sealed or aborted already."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...


class ReadHandle(Protocol):
    """One byte string, open.  Reads may come from several threads at once."""

    name: str

    @property
    def size(self) -> int:
        """Bytes in all."""

    @property
    def modified(self) -> float:
        """When it was written; seconds since 1970."""

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from `offset`; fewer bytes than it holds only at the end; `StorageError`."""

    def map(self, offset: int, length: int) -> memoryview:
        """A read-only view of a range, mapped where that is possible; it outlives the handle.

        ValueError for a range that is not all there.
        """

    def fileno(self) -> int:
        """Its descriptor, good until it is closed; -1 where there is none."""

    def close(self) -> None:
        """Let go of what is held; again is harmless."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...


class Backend(Protocol):
    """A place for named byte strings.  Usable from several threads and processes; errors are `StorageError`."""

    def initialise(self, id: str = "", version: int = 0) -> Format:
        """Make the place and write its format, last, with that id and version or new ones; does nothing to one that is there
        (`StoreError` for what is none)."""

    def read_format(self) -> Format:
        """What the place says that it is; `NotFound`, `StoreDamaged`, `StoreTooNew`."""

    def create(self, name: str, owner: str, *, reserve: int = 0) -> Writer:
        """Begin a new byte string of about `reserve` bytes; `Conflict` if the name is taken."""

    def open(self, name: str) -> ReadHandle:
        """Open for reading; `NotFound`."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(name, size) of all that is sealed and begins with the prefix, in no order."""

    def delete(self, name: str) -> None:
        """Remove; what is not there is fine.  After a power cut it may be back."""

    def temporaries(self) -> Sequence[Temporary]:
        """All that is being written or was left behind."""

    def sweep_temporaries(self, owner: str, keep: Container[str] = ()) -> int:
        """Remove what an owner left behind, but for the names in `keep`; how many."""

    def open_temporary(self, owner: str, name: str) -> ReadHandle:
        """Open for reading what is being written or was left behind; `NotFound`."""

    def withdraw(self, name: str, owner: str) -> None:
        """Make something sealed a temporary of that owner again; what is not there is fine."""

    def keep_as(self, name: str, other: str) -> None:
        """Let something sealed be there under another name as well, durably, as long as that is not deleted; what has that
        name already stays; `StorageError`."""

    def free_space(self) -> int:
        """Bytes that this process could still write, as far as the file system tells; 2^63 - 1 where it does not."""

    def hold_reserve(self) -> None:
        """Before content is taken in: see that there is space for what a removal has to write; `StorageError`."""

    def ease(self) -> None:
        """When the place is opened: let go of that space if the disk is nearly full."""

    def state_dir(self) -> Path:
        """A directory of a local file system, made if missing; `StoreError` on a network file system."""


def check_name(name: str) -> str:
    """The name, if it is one; ValueError for anything absolute, hidden, above, or reserved."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of the storage: {name!r}")
    return name


def is_owner(text: str) -> bool:
    """Whether it can be part of a temporary's name."""
    return _OWNER.fullmatch(text) is not None


def check_owner(owner: str) -> str:
    """The owner, if it can be part of a temporary's name; else ValueError."""
    if not is_owner(owner):
        raise ValueError(f"not an owner of temporaries: {owner!r}")
    return owner
