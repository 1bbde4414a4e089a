"""`save`: images of the store as an archive or layout."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lamina.archive import write_docker_archive, write_oci_archive, write_oci_dir
from lamina.archive.output import atomic_output
from lamina.content.progress import Clock, Silent
from lamina.errors import UsageError
from lamina.images.names import find
from lamina.images.records import descriptor_of, manifest_descriptor, read_view
from lamina.images.uses import used
from lamina.images.view import View
from lamina.oci import Descriptor, Platform
from lamina.reference import Reference, is_hex_id
from lamina.storage.direct import DirectFile
from lamina.store import BlobStore

if TYPE_CHECKING:
    from lamina.content import Reader, Source
    from lamina.content.progress import Progress, StageSink

FORMATS = ("docker-archive", "oci-archive", "oci-dir")

Roots = list[tuple[Descriptor, list[str]]]


@dataclass(frozen=True, slots=True)
class SaveResult:
    """Bytes written (of an oci-dir: of its blobs, new ones alone), and seconds."""

    bytes: int
    seconds: float


def save(
    store: BlobStore,
    names: Sequence[str],
    output: Path | BinaryIO,
    *,
    format: str = FORMATS[0],
    platform: str | None = None,
    progress: Progress | None = None,
    stages: StageSink | None = None,
) -> SaveResult:
    """Write images as one archive: by name with that name alone, a repository without a tag with all its tags, by
    id without a name.  A path appears whole or not at all; the same images give the same bytes.  `stages` is told where
    the time goes.

    `UsageError`, `NotFound`, `InvalidReference`, `StorageError`, and `DigestMismatch` or `StoreDamaged` for stored
    bytes that do not check out.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}", hint=f"known are {', '.join(FORMATS)}")
    if not names:
        raise UsageError("nothing to save", hint="name an image")
    begin = time.monotonic()
    wanted = Platform.parse(platform) if platform else None
    roots = choose_roots(store, read_view(store), names, wanted)
    observer = _Observer(progress or Silent())
    with store.reading(stages) as reading:
        reading.keep(*(descriptor.digest for descriptor, _ in roots))
        source = _Watched(reading, observer)
        if format == "oci-dir":
            if not isinstance(output, Path):
                raise UsageError("an oci-dir needs a path to be written to")
            write_oci_dir(output, source, roots, observer=observer)
            used(store, (descriptor.digest for descriptor, _ in roots))
            return SaveResult(observer.bytes, time.monotonic() - begin)
        if isinstance(output, Path):
            with atomic_output(output) as file:
                written = _write(file, source, roots, format, wanted, observer, stages)
        else:
            written = _write(output, source, roots, format, wanted, observer, stages)
    used(store, (descriptor.digest for descriptor, _ in roots))
    return SaveResult(written, time.monotonic() - begin)


def choose_roots(store: BlobStore, view: View, words: Sequence[str], platform: Platform | None) -> Roots:
    """What each word stands for, in order: the manifest or index to write, and its names."""
    roots: Roots = []
    for word in words:
        for one in _every_tag(view, word) or [word]:
            found = find(view, one, platform)
            # A name or an index's digest stands for all its platforms unless one is asked for, an id for one.
            root = found.root if found.root and (found.named or found.root.digest == one) else None
            whole = root is not None and platform is None
            descriptor = descriptor_of(root) if whole and root else manifest_descriptor(store, found.image)
            reference = root.reference if root and found.named else None
            roots.append((descriptor, [str(reference)] if reference and reference.tag else []))
    return roots


def _every_tag(view: View, word: str) -> list[str]:
    """All tags of a repository, for a word that names one without a tag (docker's rule)."""
    if word.startswith("sha256:") or (is_hex_id(word) and len(word) == 64):
        return []
    reference = Reference.parse(word, default_tag="")
    if reference.tag or reference.digest:
        return []
    return [root.name for root in view.roots.values()
            if root.reference and root.reference.tag and root.reference.name == reference.name]


def _write(out: BinaryIO | DirectFile, source: Source, roots: Roots, format: str, platform: Platform | None,
           observer: _Observer, stages: StageSink | None) -> int:
    clock = Clock(stages)
    counted = _Counted(out, clock) if not isinstance(out, DirectFile) else _CountedFile(out, clock)
    if format == "oci-archive":
        write_oci_archive(counted, source, roots, observer=observer)
    else:
        write_docker_archive(counted, source, roots, host=platform or Platform.host(), observer=observer)
    return counted.bytes


class _Counted:
    """A file that counts what is written to it."""

    def __init__(self, out: BinaryIO | DirectFile, clock: Clock) -> None:
        self._out, self._clock, self.bytes = out, clock, 0

    def write(self, data: memoryview, /) -> int:
        self._clock.start()
        count = self._out.write(data)
        self._clock.tick("write", count)
        self.bytes += count
        return count


class _CountedFile(_Counted):
    """The same, with room for bytes that need not be copied again."""

    def __init__(self, out: DirectFile, clock: Clock) -> None:
        super().__init__(out, clock)
        self.room, self._filled = out.room, out.filled

    def filled(self, count: int) -> None:
        self._clock.start()
        self._filled(count)
        self._clock.tick("write", count)
        self.bytes += count


class _Watched:
    """A source whose readers tell how far they are."""

    def __init__(self, source: Source, observer: _Observer) -> None:
        self._source, self._observer = source, observer

    def resolve(self, reference: str) -> Descriptor:
        return self._source.resolve(reference)

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        return self._source.references()

    def fetch(self, descriptor: Descriptor) -> Reader:
        return _WatchedReader(self._source.fetch(descriptor), descriptor.digest, self._observer)


class _WatchedReader:
    def __init__(self, reader: Reader, key: str, observer: _Observer) -> None:
        self._reader, self._key, self._observer = reader, key, observer

    @property
    def size(self) -> int | None:
        return self._reader.size

    @property
    def verifies(self) -> Descriptor | None:
        return getattr(self._reader, "verifies", None)

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._observer.advanced(self._key, count)
        return count

    def close(self) -> None:
        self._reader.close()


class _Observer:
    """Tells a progress display of the blobs that are written."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._writing, self.bytes = progress, "", 0

    def started(self, descriptor: Descriptor) -> None:
        self._writing = descriptor.digest
        self._progress.start(descriptor.digest, descriptor.media_type, descriptor.size)

    def advanced(self, key: str, count: int) -> None:
        """Manifests are read more often than they are written: the display hears of the writing alone."""
        if key == self._writing:
            self._progress.advance(key, count)

    def skipped(self, descriptor: Descriptor) -> None:
        """It is in the archive already."""

    def done(self, descriptor: Descriptor) -> None:
        self._writing = ""
        self.bytes += descriptor.size
        self._progress.done(descriptor.digest, "saved")
