"""`transfer`: lanes before the walk, what is told of them, and how they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.samples import AMD64, ARM64, index_bytes, put, put_artifact, put_image

from lamina.archive import OciLayout
from lamina.content import FileRegion, Reader, Resumable
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader, read_all, verifying
from lamina.digest import Digest
from lamina.errors import DigestMismatch, NotFound, RegistryUnavailable
from lamina.images.transfer import Reporter, transfer
from lamina.images.watched import Watched
from lamina.oci import OCI_INDEX, Descriptor
from lamina.store import BlobStore
from lamina.store.tuning import Tuning

LAYERS = [b"1" * 1000, b"2" * 3000, b"3" * 2000]


class Line:
    """Bytes over a line: it says nothing of a file, can begin in the middle, and may break."""

    def __init__(self, data: bytes, breaks: bool = False) -> None:
        self._reader, self._data, self._breaks = BytesReader(data), data, breaks
        self.size = len(data)

    def start_at(self, offset: int) -> None:
        self._reader = BytesReader(self._data[offset:])

    def readinto(self, buffer: memoryview, /) -> int:
        if self._breaks:
            raise RegistryUnavailable("the line is cut", "registry.test")
        return self._reader.readinto(buffer[:500])

    def close(self) -> None:
        self._reader.close()


class Remote(MemoryTarget):
    """A registry's source: each blob is asked for by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.cut: set[str] = set()
        self.meeting: threading.Barrier | None = None

    def fetch(self, descriptor: Descriptor) -> Reader:
        reader = super().fetch(descriptor)
        self.fetched.append(descriptor.digest)
        if self.meeting is not None and descriptor.size >= 1000:
            self.meeting.wait(10)
        return Line(read_all(reader, descriptor.size), descriptor.digest in self.cut)


