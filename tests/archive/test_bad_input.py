"""Archives that are damaged or made to harm: one clear error each, from a file and from a stream."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from archive.builders import (
    BASE,
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
    oci,
    podman,
    tar,
    write_directory,
)
from lamina.archive import open_source
from lamina.archive.region import Region
from lamina.content.copy import copy_graph
from lamina.digest import Digest
from lamina.errors import (
    ArchiveError,
    DigestMismatch,
    InvalidContent,
    LaminaError,
    LimitExceeded,
    NotFound,
    StorageError,
)

Kinds = type[LaminaError] | tuple[type[LaminaError], ...]


@pytest.fixture(params=["file", "stream", "gzip"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], None]:
    """Loads an archive as a store would: opens, completes, copies."""

    def load(data: bytes) -> None:
        intake = MemoryIntake()
        path = tmp_path / "image.tar"
        path.write_bytes(gzip.compress(data, 1) if request.param == "gzip" else data)
        with path.open("rb") as file:
            given = Unseekable(data) if request.param == "stream" else file
            with open_source(given, intake=intake) as source:
                source.complete(intake)
                for _, root in source.references():
                    copy_graph(source, intake, root)

    return load


class Unseekable(io.RawIOBase):
    """A stream that cannot be rewound."""

    name = "image.tar"

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        return self._data.readinto(buffer)


def refused(load: Callable[[bytes], None], data: bytes, match: str, kind: Kinds) -> None:
    with pytest.raises(kind, match=match) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def with_manifest(members: list[Member], data: bytes) -> bytes:
    return tar([*(one for one in members if one.name != "manifest.json"), Member("manifest.json", data)])


def items(members: list[Member]) -> list[dict]:
    return json.loads(next(one.data for one in members if one.name == "manifest.json"))


def changed(members: list[Member], **fields: object) -> bytes:
    """The archive, its first image's fields in manifest.json changed."""
    found = items(members)
    found[0] |= fields
    return with_manifest(members, json.dumps(found).encode())


# -- cut off


@pytest.mark.parametrize("shape", SHAPES)
def test_cut_off_anywhere(shape: str, load: Callable[[bytes], None]) -> None:
    members = SHAPES[shape](ONE)
    whole = tar(members)
    # Before, in and after each header, in each content, before the padding's end; the last cut leaves it whole.
    cuts, at = set(), 0
    for member in members:
        size = len(member.data)
        cuts |= {at + 1, at + 511, at + 512 + size // 2, at + 512 + max(size - 1, 0)}
        if size % 512:
            cuts |= {at + 512 + size, at + 512 + size + (-size % 512) - 1}
        cuts.add(at)
        at += 512 + size + -size % 512
    # Names apart, a layout is whole without docker's documents; nobody needs `repositories`.
    enough = len(tar([one for one in members if one.name != "repositories"], end=False))
    whole_already = len(tar(members[:-2], end=False)) if shape == "docker_25" else -1
    for cut in sorted(cuts - {whole_already}):
        if cut < enough:
            with pytest.raises((InvalidContent, NotFound)):
                load(whole[:cut])


@pytest.mark.parametrize(("cut", "match"), [
    (300, "no image archive"), (512 + 100, "announces .* bytes and the archive ends after 100"), (-1500, "ends"),
])
def test_what_a_cut_off_archive_is_told(cut: int, match: str, load: Callable[[bytes], None]) -> None:
    members = podman(ONE)
    refused(load, tar(members, end=False)[:cut], match, ArchiveError)


def test_cut_off_inside_a_header(load: Callable[[bytes], None]) -> None:
    refused(load, tar(docker_20(ONE), end=False) + tar([Member("x")])[:200], "inside a header", ArchiveError)


def test_cut_off_inside_an_extended_header(load: Callable[[bytes], None]) -> None:
    extended = tar([Member("x" * 300, b"data")])
    for cut in (512, 700, 1024):
        refused(load, tar(docker_20(ONE), end=False) + extended[:cut], "inside a header", ArchiveError)


@pytest.mark.parametrize("cut", [-1, -8, -9, 5])
def test_a_compressed_archive_that_is_cut_off_behind_its_last_member(cut: int) -> None:
    data = gzip.compress(tar(docker_20(ONE)) + os.urandom(99))
    intake = MemoryIntake()
    with pytest.raises(InvalidContent, match="too early"):
        open_source(Unseekable(data[:cut]), intake=intake)


def test_a_compressed_archive_with_a_wrong_checksum() -> None:
    data = bytearray(gzip.compress(tar(docker_20(ONE))))
    data[-6] ^= 1
    with pytest.raises(InvalidContent, match="checksum"):
        open_source(Unseekable(bytes(data)), intake=MemoryIntake())


def test_a_huge_member_in_a_small_file(load: Callable[[bytes], None]) -> None:
    data = tar([Member("layer.tar", b"x" * 1_000_000, size=10 << 30)], end=False)
    refused(load, data, "announces 10737418240 bytes and the archive ends after", ArchiveError)


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(docker_20(Image((BASE * 20,), ("one:1",)))))
    with open_source(path) as source:
        source.complete()
        os.truncate(path, 100_000)
        with pytest.raises(ArchiveError, match="shorter"):
            copy_graph(source, MemoryIntake(), source.references()[0][1])
        with pytest.raises(ArchiveError, match="changed its size"):
            source.check_unchanged()


