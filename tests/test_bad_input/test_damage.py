"""Bits that flipped, digests that do not match, layers that are not those of the config, and bombs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from archive.builders import (
    BASE,
    GZIP,
    OCI_SHAPES,
    SHAPES,
    ZSTD,
    Image,
    Layout,
    Member,
    docker_20,
    docker_25,
    kaniko,
    oci,
    podman,
    tar,
    write_directory,
)

from lamina.digest import Digest
from lamina.oci import OCI_LAYER, Descriptor
from test_bad_input.kit import KNOWN, NEW, Home, Said, assert_refused, command, edited, flipped, items, loading, replaced

Way = Callable[[bytes], Callable[[Home], Said]]

UNKNOWN = NEW.layers[1]


def damaged(members: list[Member], content: bytes) -> list[Member]:
    """The members, with a bit flipped in the middle of each that has this content."""
    assert any(one.data == content for one in members)
    return [Member(one.name, flipped(content, len(content) // 2)) if one.data == content else one for one in members]


@pytest.mark.parametrize("shape", ["docker_20", "podman", "docker_25", "oci_plain"])
@pytest.mark.parametrize("part", ["layer", "config"])
def test_a_flipped_bit(home: Home, way: Way, shape: str, part: str) -> None:
    content = UNKNOWN if part == "layer" else NEW.config
    assert_refused(home, way(tar(damaged(SHAPES[shape](NEW), content))), "digest")


@pytest.mark.parametrize("pack", [GZIP, ZSTD])
@pytest.mark.parametrize("place", [0.01, 0.99])
def test_a_flipped_bit_in_a_compressed_layer(home: Home, way: Way, pack: Callable[[bytes], bytes], place: float) -> None:
    members, packed = kaniko(NEW, compress=pack), pack(UNKNOWN)
    bad = flipped(packed, int(len(packed) * place))
    data = tar(Member(one.name, bad) if one.data == packed else one for one in members)
    assert_refused(home, way(data), "damaged|digest|too early|checksum|bytes")


@pytest.mark.parametrize("shape", ["oci_gzip", "oci_zstd"])
def test_a_flipped_bit_in_a_compressed_blob(home: Home, way: Way, shape: str) -> None:
    packed = {"oci_gzip": GZIP, "oci_zstd": ZSTD}[shape](UNKNOWN)
    assert_refused(home, way(tar(damaged(SHAPES[shape](NEW), packed))), "digest")


@pytest.mark.parametrize("shape", OCI_SHAPES)
def test_a_flipped_bit_in_a_manifest(home: Home, way: Way, shape: str) -> None:
    members = OCI_SHAPES[shape](NEW)
    (manifest,) = [one.data for one in members if b'"config"' in one.data and one.name.startswith("blobs/")]
    assert_refused(home, way(tar(damaged(members, manifest))), "digest")


def test_a_flipped_bit_by_the_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(tar(damaged(docker_20(NEW), UNKNOWN)))
    assert_refused(home, command("load", "-q", "-i", tmp_path / "bad.tar"), "digest")
    assert_refused(home, command("load", "-q", given=(tmp_path / "bad.tar").read_bytes()), "digest")


@pytest.mark.parametrize("shape", [docker_20, docker_25])
def test_a_layer_that_the_store_knows_is_not_read(home: Home, tmp_path: Path, shape: Callable[[Image], list[Member]]) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(damaged(shape(NEW), BASE)))
    assert_refused(home, loading(path, verify=True), "digest")
    result = home.load(path)
    assert [one.image_id for one in result.loaded] == [NEW.id]
    assert result.stats.known >= len(BASE)
    assert home.settle().problems == ()


def test_layers_in_another_number_or_order(home: Home, way: Way) -> None:
    paths = items(podman(NEW))[0]["Layers"]
    for layers, match in ((paths[:1], "3 layers, manifest.json 1"), ([], "3 layers, manifest.json 0"),
                          ([*paths, paths[0]], "3 layers, manifest.json 4"), (paths[::-1], "digest|bytes")):
        assert_refused(home, way(edited(podman(NEW), Layers=layers)), match)
    packed = items(kaniko(NEW))[0]["Layers"]
    # The first is known to the store, and not read: the others must be.
    assert_refused(home, way(edited(kaniko(NEW), Layers=[packed[0], packed[2], packed[1]])), "digest")


def with_layers(layers: list[tuple[bytes, str]], image: Image = NEW) -> bytes:
    """A layout whose manifest has these layers (content, media type's ending) over the config of the image."""
    layout = Layout()
    descriptors = [layout.put(data, OCI_LAYER + ending) for data, ending in layers]
    config = layout.put(image.config, "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "config": config.to_json(), "layers": [one.to_json() for one in descriptors]}
    root = layout.put(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")
    return tar(layout.members([root]))


def test_a_compressed_layer_that_is_not_that_of_the_config(home: Home, way: Way) -> None:
    for pack, ending in ((GZIP, "+gzip"), (ZSTD, "+zstd")):
        good = [(pack(data), ending) for data in NEW.layers]
        bad = (pack(flipped(UNKNOWN, 700)), ending)
        assert_refused(home, way(with_layers([good[0], bad, good[2]])), "as the config says|digest")
        assert_refused(home, way(with_layers([good[0], good[2], good[1]])), "as the config says|digest")


def test_a_manifest_of_more_or_fewer_layers_than_the_config(home: Home, way: Way) -> None:
    good = [(data, "") for data in NEW.layers]
    for layers in (good[:2], [], [*good, good[0]]):
        assert_refused(home, way(with_layers(layers)), "layers")


def test_a_plain_layer_that_is_not_that_of_the_config(home: Home, way: Way) -> None:
    layers = [(BASE, ""), (flipped(UNKNOWN, 700), ""), (NEW.layers[2], "")]
    assert_refused(home, way(with_layers(layers)), "as the config says")


def test_a_compressed_layer_cut_off_under_its_right_digest(home: Home, way: Way) -> None:
    for pack, ending in ((GZIP, "+gzip"), (ZSTD, "+zstd")):
        cut = pack(UNKNOWN)[:-9]
        layers = [(pack(BASE), ending), (cut, ending), (pack(NEW.layers[2]), ending)]
        assert_refused(home, way(with_layers(layers)), "cannot be decompressed")


@pytest.mark.parametrize("size", [-1, 1, 10 << 30])
def test_a_blob_of_another_size_than_announced(home: Home, way: Way, size: int) -> None:
    layout = Layout()
    layers = [layout.put(data, OCI_LAYER) for data in NEW.layers]
    told = layers[1].size + size
    layers[1] = Descriptor(OCI_LAYER, layers[1].digest, told)
    config = layout.put(NEW.config, "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "config": config.to_json(), "layers": [one.to_json() for one in layers]}
    root = layout.put(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")
    assert_refused(home, way(tar(layout.members([root]))), "bytes")


def test_a_known_layer_of_another_size_than_announced(home: Home, way: Way) -> None:
    layout = Layout()
    layers = [layout.put(data, OCI_LAYER) for data in KNOWN.layers]
    layers[0] = Descriptor(OCI_LAYER, layers[0].digest, 5)
    config = layout.put(KNOWN.config, "application/vnd.oci.image.config.v1+json")
    document = {"schemaVersion": 2, "config": config.to_json(), "layers": [one.to_json() for one in layers]}
    root = layout.put(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")
    assert_refused(home, way(tar(layout.members([root]))), "bytes|size")


def test_a_blob_in_a_layout_under_another_s_name(home: Home, tmp_path: Path) -> None:
    layout = write_directory(tmp_path / "layout", oci(NEW))
    blobs = sorted((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    blobs[-1].write_bytes(blobs[-2].read_bytes())
    assert_refused(home, loading(layout), "bytes|digest")


# -- bombs: what inflates to more than was announced, or to what nobody wants


def test_a_bomb_for_a_layer(home: Home, way: Way) -> None:
    """12 MB of zeros in 12 kB, where the config says another layer."""
    bomb = gzip.compress(bytes(12_000_000), 9)
    name = f"{Digest.of(bomb).hex}.tar.gz"
    paths = items(podman(NEW))[0]["Layers"]
    members = [one for one in podman(NEW) if one.name != paths[2]]
    data = edited([*members, Member(name, bomb)], Layers=[*paths[:2], name])
    assert_refused(home, way(data), "digest")


def test_a_bomb_for_a_blob(home: Home, way: Way) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(12_000_000))
    layers = [(ZSTD(BASE), "+zstd"), (ZSTD(UNKNOWN), "+zstd"), (bomb, "+zstd")]
    assert_refused(home, way(with_layers(layers)), "as the config says|digest")


def test_a_bomb_for_an_archive(home: Home) -> None:
    bomb = gzip.compress(bytes(20_000_000), 9)
    assert_refused(home, loading(bomb), "neither manifest.json")
    twice = gzip.compress(bomb, 9)
    assert_refused(home, loading(twice), "no image archive")


def test_a_bomb_for_a_document(home: Home) -> None:
    """What is inflated is counted: 20 MB of blanks are no config."""
    data = gzip.compress(tar(replaced(docker_20(NEW), "manifest.json", b" " * 20_000_000)), 9)
    assert_refused(home, loading(data), "too large")
