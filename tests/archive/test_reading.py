"""Archives of every shape, from every kind of input, give the same images."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from archive.builders import (
    ARM,
    BASE,
    DOCKER_SHAPES,
    OCI_SHAPES,
    ONE,
    SHAPES,
    TWO,
    Image,
    Layout,
    Member,
    MemoryIntake,
    docker_20,
    docker_25,
    kaniko,
    layer,
    named,
    oci,
    podman,
    tar,
    write_directory,
)
from lamina.archive import ArchiveSource, open_source
from lamina.content import FileRegion
from lamina.content.copy import copy_graph
from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader, read_all, read_blob
from lamina.digest import Digest
from lamina.errors import DigestMismatch, NotFound, UsageError
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Platform, parse_manifest

OUTER = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
}


class Pipe:
    """Bytes that come through a pipe."""

    def __init__(self, data: bytes) -> None:
        self.fd, self._write = os.pipe()
        self._thread = threading.Thread(target=self._feed, args=(data,))
        self._thread.start()

    def _feed(self, data: bytes) -> None:
        with os.fdopen(self._write, "wb") as out:
            out.write(data)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        self._thread.join()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[list[Member]], Path]:
    def save(members: list[Member]) -> Path:
        path = tmp_path / "image.tar"
        path.write_bytes(tar(members))
        return path

    return save


def images_of(source: ArchiveSource, target: MemoryTarget) -> Iterator[tuple[str, bytes, list[bytes]]]:
    """Name, config and layers of each reference, after a copy to a target."""
    for name, root in source.references():
        copy_graph(source, target, root)
        manifest = parse_manifest(read_blob(target, root))
        yield name, read_blob(target, manifest.config), [read_blob(target, one) for one in manifest.layers]


def assert_plain_images(source: ArchiveSource, target: MemoryTarget) -> None:
    """ONE and TWO are there, with plain layers."""
    found = list(images_of(source, target))
    assert [(name, config) for name, config, _ in found] == [
        (ONE.tags[0], ONE.config), (TWO.tags[0], TWO.config), (TWO.tags[1], TWO.config)]
    assert [layers for _, _, layers in found] == [list(ONE.layers), list(TWO.layers), list(TWO.layers)]
    assert source.warnings == []


@pytest.mark.parametrize("shape", DOCKER_SHAPES)
def test_docker_shapes_from_a_file(shape: str, saved: Callable[[list[Member]], Path]) -> None:
    intake = MemoryIntake()
    with open_source(saved(DOCKER_SHAPES[shape](ONE, TWO))) as source:
        assert source.format == "docker-archive"
        source.complete(intake)
        assert_plain_images(source, intake)
    compressed = shape not in ("docker_20", "podman")
    assert len(intake.taken) == (3 if compressed else 0)


@pytest.mark.parametrize("shape", DOCKER_SHAPES)
def test_docker_shapes_without_an_intake(shape: str, saved: Callable[[list[Member]], Path]) -> None:
    with open_source(saved(DOCKER_SHAPES[shape](ONE, TWO))) as source:
        source.complete()
        assert_plain_images(source, MemoryTarget())


def test_manifests_do_not_depend_on_the_shape(saved: Callable[[list[Member]], Path]) -> None:
    roots = set()
    for shape in DOCKER_SHAPES.values():
        with open_source(saved(shape(ONE))) as source:
            source.complete()
            roots.add(source.references()[0])
    assert len(roots) == 1
    root = roots.pop()[1]
    assert root.platform == Platform("linux", "amd64")
    assert root.digest == "sha256:b8b2ae7274ede1a5552e59a8938fec5decb5113fcf1699065b2c467a56442b5e"


@pytest.mark.parametrize("shape", DOCKER_SHAPES)
@pytest.mark.parametrize("order", ["as written", "reversed", "shuffled"])
def test_docker_shapes_from_a_stream(shape: str, order: str) -> None:
    members = DOCKER_SHAPES[shape](ONE, TWO)
    if order == "reversed":
        members.reverse()
    elif order == "shuffled":
        random.Random(7).shuffle(members)
    intake = MemoryIntake()
    with open_source(io.BytesIO(tar(members)), intake=intake) as source:
        source.complete(intake)
        assert_plain_images(source, intake)
    # Each layer of the archive was taken once, and nothing else: documents are kept aside.
    assert {taken.digest for taken in intake.taken} == {*ONE.diff_ids, *TWO.diff_ids}
    assert len(intake.taken) == 3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", OUTER)
def test_outer_compression_is_seen_through(shape: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(OUTER[kind](tar(SHAPES[shape](ONE, TWO))))
    intake = MemoryIntake()
    with open_source(path, intake=intake) as source:
        source.complete(intake)
        assert [name for name, _ in source.references()] == [*ONE.tags, *TWO.tags]
        for _, root in source.references():
            assert copy_graph(source, intake, root).missing == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["", "gzip"])
def test_from_a_pipe(shape: str, kind: str) -> None:
    # What follows the end is more than a pipe holds: it is read, or the writer would fail.
    data = tar(SHAPES[shape](ONE, TWO)) + bytes(200_000)
    intake = MemoryIntake()
    with Pipe(OUTER[kind](data) if kind else data) as fd, open_source(fd, intake=intake) as source:
        source.complete(intake)
        for _, root in source.references():
            assert copy_graph(source, intake, root).missing == []


def test_a_stream_without_an_intake_is_refused() -> None:
    with pytest.raises(UsageError):
        open_source(io.BytesIO(tar(docker_20(ONE))))


def oci_graph(images: list[Image], compression: str) -> dict[Digest, bytes]:
    layout = Layout()
    for image in images:
        layout.image(image, compression)
    return layout.blobs


@pytest.mark.parametrize(("shape", "compression"),
                         [("docker_25", ""), ("oci_plain", ""), ("oci_gzip", "gzip"), ("oci_zstd", "zstd")])
@pytest.mark.parametrize("medium", ["file", "directory", "stream", "backwards"])
def test_oci_digests_survive(shape: str, compression: str, medium: str, tmp_path: Path) -> None:
    members = OCI_SHAPES[shape](ONE, TWO)
    target = MemoryIntake()
    if medium == "file":
        (tmp_path / "x.tar").write_bytes(tar(members))
        source = open_source(tmp_path / "x.tar")
    elif medium == "directory":
        source = open_source(write_directory(tmp_path, members))
    else:
        source = open_source(io.BytesIO(tar(members[::-1] if medium == "backwards" else members)), intake=target)
    blobs = oci_graph([ONE, TWO], compression)
    with source:
        assert source.format == "oci"
        source.complete()
        assert [name for name, _ in source.references()] == [*ONE.tags, *TWO.tags]
        for name, root in source.references():
            result = copy_graph(source, target, root)
            assert (result.missing, [one.digest for one in result.manifests]) == ([], [root.digest])
            assert source.resolve(name) == source.resolve(root.digest)
        for digest, data in blobs.items():
            assert read_all(target.fetch(Descriptor("", digest, len(data))), 1 << 20) == data
        assert source.warnings == []


def test_an_open_file_and_a_descriptor(saved: Callable[[list[Member]], Path]) -> None:
    path = saved(docker_20(ONE))
    with path.open("rb") as file:
        for given in (file, file.fileno()):
            with open_source(given) as source:
                source.complete()
                assert [name for name, _ in source.references()] == [*ONE.tags]


def test_an_archive_within_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before" + tar(docker_20(ONE)))
    with (tmp_path / "x").open("rb", buffering=0) as file:
        file.seek(6)
        with open_source(file) as source:
            source.complete()
            copy_graph(source, MemoryTarget(), source.references()[0][1])


def test_layers_of_a_file_are_regions_of_it(saved: Callable[[list[Member]], Path]) -> None:
    for members in (docker_20(ONE), docker_25(ONE), oci(ONE, compression="")):
        path = saved(members)
        with open_source(path) as source:
            source.complete()
            reader = source.fetch(Descriptor(OCI_LAYER, ONE.diff_ids[0], len(BASE)))
            assert isinstance(reader, FileRegion)
            assert path.read_bytes()[reader.offset : reader.offset + reader.size] == BASE
            assert os.pread(reader.fd, reader.size, reader.offset) == BASE
            reader.close()


def test_a_directory_s_blobs_are_regions(tmp_path: Path) -> None:
    with open_source(write_directory(tmp_path, oci(ONE, compression=""))) as source:
        reader = source.fetch(Descriptor(OCI_LAYER, ONE.diff_ids[0], len(BASE)))
        assert isinstance(reader, FileRegion)
        assert reader.size == len(BASE)
        reader.close()


def sparse_archive(path: Path, size: int) -> Digest:
    """An archive whose first member is a layer of zeros that take no room on disk; its claimed diff id."""
    diff_id = Digest.of(b"whatever")
    config = json.dumps({"os": "linux", "architecture": "amd64",
                         "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    items = [{"Config": "c.json", "RepoTags": ["big:1"], "Layers": ["layer.tar"]}]
    head = tar([Member("layer.tar", size=size)], end=False)
    tail = tar([Member("c.json", config), Member("manifest.json", json.dumps(items).encode())])
    with path.open("wb") as file:
        file.write(head)
        file.seek(size + -size % 512, os.SEEK_CUR)
        file.write(tail)
    return diff_id


def test_opening_reads_headers_only(tmp_path: Path) -> None:
    size = 20 * 10**9 + 1
    diff_id = sparse_archive(tmp_path / "big.tar", size)
    with open_source(tmp_path / "big.tar") as source:
        source.complete()
        (_, root), = source.references()
        manifest = parse_manifest(read_blob(source, root))
        assert [(one.digest, one.size) for one in manifest.layers] == [(diff_id, size)]


def test_layers_that_are_known_are_not_read(saved: Callable[[list[Member]], Path]) -> None:
    members = [Member(one.name, b"\x1f\x8b\x08 not gzip at all") if one.name.endswith(".gz") else one
               for one in kaniko(ONE)]
    intake = MemoryIntake()
    for data in ONE.layers:
        intake.push(Descriptor(OCI_LAYER, Digest.of(data), len(data)), BytesReader(data))
    with open_source(saved(members)) as source:
        source.complete(intake)
        assert copy_graph(source, intake, source.references()[0][1]).missing == []
    assert intake.taken == []


def test_compressed_layers_are_taken_in_by_their_diff_id(saved: Callable[[list[Member]], Path]) -> None:
    members = kaniko(ONE)
    items = json.loads(members[-1].data)
    items[0]["Layers"].reverse()
    members[-1] = Member("manifest.json", json.dumps(items).encode())
    with open_source(saved(members)) as source, pytest.raises(DigestMismatch):
        source.complete(MemoryIntake())


def test_known_blobs_of_a_stream_are_passed_over() -> None:
    intake = MemoryIntake()
    stream = tar(oci(ONE))
    for expected in (2, 2):
        with open_source(io.BytesIO(stream), intake=intake) as source:
            copy_graph(source, intake, source.references()[0][1])
        assert len(intake.taken) == expected


def test_references_want_complete(saved: Callable[[list[Member]], Path]) -> None:
    with open_source(saved(docker_20(ONE))) as source, pytest.raises(UsageError, match="complete"):
        source.references()


def test_resolve(saved: Callable[[list[Member]], Path]) -> None:
    with open_source(saved(docker_20(ONE, TWO))) as source:
        source.complete()
        one, two, _ = (root for _, root in source.references())
        assert source.resolve("one:1") == source.resolve("docker.io/library/one:1") == one
        assert source.resolve("example.com/a/two") == two
        assert source.resolve(one.digest) == source.resolve(f"one@{one.digest}") == one
        for nothing in ("one:2", "", "!!", Digest.of(b"nothing")):
            with pytest.raises(NotFound):
                source.resolve(nothing)


def test_fetch_of_what_is_not_there(saved: Callable[[list[Member]], Path]) -> None:
    for shape in SHAPES.values():
        with open_source(saved(shape(ONE))) as source, pytest.raises(NotFound):
            source.complete()
            source.fetch(Descriptor(OCI_LAYER, Digest.of(b"nothing"), 7))


def test_one_name_twice_the_last_wins(saved: Callable[[list[Member]], Path]) -> None:
    again = Image((layer(9),), ("one:1", "other:1"))
    for shape in SHAPES.values():
        with open_source(saved(shape(ONE, again))) as source:
            source.complete()
            found = [(name, read_config(source, root)) for name, root in source.references()]
            assert found == [("", ONE.config), ("docker.io/library/one:1", again.config),
                             ("docker.io/library/other:1", again.config)]
            (warning,) = source.warnings
            assert "one:1 is given twice" in warning


def read_config(source: ArchiveSource, root: Descriptor) -> bytes:
    return read_blob(source, parse_manifest(read_blob(source, root)).config)


def test_the_same_image_twice_is_one(saved: Callable[[list[Member]], Path]) -> None:
    for shape in SHAPES.values():
        with open_source(saved(shape(ONE, ONE))) as source:
            source.complete()
            assert [name for name, _ in source.references()] == [*ONE.tags]
            assert source.warnings == []


def test_images_without_names(saved: Callable[[list[Member]], Path]) -> None:
    for shape in SHAPES.values():
        with open_source(saved(shape(ARM, ONE))) as source:
            source.complete()
            assert [name for name, _ in source.references()] == ["", *ONE.tags]


def test_a_name_that_is_none_is_said_aloud(saved: Callable[[list[Member]], Path]) -> None:
    with open_source(saved(docker_20(Image(ONE.layers, ("NOT//A name", "fine:1"))))) as source:
        source.complete()
        assert [name for name, _ in source.references()] == ["docker.io/library/fine:1"]
        assert "no image name" in source.warnings[0]


def test_no_layers_at_all(saved: Callable[[list[Member]], Path]) -> None:
    empty = Image((), ("scratch:1",))
    for shape in SHAPES.values():
        with open_source(saved(shape(empty))) as source:
            source.complete()
            ((_, config, layers),) = images_of(source, MemoryTarget())
            assert (config, layers) == (empty.config, [])


def test_one_layer_twice_in_an_image(saved: Callable[[list[Member]], Path]) -> None:
    image = Image((BASE, layer(2), BASE), ("twice:1",))
    for shape in DOCKER_SHAPES.values():
        with open_source(saved(shape(image))) as source:
            source.complete()
            assert [layers for _, _, layers in images_of(source, MemoryTarget())] == [list(image.layers)]


# -- OCI layouts


def test_nested_indexes_and_platforms(saved: Callable[[list[Member]], Path]) -> None:
    layout = Layout()
    images = [layout.image(ONE, "gzip"), layout.image(ARM, "zstd")]
    inner = layout.index(images)
    outer = layout.index([inner])
    members = layout.members([named(outer, ref="docker.io/library/multi:1")])
    for source in (open_source(saved(members)), open_source(io.BytesIO(tar(members)), intake=MemoryIntake())):
        with source:
            ((name, root),) = source.references()
            assert (name, root.digest) == ("docker.io/library/multi:1", outer.digest)
            if source.format:
                target = MemoryIntake()
                assert [one.digest for one in copy_graph(source, target, root).manifests] == [
                    one.digest for one in images]


def test_a_bare_tag_names_no_image(saved: Callable[[list[Member]], Path]) -> None:
    layout = Layout()
    root = named(layout.image(ONE), ref="v1")
    with open_source(saved(layout.members([root]))) as source:
        assert [name for name, _ in source.references()] == [""]
        assert source.resolve("v1") == root
        with pytest.raises(NotFound):
            source.resolve("v2")


def test_containerd_s_name_goes_before(saved: Callable[[list[Member]], Path]) -> None:
    layout = Layout()
    root = named(layout.image(ONE), ref="other:2", name="docker.io/library/this:1")
    with open_source(saved(layout.members([root]))) as source:
        assert [name for name, _ in source.references()] == ["docker.io/library/this:1"]


def test_manifest_json_adds_names(saved: Callable[[list[Member]], Path]) -> None:
    layout = Layout()
    roots = [layout.image(ONE), layout.index([layout.image(ARM)])]
    items = [
        {"Config": f"blobs/sha256/{ONE.id.hex}", "RepoTags": ["added:1"], "Layers": []},
        {"Config": f"blobs/sha256/{ARM.id.hex}", "RepoTags": ["added:2"], "Layers": []},
    ]
    members = [*layout.members(roots), Member("manifest.json", json.dumps(items).encode())]
    with open_source(saved(members)) as source:
        assert source.references() == [("docker.io/library/added:1", roots[0]),
                                       ("docker.io/library/added:2", roots[1])]
        assert source.warnings == []


def test_manifest_json_of_another_image(saved: Callable[[list[Member]], Path]) -> None:
    members = [one for one in docker_25(ONE, TWO) if one.name != "index.json"]
    layout = Layout()
    members.append(layout.members([named(layout.image(ONE), ref=ONE.tags[0])])[-2])
    with open_source(saved(members)) as source:
        assert [name for name, _ in source.references()] == [*ONE.tags]
        assert "whose image is not in index.json" in source.warnings[0]


def test_embedded_data(saved: Callable[[list[Member]], Path]) -> None:
    layout = Layout()
    config = Descriptor(OCI_CONFIG, Digest.of(b"{}"), 2, data=b"{}")
    data = json.dumps({"schemaVersion": 2, "config": config.to_json(), "layers": []}).encode()
    root = layout.put(data, OCI_MANIFEST)
    with open_source(saved(layout.members([root]))) as source:
        assert read_config(source, root) == b"{}"


# -- names of members


def test_dots_and_slashes_in_member_names(saved: Callable[[list[Member]], Path]) -> None:
    for members in (docker_20(ONE), oci(ONE)):
        dotted = [Member(f"./{one.name.replace('/', '//')}", one.data, one.link) for one in members]
        with open_source(saved(dotted)) as source:
            source.complete()
            copy_graph(source, MemoryTarget(), source.references()[0][1])


def test_long_names_and_headers_of_all_kinds(saved: Callable[[list[Member]], Path]) -> None:
    directory = "d" * 300
    members = [Member(f"{directory}/{one.name}", one.data) for one in podman(ONE) if not one.link]
    items = json.loads(members[-1].data)
    items[0]["Config"] = f"{directory}/{items[0]['Config']}"
    items[0]["Layers"] = [f"{directory}/{path}" for path in items[0]["Layers"]]
    members[-1] = Member("manifest.json", json.dumps(items).encode(), pax={"comment": "c", "mtime": "1.5"})
    with open_source(saved(members)) as source:
        source.complete()
        copy_graph(source, MemoryTarget(), source.references()[0][1])


def test_the_same_member_twice_the_last_wins(saved: Callable[[list[Member]], Path]) -> None:
    members = docker_20(ONE)
    for given in ([Member("manifest.json", b"nonsense"), *members], [*docker_20(TWO)[-2:], *members]):
        for source in (open_source(saved(given)), open_source(io.BytesIO(tar(given)), intake=MemoryIntake())):
            with source:
                source.complete()
                assert [name for name, _ in source.references()] == [*ONE.tags]


def test_members_that_nobody_claims_do_not_matter(saved: Callable[[list[Member]], Path]) -> None:
    odd = [
        Member("../../etc/passwd", b"x"), Member("/etc/shadow", b"x"), Member("null", type=tarfile.CHRTYPE),
        Member("fifo", type=tarfile.FIFOTYPE), Member("loop", link="loop"), Member("out", link="../../.."),
        Member("hard", link="nowhere", type=tarfile.LNKTYPE), Member("caf\udce9", b"not UTF-8"),
        Member("sparse", b"", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s",
                                   "GNU.sparse.realsize": "0"}),
    ][:8]
    with open_source(saved([*odd, *docker_20(ONE)])) as source:
        source.complete()
        copy_graph(source, MemoryTarget(), source.references()[0][1])
    intake = MemoryIntake()
    with open_source(io.BytesIO(tar([*odd, *docker_20(ONE)])), intake=intake) as source:
        source.complete(intake)
        copy_graph(source, intake, source.references()[0][1])


def test_links_of_every_kind(saved: Callable[[list[Member]], Path]) -> None:
    members = [one for one in podman(ONE) if not one.link]
    first, second = json.loads(members[-1].data)[0]["Layers"]
    items = json.loads(members[-1].data)
    items[0]["Layers"] = ["a/b/soft", "dir/hard"]
    links = [
        Member("a/b/soft", link="../../c/next"), Member("c/next", link=f"./.././{first}"),
        Member("dir", link="real"), Member("real/hard", link=second, type=tarfile.LNKTYPE),
    ]
    members[-1] = Member("manifest.json", json.dumps(items).encode())
    for given in ([*links, *members], [*members, *links]):
        for source in (open_source(saved(given)), open_source(io.BytesIO(tar(given)), intake=MemoryIntake())):
            with source:
                source.complete()
                if source.format:
                    ((_, root),) = source.references()
                    manifest = parse_manifest(read_blob(source, root))
                    assert [one.digest for one in manifest.layers] == ONE.diff_ids


def test_an_archive_ends_at_its_end(saved: Callable[[list[Member]], Path], tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for after in (bytes(9000), b"garbage " * 100, tar(docker_20(TWO))):
        path.write_bytes(tar(docker_20(ONE)) + after)
        for given in (path, io.BytesIO(path.read_bytes())):
            with open_source(given, intake=MemoryIntake()) as source:
                source.complete()
                assert [name for name, _ in source.references()] == [*ONE.tags]


def test_no_end_marker_is_needed(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar(docker_20(ONE), end=False))
    with open_source(tmp_path / "x.tar") as source:
        source.complete()
        assert [name for name, _ in source.references()] == [*ONE.tags]
