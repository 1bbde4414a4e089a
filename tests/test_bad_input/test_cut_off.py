"""Archives that end too early, or are no archives."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from archive.builders import ONE, SHAPES, Member, docker_20, docker_25, oci, podman, tar, write_directory

from test_bad_input.kit import NEW, Home, Said, assert_refused, command, flipped, loading

Way = Callable[[bytes], Callable[[Home], Said]]

OUTER: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": lambda data: bz2.compress(data, 1),
}


def place(members: list[Member], suffix: str, part: str) -> int:
    """Where to cut: in the header of the member whose name ends so, in its content, or in the padding behind."""
    at = 0
    for member in members:
        size = len(member.data)
        if member.name.endswith(suffix) and size:
            return at + {"header": 300, "content": 512 + size // 2, "padding": 512 + size + 1}[part]
        at += 512 + size + -size % 512
    raise AssertionError(suffix)


@pytest.mark.parametrize("part", ["header", "content", "padding"])
@pytest.mark.parametrize(("shape", "suffix"), [
    ("docker_20", "layer.tar"), ("docker_20", NEW.id.hex + ".json"), ("docker_20", "manifest.json"),
    ("oci_gzip", "index.json"),
    ("docker_25", NEW.id.hex), ("docker_25", NEW.diff_ids[1].hex),
])
def test_cut_off(home: Home, way: Way, shape: str, suffix: str, part: str) -> None:
    members = [one for one in SHAPES[shape](NEW) if one.name != "repositories"]
    data = tar(members)[:place(members, suffix, part)]
    assert_refused(home, way(data), "get it again|not complete|neither manifest.json")


def test_cut_off_by_the_command(home: Home, tmp_path: Path) -> None:
    members = docker_20(NEW)
    data = tar(members)[:place(members, "layer.tar", "content")]
    (tmp_path / "cut.tar").write_bytes(data)
    said = assert_refused(home, command("load", "-q", "-i", tmp_path / "cut.tar"), "cut short: get it again")
    assert str(tmp_path / "cut.tar") in said.lines[0]
    assert_refused(home, command("load", "-q", given=data), "the archive ends after")


def test_without_its_end_an_archive_is_whole(home: Home, way: Way) -> None:
    for data in (tar(docker_20(NEW), end=False), tar(docker_20(NEW), end=False) + bytes(512)):
        assert way(data)(home).code == 0
    assert home.settle().problems == ()


@pytest.mark.parametrize("kind", OUTER)
def test_a_compressed_archive_cut_off(home: Home, kind: str) -> None:
    data = OUTER[kind](tar(podman(NEW)))
    for cut in (len(data) // 2, len(data) - 1, 8):
        assert_refused(home, loading(data[:cut]), "too early|damaged|no image archive|cannot be")


@pytest.mark.parametrize("kind", OUTER)
def test_a_compressed_archive_with_a_flipped_bit(home: Home, kind: str) -> None:
    data = OUTER[kind](tar(podman(NEW)))
    assert_refused(home, loading(flipped(data, len(data) // 2)), "damaged|no image archive: it begins with")


def test_a_huge_member_in_a_small_file(home: Home, way: Way) -> None:
    data = tar([*podman(NEW), Member("layer.tar", bytes(1_000_000), size=10 << 30)], end=False)
    assert_refused(home, way(data), "'layer.tar' announces 10737418240 bytes and the archive ends after 1")


@pytest.mark.parametrize(("data", "match"), [
    (b"", "is empty"), (b"\0", "no image archive"), (bytes(10_240), "neither manifest.json"), (b"x" * 99, "no image archive"),
    (b"PK\x03\x04" + bytes(600), "zip archive"), (b'{"a": 1}' + b" " * 600, "JSON"), (b"x" * 5_000, "no image archive"),
    (gzip.compress(b""), "no image archive|neither"), (gzip.compress(b"text"), "no image archive"),
    (tar([Member("bin/sh", b"x")]), "lamina import"),
])
def test_no_archive(home: Home, way: Way, data: bytes, match: str) -> None:
    assert_refused(home, way(data), match)


def test_an_empty_file_by_the_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "empty.tar").touch()
    assert_refused(home, command("load", "-q", "-i", tmp_path / "empty.tar"), "is empty, .*/empty.tar")
    assert_refused(home, command("load", "-q"), "is empty")
    assert_refused(home, command("import", tmp_path / "empty.tar"), "no tar archive, .*/empty.tar")


def test_no_file_at_all(home: Home, tmp_path: Path) -> None:
    assert_refused(home, loading(tmp_path / "none.tar"), "no such file, .*/none.tar")
    assert_refused(home, command("load", "-q", "-i", tmp_path / "none.tar"), "no such file, .*/none.tar")


def test_a_directory(home: Home, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"a")
    assert_refused(home, loading(tmp_path / "files"), "oci-layout.*, .*/files")
    assert_refused(home, command("load", "-q", "-i", tmp_path / "files"), "oci-layout.*, .*/files")
    assert_refused(home, command("import", tmp_path / "files"), "no regular file, .*/files")


@pytest.mark.parametrize("gone", ["oci-layout", "index.json", "blobs/sha256/" + ONE.id.hex])
def test_a_layout_that_lacks_a_file(home: Home, tmp_path: Path, gone: str) -> None:
    write_directory(tmp_path / "layout", oci(ONE))
    (tmp_path / "layout" / gone).unlink()
    assert_refused(home, loading(tmp_path / "layout"), "no OCI layout|not there|missing|not complete")


def test_a_layout_whose_blob_is_cut_off(home: Home, tmp_path: Path) -> None:
    write_directory(tmp_path / "layout", docker_25(NEW))
    blob = tmp_path / "layout" / "blobs" / "sha256" / NEW.diff_ids[1].hex
    blob.write_bytes(blob.read_bytes()[:-1])
    assert_refused(home, loading(tmp_path / "layout"), "bytes")