class Seen:
    """A display that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self.bytes: dict[str, int] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        self.events.append(("start", key, str(total)))

    def advance(self, key: str, count: int) -> None:
        self.bytes[key] = self.bytes.get(key, 0) + count

    def state(self, key: str, status: str) -> None:
        self.events.append(("state", key, status))

    def done(self, key: str, status: str) -> None:
        self.events.append(("done", key, status))


@pytest.fixture
def source() -> Remote:
    return Remote()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    with BlobStore.open(tmp_path / "store") as store:
        yield store


def digests(*datas: bytes) -> list[str]:
    return [Digest.of(data) for data in datas]


def test_each_byte_goes_over_once(source: Remote) -> None:
    image, target, seen = put_image(source, *LAYERS), MemoryTarget(), Seen()
    source.fetched.clear()
    result = transfer(source, target, image, observer=Reporter(seen, "uploading", "pushed"), tag="name", lanes=1)
    assert target.resolve("name").digest == image.digest
    assert (result.pushed, result.skipped) == (5, 0)
    # The manifest tells of the layers, which go by size; then the config.
    assert source.fetched[:4] == [image.digest, *digests(LAYERS[1], LAYERS[2], LAYERS[0])]
    assert len(source.fetched) == len(set(source.fetched)) == 5
    assert seen.bytes == {Digest.of(data): len(data) for data in LAYERS}
    assert [event for event in seen.events if event[0] == "done"] == [
        ("done", digest, "pushed") for digest in digests(LAYERS[1], LAYERS[2], LAYERS[0])]


def test_layers_go_side_by_side(source: Remote) -> None:
    image = put_image(source, *LAYERS)
    source.meeting = threading.Barrier(3)  # breaks where the three are not open at once
    assert transfer(source, MemoryTarget(), image, lanes=3).manifests == [image]


def test_what_is_there_is_said_once_and_not_read(source: Remote) -> None:
    image, target, seen = put_image(source, *LAYERS), MemoryTarget(), Seen()
    transfer(source, target, image)
    source.fetched.clear()
    result = transfer(source, target, image, observer=Reporter(seen))
    assert (result.pushed, result.skipped) == (0, 5)
    assert source.fetched == [image.digest]
    assert sorted(seen.events) == sorted(("done", digest, "exists") for digest in digests(*LAYERS))


def test_one_platform_and_referrers(source: Remote) -> None:
    amd, arm = put_image(source, b"amd", platform=AMD64), put_image(source, b"arm", platform=ARM64)
    root = put(source, index_bytes([amd, arm]), OCI_INDEX)
    artifact, target = put_artifact(source, arm, b"signature"), MemoryTarget()
    result = transfer(source, target, root, platform=ARM64, referrers=True)
    assert [one.digest for one in result.manifests] == [arm.digest]
    assert [one.digest for one in result.referrers] == [artifact.digest]
    assert not target.exists(amd)


def test_a_line_that_breaks_ends_all_lanes(source: Remote) -> None:
    image, target = put_image(source, *LAYERS), MemoryTarget()
    source.cut.add(Digest.of(LAYERS[1]))
    source.fetched.clear()
    with pytest.raises(RegistryUnavailable, match="the line is cut"):
        transfer(source, target, image, tag="name", lanes=1)
    # The largest came first, and nobody has asked for another, or for it again.
    assert source.fetched == [image.digest, Digest.of(LAYERS[1])]
    with pytest.raises(NotFound):
        target.resolve("name")


def test_a_target_that_is_gone_ends_all_lanes(source: Remote) -> None:
    image, pushed = put_image(source, *LAYERS), []

    class Gone(MemoryTarget):
        def push(self, descriptor: Descriptor, reader: Reader) -> None:
            pushed.append(descriptor.digest)
            raise RegistryUnavailable("gone", "registry.test")

    with pytest.raises(RegistryUnavailable, match="gone"):
        transfer(source, Gone(), image, lanes=1)
    assert len(pushed) == 1


def test_wrong_bytes_are_told_by_the_walk(source: Remote) -> None:
    image, target = put_image(source, *LAYERS), MemoryTarget()

    class Wrong(Remote):
        def fetch(self, descriptor: Descriptor) -> Reader:
            reader = source.fetch(descriptor)
            return Line(b"x" * 3000) if descriptor.size == 3000 else reader

    with pytest.raises(DigestMismatch):
        transfer(Wrong(), target, image, tag="name")
    with pytest.raises(NotFound):
        target.resolve("name")


def test_an_error_of_another_kind_ends_it_at_once(source: Remote) -> None:
    image = put_image(source, *LAYERS)

    class Broken(MemoryTarget):
        def push(self, descriptor: Descriptor, reader: Reader) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transfer(source, Broken(), image)


def test_into_a_store(source: Remote, store: BlobStore) -> None:
    image, seen = put_image(source, *LAYERS), Seen()
    source.fetched.clear()
    with store.session(progress=seen, tuning=Tuning(lanes=1)) as session:
        result = transfer(source, session, image, tag="docker.io/library/app:1")
        session.commit()
    assert result.manifests == [image]
    assert source.fetched[:4] == [image.digest, *digests(LAYERS[1], LAYERS[2], LAYERS[0])]
    assert len(source.fetched) == 5
    assert [event[2] for event in seen.events if event[0] == "done"].count("loaded") == 3
    assert store.resolve("docker.io/library/app:1").digest == image.digest


def test_a_line_that_breaks_leaves_the_store_as_it_was(source: Remote, store: BlobStore) -> None:
    image = put_image(source, *LAYERS)
    source.cut.add(Digest.of(LAYERS[1]))
    with pytest.raises(RegistryUnavailable), store.session(tuning=Tuning(lanes=1)) as session:
        transfer(source, session, image)
    assert list(store.catalog.blobs()) == []
    assert source.fetched.count(Digest.of(LAYERS[1])) == 1


# -- what a reader says of itself


def test_a_watched_reader_is_what_it_watches(source: Remote, tmp_path: Path) -> None:
    blob = put(source, b"0123456789")
    told: list[int] = []
    reader = Watched(source, lambda digest, count: told.append(count)).fetch(blob)
    assert isinstance(reader, Resumable)
    reader.start_at(4)
    assert read_all(reader, 10) == b"456789"
    assert sum(told) == 10

    class Plain(MemoryTarget):
        def fetch(self, descriptor: Descriptor) -> Reader:
            return verifying(super().fetch(descriptor), descriptor)

    plain = Plain()
    put(plain, b"0123456789")
    watched = Watched(plain, lambda digest, count: None).fetch(blob)
    assert not isinstance(watched, Resumable)
    assert verifying(watched, blob) is watched


def test_a_file_stays_a_file_where_nobody_counts(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path, create=True)
    blob = put(layout, b"0123456789")
    reader = Watched(layout).fetch(blob)
    assert isinstance(reader, FileRegion)
    reader.close()
    counted = Watched(layout, lambda digest, count: None).fetch(blob)
    assert not isinstance(counted, FileRegion)
    counted.close()


def test_documents_at_hand_are_not_asked_for(source: Remote) -> None:
    image = put_image(source, b"layer")
    data = read_all(source.fetch(image), image.size)
    source.fetched.clear()
    watched = Watched(source, local=lambda one: data if one.digest == image.digest else None)
    assert read_all(watched.fetch(image), image.size) == data
    assert source.fetched == []
