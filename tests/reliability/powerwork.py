"""The commands whose file operations are recorded for R3: each runs in a process of its own, in a store below a root directory.

Packs, checkpoints and index files are small here, so that a few megabytes have many of them.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import signal
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from contracts.samples import config_bytes, describe, manifest_bytes
from images.archives import Built, docker_archive
from reliability.powerlog import encode
from reliability.powermistakes import MISTAKES
from store.storekit import full, noise, tar_of, words

import lamina
from lamina.content.verify import BytesReader
from lamina.errors import RegistryUnavailable
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from lamina.storage import writer as storage_writer
from lamina.store import BlobStore, index, indexfile, journalling, publish, sink
from lamina.store.session import Session

GZIP = f"{OCI_LAYER}+gzip"
STORE, OUT = "new/store", "out"  # two directories to be made
PACK_BYTES, CHECKPOINT = 128 << 10, 128 << 10


@lru_cache(8)
def image(seed: int) -> Built:
    """An image of half a megabyte: a layer that all share, and one of its own."""
    return Built(tar_of({"base": noise(0, 200_000)}), tar_of({f"own{seed}": noise(seed, 250_000), "text": words(seed, 90_000)}))


def archive(seed: int) -> bytes:
    return docker_archive((image(seed), [f"image{seed}:latest"])).getvalue()


@lru_cache(4)
def layer(seed: int) -> tuple[bytes, bytes]:
    """A layer above 1 MiB, compressed and plain: one that a partial is kept of."""
    plain = tar_of({f"large{seed}": noise(1000 + seed, 1_400_000), "text": words(seed, 5000)})
    return gzip.compress(plain, 1, mtime=0), plain


class Line(BytesReader):
    """A registry's reader: it can begin in the middle, and after `until` bytes of the blob `end` is called."""

    def __init__(self, data: bytes, until: int = -1, end: Callable[[], None] = lambda: None) -> None:
        super().__init__(data)
        self._data, self._until, self._end, self._at = data, until, end, 0
        self.given = 0

    def start_at(self, offset: int) -> None:
        self._at = offset

    def readinto(self, buffer: memoryview, /) -> int:
        if 0 <= self._until <= self._at:
            self._end()
        data = self._data[self._at : self._at + min(len(buffer), 65_536)]
        buffer[: len(data)] = data
        self._at += len(data)
        self.given += len(data)
        return len(data)


def small() -> None:
    """Small packs, checkpoints and index files, in this process."""
    sink.PACK_BYTES = PACK_BYTES
    for begins in (sink.PackSink._current, sink.PackSink._begin):  # where space is reserved
        begins.__defaults__ = (PACK_BYTES,)
    journalling.LEAST = CHECKPOINT
    journalling.PIECE_LEAST = CHECKPOINT // 2
    index.ChunkIndex.__init__.__kwdefaults__["delta_packs"] = 2


def _say_what_is_mapped() -> None:
    """The recorder does not see what is written through a mapping: write it again before it is synced."""
    finish = indexfile.Builder.finish

    def told(builder: Any) -> None:
        finish(builder)
        fd = builder._fd
        os.pwrite(fd, os.pread(fd, builder.bytes, 0), 0)
        os.fsync(fd)

    indexfile.Builder.finish = told  # type: ignore[method-assign]


def _say_what_is_covered(log: str) -> None:
    """Note in the log what a partial covers, as soon as the store relies on it."""
    write = journalling.Journal.write

    def told(journal: Any, parts: Any) -> None:
        write(journal, parts)
        if not journal.broken and journal._covered:
            mark(log, "covered", journal._covered, to=journal._mine.digest)

    journalling.Journal.write = told  # type: ignore[method-assign]


def mark(log: str, what: str, size: int = 0, to: str = "") -> None:
    """A record that is no operation."""
    header = {"op": "mark", "n": 0, "pid": 0, "ino": 0, "path": what, "to": to, "offset": 0, "size": size, "mode": 0,
              "dir": False}
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, encode(header))
    finally:
        os.close(fd)


# -- commands


def run(root: str, log: str, mistake: str, command: str, *arguments: Any) -> Any:
    """One command in the store below `root`; with a `log`, it is being recorded."""
    small()
    if log:
        _say_what_is_mapped()
        _say_what_is_covered(log)
    MISTAKES[mistake]()
    return COMMANDS[command](Path(root), *arguments)


def _load(root: Path, seed: int) -> None:
    with lamina.open(root / STORE) as store:
        store.load(io.BytesIO(archive(seed)))


def _load_killed(root: Path, seed: int, step: str) -> None:
    """Dies before that step of the load."""
    steps = {"seal": (storage_writer.LocalWriter, "seal"), "commit": (publish, "_try"), "close": (BlobStore, "close")}

    def deadly(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(*steps[step], deadly)
    _load(root, seed)


def _tag(root: Path, source: str, target: str) -> None:
    with lamina.open(root / STORE) as store:
        store.tag(source, target)


def _rmi(root: Path, name: str) -> None:
    with lamina.open(root / STORE) as store:
        store.remove([name])


def _gc(root: Path) -> None:
    with lamina.open(root / STORE) as store:
        store.blobs.collect(max_unused=0)


def _optimize(root: Path) -> None:
    with lamina.open(root / STORE) as store:
        store.optimize(level=1)


def _open(root: Path) -> None:
    with lamina.open(root / STORE):
        pass


def _save(root: Path, name: str, place: str, format: str) -> None:
    with lamina.open(root / STORE) as store:
        store.save([name], root / OUT / place, format=format)


def describe_layer(seed: int) -> Descriptor:
    return describe(layer(seed)[0], GZIP)


def finish(session: Session, seed: int) -> None:
    """Config, manifest and name over a layer that has been pushed; commit."""
    config = config_bytes([describe(layer(seed)[1])])
    manifest = manifest_bytes(describe(config, OCI_CONFIG), [describe_layer(seed)])
    for data, kind in ((config, OCI_CONFIG), (manifest, OCI_MANIFEST)):
        session.push(describe(data, kind), BytesReader(data))
    session.tag(describe(manifest, OCI_MANIFEST), full(f"pulled{seed}"))
    session.commit()


def _pull(root: Path, seed: int, until: int = -1, killed: bool = False) -> None:
    """As a pull does; after `until` bytes the line breaks, or the process is killed."""

    def end() -> None:
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RegistryUnavailable("the line is cut", "registry.example")

    with contextlib.suppress(RegistryUnavailable), BlobStore.open(root / STORE) as store, store.session() as session:
        session.push(describe_layer(seed), Line(layer(seed)[0], until, end))
        finish(session, seed)


# -- what is no command of Lamina's


def _make_out(root: Path) -> None:
    (root / OUT).mkdir()
    storage_writer.sync_directory(root)


def _spoil(root: Path) -> None:
    """The catalog's first page is overwritten, by no command of ours."""
    fd = os.open(root / STORE / "state" / "catalog.sqlite", os.O_WRONLY)
    os.pwrite(fd, b"x" * 4096, 0)
    os.fsync(fd)
    os.close(fd)


def _lose(root: Path) -> None:
    """The catalog is deleted, but not the log that SQLite keeps beside it."""
    state = root / STORE / "state"
    (state / "catalog.sqlite").unlink()
    storage_writer.sync_directory(state)


COMMANDS: dict[str, Callable[..., None]] = {
    "load": _load, "load killed": _load_killed, "tag": _tag, "rmi": _rmi, "gc": _gc, "optimize": _optimize, "open": _open,
    "save": _save, "pull": _pull, "make out": _make_out, "spoil": _spoil, "lose": _lose,
}
