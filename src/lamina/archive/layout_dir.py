"""An OCI image layout in a directory as a target (image-layout.md)."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from lamina.archive.members import DirectoryMembers, open_regular
from lamina.archive.names import annotated_name, annotations_for
from lamina.archive.oci_layout import INDEX, LAYOUT, blob_path, check_layout
from lamina.archive.output import beside, sync_directory, translated
from lamina.archive.writing import LAYOUT_DOCUMENT, Roots, index_document, index_entries, merge
from lamina.content import Reader, Source
from lamina.content.copy import CopyResult, Observer, copy_graph
from lamina.content.referrers import Subjects, is_document, subject_of
from lamina.content.verify import BytesReader, VerifyingReader, read_all, verifying
from lamina.digest import Digest
from lamina.errors import Conflict, InvalidContent, InvalidDigest, LimitExceeded, NotFound
from lamina.oci import MAX_BYTES, Descriptor, media_type_of, parse_index

_BUFFER = 1 << 20


class OciLayout:
    """The layout in `path`: a `Target`, also for several processes at once.

    Blobs and `index.json` appear by rename after an fsync.  References are any text; those of the form of an
    image's name are noted as docker and containerd note them.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        """Open a layout; with `create`, make one in a directory that is empty or not there yet.

        `NotFound`, `ArchiveError` for what is no layout, `Conflict` where something else is in the way.
        """
        self._path = Path(path)
        self._lock = Lock()
        self._subjects = Subjects()
        self._folders: set[Path] = set()  # whose names last
        if create:
            self._create()
        with translated(self._path):
            check_layout(DirectoryMembers(self._path))

    # -- source

    def resolve(self, reference: str) -> Descriptor:
        for name, descriptor in self.references():
            if name == reference:
                return descriptor
        try:
            digest = Digest(reference.rpartition("@")[2])
        except InvalidDigest:
            raise NotFound("no such reference in the layout", reference) from None
        return self._by_digest(digest)

    def fetch(self, descriptor: Descriptor) -> Reader:
        try:
            with translated(self._path):
                return open_regular(self._blob(descriptor))
        except NotFound:
            raise NotFound("no such blob in the layout", descriptor.digest) from None

    def references(self) -> list[tuple[str, Descriptor]]:
        return [(annotated_name(entry.annotations), entry) for entry in self._entries()]

    def referrers(self, descriptor: Descriptor, /) -> Iterable[Descriptor]:
        """By reading the manifests that `index.json` lists."""
        listed = {entry.digest: entry for entry in self._entries() if is_document(entry.media_type)}
        return list(self._subjects.referring(self, listed.values(), descriptor))

    # -- target

    def exists(self, descriptor: Descriptor) -> bool:
        try:
            found = self._blob(descriptor).stat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == descriptor.size

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        place = self._blob(descriptor)
        with translated(place):
            self._make_folder(place.parent)
        if not is_document(descriptor.media_type) or descriptor.size > MAX_BYTES:
            self._put(place, verifying(reader, descriptor))
            return
        data = read_all(VerifyingReader(reader, descriptor), descriptor.size)
        self._put(place, BytesReader(data))
        if _has_subject(descriptor, data):  # nothing else leads to it
            self.add([Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)])

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        if not self.exists(descriptor):
            raise NotFound("what is to be tagged is not there", descriptor.digest)
        self.add([_named(descriptor, reference)])

    def add(self, entries: Iterable[Descriptor]) -> None:
        """Put descriptors into `index.json`, each in the place of one of its name, or of a nameless one of its
        digest; one without a name only where its digest is not listed."""
        with self._locked():
            listed = self._entries()
            for entry in entries:
                listed = _with(listed, entry)
            self._put(self._path / INDEX, BytesReader(index_document(listed)))

    def _create(self) -> None:
        with translated(self._path):
            self._path.mkdir(exist_ok=True)
            there = {one.name for one in self._path.iterdir()}
        if LAYOUT in there:
            return
        if there:
            raise Conflict("the directory holds something else than an OCI layout", self._path, "name another")
        with translated(self._path):
            self._make_folder(self._path / "blobs" / "sha256")
        self._put(self._path / INDEX, BytesReader(index_document([])))
        self._put(self._path / LAYOUT, BytesReader(LAYOUT_DOCUMENT))

    def _make_folder(self, path: Path) -> None:
        """A folder for the blobs of one algorithm; its name lasts, whoever made it.  (Its parent's does with `index.json`.)"""
        if path not in self._folders:
            path.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent)
            self._folders.add(path)

    def _blob(self, descriptor: Descriptor) -> Path:
        return self._path / blob_path(descriptor.digest)

    def _by_digest(self, digest: Digest) -> Descriptor:
        for entry in self._entries():
            if entry.digest == digest:
                return entry
        reader = self.fetch(Descriptor("", digest, 0))
        try:
            data = read_all(reader, MAX_BYTES)
            return Descriptor(media_type_of(data), digest, len(data))
        except (InvalidContent, LimitExceeded):
            raise NotFound("no such manifest in the layout", digest) from None
        finally:
            reader.close()

    def _entries(self) -> list[Descriptor]:
        with translated(self._path):
            reader = open_regular(self._path / INDEX)
        try:
            data = read_all(reader, MAX_BYTES)
        except LimitExceeded as error:
            raise LimitExceeded(f"{INDEX} is too large", self._path, f"at most {MAX_BYTES} bytes are read") from error
        finally:
            reader.close()
        return list(parse_index(data, where=self._path / INDEX).manifests)

    def _put(self, place: Path, reader: Reader) -> None:
        """A file with what the reader gives, whole or not at all."""
        temporary = beside(self._path / place.name)
        with translated(place):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            buffer = memoryview(bytearray(min(_BUFFER, (reader.size or _BUFFER) + 1)))
            while count := reader.readinto(buffer):
                with translated(place):
                    write_all(fd, buffer[:count])
            with translated(place):
                os.fsync(fd)
                temporary.replace(place)
                sync_directory(place.parent)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with `index.json`, among threads and processes."""
        with translated(self._path):
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._lock:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
        finally:
            os.close(fd)


def _has_subject(descriptor: Descriptor, data: bytes) -> bool:
    """Whether it is a referrer; a document that does not parse is kept as it is."""
    try:
        return subject_of(descriptor.media_type, data) is not None
    except InvalidContent:
        return False


def write_all(fd: int, data: memoryview) -> None:
    """`write` until all is written."""
    while data:
        data = data[os.write(fd, data) :]


def write_oci_dir(
    path: str | os.PathLike[str], source: Source, roots: Roots, *, observer: Observer | None = None
) -> list[CopyResult]:
    """Write the graphs of `roots`, each with its names, as an OCI layout in a directory.

    A new directory appears whole or not at all.  An OCI layout that is there is added to: its names move last, all
    at once.  `Conflict` for anything else that is there and not empty; errors as of `copy_graph`.
    """
    place = Path(os.path.realpath(path))
    if (place / LAYOUT).exists():
        return _fill(OciLayout(place), source, roots, observer)
    with translated(path):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise Conflict("something else than an OCI layout is in the way", path, "name another directory")
    temporary = beside(place)
    try:
        results = _fill(OciLayout(temporary, create=True), source, roots, observer)
        with translated(path):
            temporary.replace(place)
            sync_directory(place.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return results


def _fill(layout: OciLayout, source: Source, roots: Roots, observer: Observer | None) -> list[CopyResult]:
    merged = merge(roots)
    results = [copy_graph(source, layout, root, observer=observer) for root in merged]
    layout.add(entry for root, names in merged.items() for entry in index_entries(source, root, names))
    return results


def _with(listed: list[Descriptor], entry: Descriptor) -> list[Descriptor]:
    name = annotated_name(entry.annotations)
    if not name and any(one.digest == entry.digest for one in listed):
        return listed
    kept = [
        one
        for one in listed
        if annotated_name(one.annotations) not in ("", name)
        or (not annotated_name(one.annotations) and one.digest != entry.digest)
    ]
    return [*kept, entry]


def _named(descriptor: Descriptor, reference: str) -> Descriptor:
    annotations = annotations_for(reference)
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        platform=descriptor.platform,
        artifact_type=descriptor.artifact_type,
        annotations=annotations,
    )