def test_a_file_that_shrinks_while_its_headers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    data = tar(docker_20(ONE))
    path.write_bytes(gzip.compress(data + os.urandom(500_000)))
    with pytest.raises(InvalidContent):
        open_source(path, intake=_Truncating(path))


class _Truncating(MemoryIntake):
    """Cuts the file when the first layer comes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def intake(self, reader, **more):
        os.truncate(self._path, 200_000)
        return super().intake(reader, **more)


def test_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(docker_20(ONE)))
    with open_source(path) as source:
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(ArchiveError, match="changed its size"):
            source.complete()


# -- no archive


@pytest.mark.parametrize(("data", "match"), [
    (b"", "empty"), (b'{"a": 1}', "JSON"), (b"<!DOCTYPE html>" * 99, "HTML"), (b"\x7fELF" + bytes(9000), "ELF"),
    (b"PK\x03\x04" + bytes(600), "zip"), (b"hsqs" * 300, "squashfs"), (os.urandom(5000), "begins with"),
    (b"x", "begins with"), (bytes(2048), "neither manifest.json nor"), (tar([]), "neither manifest.json nor"),
    (tar([Member("etc/passwd", b"root")]), "lamina import"), (tar([Member("repositories", b"{}")]), "1.10"),
    (gzip.compress(b"twice " * 500), "begins with"),
])
def test_no_archive(data: bytes, match: str, load: Callable[[bytes], None]) -> None:
    if data[:2] == b"\x1f\x8b":
        match = "no image archive"
    refused(load, data, match, InvalidContent)


def test_damage_in_the_middle(load: Callable[[bytes], None]) -> None:
    first, *rest = docker_20(ONE)
    data = tar([first], end=False) + b"garbage!" * 64 + tar(rest)
    refused(load, data, "damaged at byte", ArchiveError)


def test_a_directory_that_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no OCI layout"):
        open_source(tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ArchiveError, match="directory"):
        open_source(fd)
    os.close(fd)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        open_source(tmp_path / "nothing")


def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(tar(docker_20(ONE)))
    (tmp_path / "image.tar").chmod(0)
    (tmp_path / "layout").mkdir(mode=0)
    script = (
        "import os, sys\nfrom lamina.archive import open_source\nfrom lamina.errors import StorageError\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try: open_source(path)\n"
        "    except StorageError as error: print(error)\n"
    )
    for parent in [tmp_path, *tmp_path.parents][:3]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "image.tar", tmp_path / "layout"],
                          capture_output=True, text=True, check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.count("Permission denied") == 2


def test_a_fifo_in_a_layout_is_not_waited_for(tmp_path: Path) -> None:
    write_directory(tmp_path, oci(ONE))
    (blob,) = tmp_path.glob(f"blobs/sha256/{ONE.id.hex}")
    blob.unlink()
    os.mkfifo(blob)
    with open_source(tmp_path) as source, pytest.raises(NotFound):
        copy_graph(source, MemoryIntake(), source.references()[0][1])


# -- manifest.json


@pytest.mark.parametrize(("manifest", "match"), [
    (b"", "JSON"), (b"[", "JSON"), (b"{}", "array"), (b"[]", "names no image"), (b"[1]", "object"),
    (b"null", "names no image"), (b'"text"', "array"), (b"\xff", "UTF-8"), (b"[]]", "JSON"),
    (b'[],"more":[]', "not a list"), (b'[],"images":[]', "twice"), (b"[]} {", "JSON"),
    (b'[{"Layers":[]}]', "Config is missing"), (b'[{"Config":1}]', "Config is not a string"),
    (b'[{"Config":"c","Layers":{}}]', "Layers is not an array"),
    (b'[{"Config":"c","Layers":[1]}]', "not a string"),
    (b'[{"Config":"c","RepoTags":"one:1"}]', "RepoTags is not an array"),
    (b'[{"Config":"c","Config":"d"}]', "given twice"), (b"[" * 100_000, "deep"), (b"[" * 60 + b"]" * 60, "object"),
    (b'[{"Config":"nothing.json","Layers":[]}]', "'nothing.json' is named but not there"),
    (b'[{"Config":"a\\u0000b","Layers":[]}]', r"'a\\x00b' is named but not there"),
    (b'[{"Config":"../c.json","Layers":[]}]', "out of the archive"),
    (b'[{"Config":"/etc/passwd","Layers":[]}]', "out of the archive"),
    (b'[{"Config":"\\ud800","Layers":[]}]', "UTF-8"),
    (b'[{"Config":"' + b"n" * 100_000 + b'","Layers":[]}]', "named but not there"),
    (b'[{"Config":"","Layers":[]}]', "Config is missing"), (b'[{"Config":".","Layers":[]}]', "not there"),
    (b"[" + b",".join([b'{"Config":"c","Layers":[]}'] * 5000) + b"]", "5000 elements"),
    (b'[{"Config":"c","Layers":[' + b",".join([b'"l"'] * 5000) + b"]}]", "5000 elements"),
])
def test_manifest_json(manifest: bytes, match: str, load: Callable[[bytes], None]) -> None:
    refused(load, with_manifest(docker_20(ONE), manifest), match, (InvalidContent, LimitExceeded))


def test_a_huge_manifest_json(load: Callable[[bytes], None]) -> None:
    refused(load, with_manifest(docker_20(ONE), b" " * (5 << 20) + b"[]"), "too large", LimitExceeded)


def test_layers_and_diff_ids_in_number_and_order(load: Callable[[bytes], None]) -> None:
    layers = items(podman(ONE))[0]["Layers"]
    refused(load, changed(podman(ONE), Layers=layers[:1]), "2 layers, manifest.json 1", ArchiveError)
    refused(load, changed(podman(ONE), Layers=[*layers, layers[0]]), "2 layers, manifest.json 3", ArchiveError)
    refused(load, changed(podman(ONE), Layers=layers[::-1]), "digest|bytes", InvalidContent)
    paths = items(kaniko(ONE))[0]["Layers"]
    refused(load, changed(kaniko(ONE), Layers=paths[::-1]), "digest", DigestMismatch)
    refused(load, changed(docker_20(ONE), Layers=["x/layer.tar"] * 2), "named but not there", ArchiveError)


def test_a_config_of_another_digest(load: Callable[[bytes], None]) -> None:
    for shape in (docker_20, podman, kaniko):
        members = [Member(one.name, TWO.config) if ONE.id.hex in one.name else one for one in shape(ONE)]
        refused(load, tar(members), "has digest", DigestMismatch)


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b'{"rootfs":1}', b'{"rootfs":{"diff_ids":["x"]}}', b"\x80" * 99])
def test_a_config_that_is_none(config: bytes, load: Callable[[bytes], None]) -> None:
    members = [*docker_20(ONE), Member("config", config)]
    with pytest.raises(InvalidContent):
        load(changed(members, Config="config", Layers=[]))


def test_a_flipped_bit_in_a_layer(load: Callable[[bytes], None]) -> None:
    for shape in SHAPES.values():
        members = shape(ONE)
        at = max(range(len(members)), key=lambda number: len(members[number].data))
        data = bytearray(members[at].data)
        data[len(data) // 2] ^= 4
        members[at] = Member(members[at].name, bytes(data))
        with pytest.raises(InvalidContent):
            load(tar(members))


@pytest.mark.parametrize("member", [
    Member("layer", type=tarfile.CHRTYPE), Member("layer", type=tarfile.FIFOTYPE),
    Member("layer", type=tarfile.DIRTYPE), Member("layer/", type=tarfile.DIRTYPE),
    Member("layer", BASE, type=b"Q"),
])
def test_a_claim_of_what_is_no_file(member: Member, load: Callable[[bytes], None]) -> None:
    data = changed([*podman(ONE), member], Layers=["layer", "layer"])
    refused(load, data, "'layer' is no regular file", ArchiveError)


@pytest.mark.parametrize(("links", "match"), [
    ([Member("layer", link="layer")], "loop"),
    ([Member("layer", link="b"), Member("b", link="./layer")], "loop"),
    ([Member("layer", link="b/c"), Member("b", link="b/d")], "loop"),
    ([Member("layer", link="layer", type=tarfile.LNKTYPE)], "loop"),
    ([Member(f"{n}" if n else "layer", link=f"{n + 1}") for n in range(60)], "loop"),
    ([Member("layer", link="../outside")], "out of the archive"),
    ([Member("layer", link="/etc/passwd")], "out of the archive"),
    ([Member("layer", link="/etc/passwd", type=tarfile.LNKTYPE)], "out of the archive"),
    ([Member("layer", link="a/../../b")], "out of the archive"),
    ([Member("layer", link="nowhere")], r"a link to 'nowhere'\) is named but not there"),
])
def test_links(links: list[Member], match: str, load: Callable[[bytes], None]) -> None:
    for members in ([*links, *podman(ONE)], [*podman(ONE), *links]):
        refused(load, changed(members, Layers=["layer", "layer"]), match, ArchiveError)


def test_a_claim_of_a_member_outside(load: Callable[[bytes], None]) -> None:
    for name in ("../layer", "/layer", "a/../../layer"):
        data = changed([*podman(ONE), Member(name, BASE)], Layers=[name, name])
        refused(load, data, "out of the archive", ArchiveError)


# -- OCI layouts


def oci_with(**members: bytes) -> bytes:
    names = {"index": "index.json", "layout": "oci-layout"}
    found = {one.name: one for one in oci(ONE)}
    found |= {names[key]: Member(names[key], data) for key, data in members.items()}
    return tar(found.values())


@pytest.mark.parametrize(("index", "match"), [
    (b"", "JSON"), (b"[]", "object"), (b"{}", "names no image"), (b'{"manifests":1}', "array"),
    (b'{"schemaVersion":1}', "schema 1"), (b'{"manifests":[{}]}', "digest"),
    (b'{"manifests":[],"manifests":[]}', "twice"), (b"[" * 99_999, "deep"), (b'{"layers":[]}', "layers"),
    (b'{"manifests":[{"mediaType":"text/plain","digest":"sha256:%s","size":2}]}' % (b"0" * 64), "no image"),
    (b'{"manifests":[{"mediaType":"x","digest":"sha256:../../etc/passwd","size":2}]}', "digest"),
])
def test_index_json(index: bytes, match: str, load: Callable[[bytes], None]) -> None:
    refused(load, oci_with(index=index), match, (InvalidContent, LimitExceeded))


@pytest.mark.parametrize(("layout", "match"), [
    (b"", "JSON"), (b"{}", "imageLayoutVersion"), (b'{"imageLayoutVersion":1}', "not a string"),
    (b'{"imageLayoutVersion":"2.0.0"}', "unknown version"),
])
def test_oci_layout(layout: bytes, match: str, load: Callable[[bytes], None]) -> None:
    refused(load, oci_with(layout=layout), match, InvalidContent)


def test_a_manifest_that_is_not_there(load: Callable[[bytes], None]) -> None:
    for missing in ("manifest", "config", "layer"):
        layout = Layout()
        root = layout.image(ONE)
        gone = {"manifest": root.digest, "config": ONE.id, "layer": ONE.diff_ids[0]}[missing]
        del layout.blobs[gone]
        with pytest.raises(NotFound, match=gone):
            load(tar(layout.members([root])))


def test_a_blob_under_another_s_name(load: Callable[[bytes], None]) -> None:
    for gone in (ONE.id, ONE.diff_ids[0]):
        members = docker_25(ONE)
        members = [Member(one.name, one.data[:-1] + b"!") if gone.hex in one.name else one for one in members]
        with pytest.raises(DigestMismatch):
            load(tar(members))


def test_a_blob_that_nobody_names_may_be_wrong(load: Callable[[bytes], None]) -> None:
    load(tar([Member("blobs/sha256/" + "0" * 64, os.urandom(99)), *oci(ONE)]))
    load(tar([Member("blobs/sha256/short", os.urandom(99)), Member("blobs/md5/x", b"y"), *oci(ONE)]))


def test_a_blob_by_sha512(load: Callable[[bytes], None]) -> None:
    layout = Layout()
    config, data = Digest.of(ONE.config, "sha512"), bytearray(layout.blobs.setdefault(ONE.id, ONE.config))
    layout.image(ONE)
    manifest = json.dumps({"schemaVersion": 2, "layers": [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest.of(BASE, "sha512"), "size": len(BASE)}],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": len(data)}})
    root = layout.put(manifest.encode(), "application/vnd.oci.image.manifest.v1+json")
    blobs = [Member(f"blobs/sha512/{config.hex}", bytes(data)),
             Member(f"blobs/sha512/{Digest.of(BASE, 'sha512').hex}", BASE)]
    load(tar([*layout.members([root]), *blobs]))
    blobs[1] = Member(blobs[1].name, BASE[:-1] + b"!")
    with pytest.raises(DigestMismatch):
        load(tar([*layout.members([root]), *blobs]))


def test_an_index_that_names_itself_many_times(load: Callable[[bytes], None]) -> None:
    layout = Layout()
    inner = layout.image(ONE)
    for _ in range(3):
        inner = layout.index([inner] * 4000)
    manifest = [{"Config": f"blobs/sha256/{TWO.id.hex}", "RepoTags": ["two:1"], "Layers": []}]
    members = [*layout.members([inner]), Member(f"blobs/sha256/{TWO.id.hex}", TWO.config),
               Member("manifest.json", json.dumps(manifest).encode())]
    load(tar(members))


# -- too much


def test_too_many_members(load: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.archive.walk.MAX_MEMBERS", 20)
    refused(load, tar(Member(f"f{number}") for number in range(21)), "more than 20 members", LimitExceeded)


def test_names_that_no_system_opens_are_not_kept(load: Callable[[bytes], None]) -> None:
    """1,000 names of a megabyte are a gigabyte."""
    members = [*(Member(f"{number}" + "n" * 5000) for number in range(9)), Member("l", link="n" * 5000)]
    load(tar([*members, *docker_20(ONE)]))
    members.append(Member("manifest.json", b'[{"Config":"l","Layers":[]}]'))
    refused(load, tar(members), "'l' is no regular file", ArchiveError)


def test_names_beyond_the_limit(load: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.archive.members._MAX_NAMES", 1000)
    refused(load, tar(Member(f"{number:0100}") for number in range(11)), "names of all members are too long", LimitExceeded)
    refused(load, tar(Member(f"{number}", link="x" * 100) for number in range(11)), "names of all members", LimitExceeded)


def test_what_follows_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.archive.taking._MAX_BEHIND", 100_000)
    data = tar(docker_20(ONE))
    with open_source(io.BytesIO(data + bytes(90_000)), intake=MemoryIntake()):
        pass
    with pytest.raises(LimitExceeded, match="follows without an end"):
        open_source(io.BytesIO(data + bytes(200_000)), intake=MemoryIntake())


def test_configs_beyond_the_limit(load: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.archive.docker._MAX_CONFIGS", len(ONE.config) + len(TWO.config) - 1)
    refused(load, tar(docker_20(ONE, TWO)), "configs of all images", LimitExceeded)


def test_documents_of_a_stream_beyond_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.archive.taking._MAX_KEPT", 100)
    for shape in SHAPES.values():
        intake = MemoryIntake()
        with open_source(io.BytesIO(tar(shape(ONE, TWO))), intake=intake) as source:
            source.complete(intake)
            for _, root in source.references():
                assert copy_graph(source, intake, root).missing == []
        # Three layers, and the documents that there was no room for.
        assert len(intake.taken) > 3 + 2


def test_memory_of_many_members(tmp_path: Path) -> None:
    block = tar([Member("a" * 90)], end=False)
    (tmp_path / "many.tar").write_bytes(block * 5_000 + tar(docker_20(ONE)))
    tracemalloc.start()
    with open_source(tmp_path / "many.tar") as source:
        source.complete()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_failing_read_is_told(tmp_path: Path) -> None:
    class Failing(Unseekable):
        def readinto(self, buffer: memoryview) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(StorageError, match="Input/output error"):
        open_source(Failing(b""), intake=MemoryIntake())


def test_descriptors_are_closed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "good.tar").write_bytes(tar(docker_20(ONE)))
    (tmp_path / "bad.tar").write_bytes(b"bad" * 999)
    for name in ("good.tar", "bad.tar", "good.tar"):
        try:
            with open_source(tmp_path / name) as source:
                source.complete()
            source.close()
        except ArchiveError:
            assert name == "bad.tar"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_compressed_archive_that_is_refused_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader may hold a descriptor of its own (`lamina.archive.direct`)."""
    closed: list[Region] = []
    close = Region.close
    monkeypatch.setattr(Region, "close", lambda region: (closed.append(region), close(region)))
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(b"no tar at all" * 100))
    with pytest.raises(ArchiveError):
        open_source(path, intake=MemoryIntake())
    assert len(closed) == 1
