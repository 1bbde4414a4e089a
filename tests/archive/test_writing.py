"""Archives that are written: their bytes, what they hold, and that they read back as they were."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import tarfile
from pathlib import Path

import pytest
from contracts.samples import EndlessReader

from archive.builders import ARM, BASE, ONE, TWO, Image, Layout, MemoryIntake, docker_20, tar, untar
from lamina.archive import (
    OciLayout,
    atomic_output,
    open_source,
    output,
    write_docker_archive,
    write_oci_archive,
    write_oci_dir,
)
from lamina.archive.tarwriter import TarWriter, Writer
from lamina.content import Reader, Source
from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader, read_blob
from lamina.digest import Digest
from lamina.errors import Conflict, DigestMismatch, InvalidReference, NotFound, SizeMismatch, StorageError
from lamina.oci import Descriptor, Platform

AMD64 = Platform("linux", "amd64")
Roots = list[tuple[Descriptor, list[str]]]


def memory(layout: Layout) -> MemoryTarget:
    """A target with the blobs of a layout."""
    target = MemoryTarget()
    for digest, data in layout.blobs.items():
        target.push(Descriptor("", digest, len(data)), BytesReader(data))
    return target


@pytest.fixture
def multi() -> tuple[MemoryTarget, Descriptor]:
    """An index of two platforms, one of them in a nested index."""
    layout = Layout()
    amd, arm = layout.image(ONE, "gzip"), layout.image(ARM, "zstd")
    amd = Descriptor(amd.media_type, amd.digest, amd.size, AMD64)
    arm = Descriptor(arm.media_type, arm.digest, arm.size, Platform("linux", "arm64"))
    root = layout.index([arm, layout.index([amd])])
    return memory(layout), root


def docker(source: Source, roots: Roots, **more: Platform) -> bytes:
    out = io.BytesIO()
    write_docker_archive(out, source, roots, **more)
    return out.getvalue()


def oci(source: Source, roots: Roots) -> bytes:
    out = io.BytesIO()
    write_oci_archive(out, source, roots)
    return out.getvalue()


def directory(source: Source, roots: Roots, path: Path) -> Path:
    write_oci_dir(path, source, roots)
    return path


@pytest.fixture
def pair() -> tuple[MemoryTarget, Roots]:
    layout = Layout()
    roots: Roots = [(layout.image(ONE), list(ONE.tags)), (layout.image(TWO), list(TWO.tags))]
    return memory(layout), roots


@pytest.mark.parametrize("form", ["docker", "oci", "directory"])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_round_trip(form: str, compression: str, tmp_path: Path) -> None:
    layout = Layout()
    roots: Roots = [(layout.image(one, compression), list(one.tags)) for one in (ONE, TWO, ARM)]
    source = memory(layout)
    path = tmp_path / "out"
    if form == "directory":
        directory(source, roots, path)
    else:
        path.write_bytes({"docker": docker, "oci": oci}[form](source, roots))
    back = MemoryTarget()
    with open_source(path) as archive:
        assert archive.format == "oci"
        assert [(name, root.digest) for name, root in archive.references()] == [
            (ONE.tags[0], roots[0][0].digest), (TWO.tags[0], roots[1][0].digest),
            (TWO.tags[1], roots[1][0].digest), ("", roots[2][0].digest)]
        for _, root in archive.references():
            copy_graph(archive, back, root)
        assert archive.references()[0][1].platform == AMD64
        assert archive.warnings == []
    for digest, data in layout.blobs.items():
        assert read_blob(back, Descriptor("", digest, len(data))) == data


def test_the_same_bytes_each_time(pair: tuple[MemoryTarget, Roots]) -> None:
    source, roots = pair
    for write, golden in (
        (docker, "sha256:7d4fec1008c41445d41f578bda67a67103b2998ce05a9828bb661a3286f1a619"),
        (oci, "sha256:f2ac7fde1b4917845e6c0392da831bfc148553411f00453ecfe29f0e5e9ddaeb"),
    ):
        first = write(source, roots)
        again = MemoryTarget()
        for root, _ in reversed(roots):
            copy_graph(source, again, root)
        assert write(again, roots) == first
        assert Digest.of(first) == golden


def test_members_of_a_docker_archive(pair: tuple[MemoryTarget, Roots]) -> None:
    data = docker(*pair)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        infos = archive.getmembers()
    assert {(info.mtime, info.uid, info.gid, info.uname, info.gname) for info in infos} == {(0, 0, 0, "", "")}
    assert {info.mode for info in infos if info.isdir()} == {0o755}
    assert {info.mode for info in infos if info.isreg()} == {0o644}
    names = [info.name for info in infos]
    assert len(names) == len(set(names))
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert names[-4:] == ["index.json", "oci-layout", "manifest.json", "repositories"]
    blobs = names[2:-4]
    distinct = {*ONE.diff_ids, *TWO.diff_ids, ONE.id, TWO.id, pair[1][0][0].digest, pair[1][1][0].digest}
    assert sorted(blobs) == sorted(f"blobs/sha256/{digest.hex}" for digest in distinct)
    for image, (root, _) in zip((ONE, TWO), pair[1], strict=True):
        manifest = blobs.index(f"blobs/sha256/{root.digest.hex}")
        assert all(blobs.index(f"blobs/sha256/{one.hex}") < manifest for one in (*image.diff_ids, image.id))


def test_documents_of_a_docker_archive(pair: tuple[MemoryTarget, Roots]) -> None:
    source, roots = pair
    files = untar(docker(source, [*roots, (roots[0][0], ["example.com:5000/again:v1", ONE.tags[0]])]))
    one, two = roots[0][0].digest, roots[1][0].digest
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(files["manifest.json"]) == [
        {"Config": f"blobs/sha256/{ONE.id.hex}", "RepoTags": ["one:1", "example.com:5000/again:v1"],
         "Layers": [f"blobs/sha256/{digest.hex}" for digest in ONE.diff_ids]},
        {"Config": f"blobs/sha256/{TWO.id.hex}", "RepoTags": ["example.com/a/two:latest", "example.com/a/two:2"],
         "Layers": [f"blobs/sha256/{digest.hex}" for digest in TWO.diff_ids]},
    ]
    assert json.loads(files["repositories"]) == {
        "one": {"1": ONE.diff_ids[-1].hex},
        "example.com:5000/again": {"v1": ONE.diff_ids[-1].hex},
        "example.com/a/two": {"latest": TWO.diff_ids[-1].hex, "2": TWO.diff_ids[-1].hex},
    }
    listed = json.loads(files["index.json"])["manifests"]
    assert [(entry["digest"], entry["annotations"]) for entry in listed] == [
        (digest, {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})
        for digest, name, tag in (
            (one, "docker.io/library/one:1", "1"), (one, "example.com:5000/again:v1", "v1"),
            (two, "example.com/a/two:latest", "latest"), (two, "example.com/a/two:2", "2"))]
    assert all(entry["platform"] == {"architecture": "amd64", "os": "linux"} for entry in listed)


def test_names_as_docker_shows_them_are_taken_too(pair: tuple[MemoryTarget, Roots]) -> None:
    source, roots = pair
    assert docker(source, [(roots[0][0], ["one:1"])]) == docker(source, [(roots[0][0], list(ONE.tags))])
    with pytest.raises(InvalidReference):
        docker(source, [(roots[0][0], ["NO//name"])])


def test_a_nameless_image(pair: tuple[MemoryTarget, Roots]) -> None:
    files = untar(docker(pair[0], [(pair[1][0][0], [])]))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert "repositories" not in files
    assert "annotations" not in json.loads(files["index.json"])["manifests"][0]


def test_other_annotations_stay(pair: tuple[MemoryTarget, Roots]) -> None:
    root = pair[1][0][0]
    noted = Descriptor(root.media_type, root.digest, root.size, annotations={
        "org.example": "kept", "io.containerd.image.name": "gone", "org.opencontainers.image.ref.name": "gone"})
    files = untar(oci(pair[0], [(noted, ["new:1"])]))
    assert json.loads(files["index.json"])["manifests"][0]["annotations"] == {
        "org.example": "kept", "io.containerd.image.name": "docker.io/library/new:1",
        "org.opencontainers.image.ref.name": "1"}


@pytest.mark.parametrize(("host", "image"), [
    (AMD64, ONE), (Platform("linux", "arm64"), ARM), (Platform("linux", "s390x"), None)])
def test_docker_sees_the_host_s_image_of_an_index(
    host: Platform, image: Image | None, multi: tuple[MemoryTarget, Descriptor]
) -> None:
    source, root = multi
    files = untar(docker(source, [(root, ["multi:1"])], host=host))
    items = json.loads(files["manifest.json"])
    assert [item["Config"] for item in items] == ([f"blobs/sha256/{image.id.hex}"] if image else [])
    plain = 1 if image is ARM else 0  # its layer is under zstd, which not every docker knows
    assert len([name for name in files if name.startswith("blobs/")]) == 2 * 2 + 3 + 2 + plain
    assert json.loads(files["index.json"])["manifests"][0]["digest"] == root.digest


def test_docker_gets_plain_layers_for_those_under_zstd() -> None:
    layout = Layout()
    root = layout.image(TWO, "zstd")
    source = MemoryTarget()
    for digest, data in layout.blobs.items():
        source.push(Descriptor("", digest, len(data)), BytesReader(data))
    files = untar(docker(source, [(root, ["two:1"])]))
    [item] = json.loads(files["manifest.json"])
    assert tuple(files[name] for name in item["Layers"]) == TWO.layers
    for layer in json.loads(layout.blobs[root.digest])["layers"]:
        assert files["blobs/sha256/" + layer["digest"][7:]] == layout.blobs[layer["digest"]]


def test_an_incomplete_platform_is_left_out(multi: tuple[MemoryTarget, Descriptor]) -> None:
    source, root = multi
    partial = MemoryTarget()
    arm = Platform("linux", "arm64")
    copy_graph(source, partial, root, platform=arm)
    files = untar(docker(partial, [(root, ["multi:1"])], host=AMD64))
    assert [item["Config"] for item in json.loads(files["manifest.json"])] == [f"blobs/sha256/{ARM.id.hex}"]
    assert f"blobs/sha256/{ONE.id.hex}" not in files
    with open_source(io.BytesIO(docker(partial, [(root, ["multi:1"])])), intake=MemoryIntake()) as archive:
        assert [one.platform for one in copy_graph(archive, MemoryTarget(), root).manifests] == [arm]


def test_an_incomplete_image_is_an_error(tmp_path: Path) -> None:
    layout = Layout()
    root = layout.image(ONE)
    del layout.blobs[ONE.diff_ids[1]]
    out = io.BytesIO()
    for write in (write_docker_archive, write_oci_archive):
        with pytest.raises(NotFound):
            write(out, memory(layout), [(root, [])])
    assert out.getvalue() == b""
    with pytest.raises(NotFound):
        write_oci_dir(tmp_path / "out", memory(layout), [(root, [])])
    assert list(tmp_path.iterdir()) == []


class Lying(MemoryTarget):
    """Gives other bytes for one blob."""

    lie: tuple[Digest, bytes]

    def fetch(self, descriptor: Descriptor) -> Reader:
        return BytesReader(self.lie[1]) if descriptor.digest == self.lie[0] else super().fetch(descriptor)


@pytest.mark.parametrize(("lie", "error"), [
    (BASE[:-1] + b"!", DigestMismatch), (BASE + b"!", SizeMismatch), (BASE[:-1], SizeMismatch)])
def test_blobs_are_verified_on_their_way_out(lie: bytes, error: type[Exception], tmp_path: Path) -> None:
    layout = Layout()
    root = layout.image(ONE)
    source = Lying()
    for digest, data in layout.blobs.items():
        source.push(Descriptor("", digest, len(data)), BytesReader(data))
    source.lie = (ONE.diff_ids[0], lie)
    with pytest.raises(error):
        docker(source, [(root, [])])
    with pytest.raises(error):
        directory(source, [(root, [])], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_from_archive_to_archive(tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(tar(docker_20(ONE, TWO)))
    with open_source(tmp_path / "in.tar") as source:
        source.complete()
        first = docker(source, [(root, [name]) for name, root in source.references()])
    (tmp_path / "out.tar").write_bytes(first)
    with open_source(tmp_path / "out.tar") as source:
        assert docker(source, [(root, [name]) for name, root in source.references()]) == first


def test_short_writes_are_gone_on_with(pair: tuple[MemoryTarget, Roots]) -> None:
    class Slow:
        data = b""

        def write(self, data: memoryview) -> int:
            self.data += data[:777]
            return min(len(data), 777)

    out = Slow()
    write_docker_archive(out, *pair)
    assert out.data == docker(*pair)


@pytest.mark.parametrize(("error", "kind"), [(OSError(28, "No space left on device"), StorageError),
                                             (BrokenPipeError(), BrokenPipeError)])
def test_failing_writes(error: OSError, kind: type[Exception], pair: tuple[MemoryTarget, Roots]) -> None:
    class Full:
        def write(self, data: memoryview) -> int:
            raise error

    with pytest.raises(kind):
        write_docker_archive(Full(), *pair)


class Counting:
    """Keeps the first bytes and counts the rest."""

    def __init__(self) -> None:
        self.head, self.count = b"", 0

    def write(self, data: memoryview) -> None:
        if self.count < 4096:
            self.head += data[:4096]
        self.count += len(data)


class Vast(EndlessReader):
    """9 GiB that cost nothing to make."""

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), (9 << 30) + 5 - self.given)
        self.given += count
        return count


def test_members_beyond_8_gib() -> None:
    out = Counting()
    TarWriter(out).file("blobs/sha256/big", (9 << 30) + 5, Vast())
    assert out.count % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(out.head), mode="r|") as archive:
        info = archive.next()
    assert (info.name, info.size) == ("blobs/sha256/big", (9 << 30) + 5)


def test_a_reader_of_another_size_is_the_caller_s_mistake() -> None:
    with pytest.raises(ValueError, match="3 bytes instead of 4"):
        TarWriter(io.BytesIO()).file("x", 4, BytesReader(b"abc"))


# -- directories


def test_a_layout_is_added_to(pair: tuple[MemoryTarget, Roots], tmp_path: Path) -> None:
    source, roots = pair
    for root in roots:
        directory(source, [root], tmp_path / "out")
    directory(source, [(roots[1][0], [ONE.tags[0]]), (roots[0][0], [])], tmp_path / "out")
    with open_source(tmp_path / "out") as archive:
        assert [(name, root.digest) for name, root in archive.references()] == [
            (TWO.tags[0], roots[1][0].digest), (TWO.tags[1], roots[1][0].digest),
            (ONE.tags[0], roots[1][0].digest), ("", roots[0][0].digest)]
        assert archive.warnings == []
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_into_an_empty_directory(pair: tuple[MemoryTarget, Roots], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    directory(*pair, tmp_path / "out")
    assert (tmp_path / "out" / "oci-layout").exists()
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_something_else_is_in_the_way(pair: tuple[MemoryTarget, Roots], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"mine")
    for name in ("file", "full"):
        with pytest.raises(Conflict):
            directory(*pair, tmp_path / name)
    with pytest.raises(Conflict):
        OciLayout(tmp_path / "full", create=True)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "full" / "mine").read_bytes() == b"mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "full"]


def test_no_such_parent(pair: tuple[MemoryTarget, Roots], tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        directory(*pair, tmp_path / "nothing" / "out")


# -- files


def test_a_file_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "out.tar"
    with atomic_output(place) as file:
        file.write(b"data")
        assert not place.exists()
    assert place.read_bytes() == b"data"
    assert [one.name for one in tmp_path.iterdir()] == ["out.tar"]


@pytest.mark.parametrize("direct", [True, False])
def test_a_large_file_through_its_room(direct: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_open = os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT")
        return true_open(path, flags, mode)

    if not direct:
        monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(output, "_RESERVE", 1 << 20)
    blobs = [random.Random(size).randbytes(size) for size in (3_000_000, 0, 1, 512, 1 << 20)]
    before = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "direct") as file:
            write_members(file, blobs)
    finally:
        os.umask(before)
    plain = io.BytesIO()
    write_members(plain, blobs)
    assert (tmp_path / "direct").read_bytes() == plain.getvalue()
    assert (tmp_path / "direct").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "direct").stat().st_blocks * 512 < len(plain.getvalue()) + (1 << 16)  # what was reserved is given back
    assert [one.name for one in tmp_path.iterdir()] == ["direct"]


def write_members(out: Writer, blobs: list[bytes]) -> None:
    tar = TarWriter(out)
    for number, data in enumerate(blobs):
        tar.file(f"blob{number}", len(data), BytesReader(data))
        tar.document(f"document{number}", data)
    tar.finish()


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, OSError])
def test_or_not_at_all(error: type[BaseException], tmp_path: Path) -> None:
    place = tmp_path / "out.tar"
    with pytest.raises(error), atomic_output(place) as file:
        file.write(b"data")
        raise error
    assert list(tmp_path.iterdir()) == []
    place.write_bytes(b"before")
    with pytest.raises(error), atomic_output(place) as file:
        file.write(b"data")
        raise error
    assert place.read_bytes() == b"before"


def test_an_existing_file_s_place_and_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"before")
    real.chmod(0o600)
    link.symlink_to("real")
    with atomic_output(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert real.read_bytes() == b"after"
    assert real.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Conflict), atomic_output(tmp_path):
        pass
    with pytest.raises(NotFound), atomic_output(tmp_path / "nothing" / "out"):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), atomic_output(tmp_path / "file" / "out"):
        pass


def test_a_device_is_written_to() -> None:
    with atomic_output("/dev/null") as file:
        file.write(b"data")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(StorageError, match="No space left"), atomic_output("/dev/full") as file:
        file.write(b"data")
