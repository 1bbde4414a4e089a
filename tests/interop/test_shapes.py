"""Shapes that no program here writes, made by their specification, go through Lamina into real engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archive.builders import ONE, SHAPES, TWO, Image, tar

from interop.contents import docker_images
from interop.daemons import Ctr, Docker, Podman
from interop.programs import Lamina, run

pytestmark = pytest.mark.interop

NAMES = {tag.removeprefix("docker.io/library/"): image for image in (ONE, TWO) for tag in image.tags}


@pytest.fixture(params=["docker_25", "kaniko", "kaniko_zstd", "bazel", "oci_gzip", "oci_zstd", "oci_plain"])
def again(request: pytest.FixtureRequest, lamina: Lamina, tmp_path: Path) -> Path:
    """Two images of three names, loaded in one shape and saved as Lamina does: plain layers byte for byte."""
    original = tmp_path / "original.tar"
    original.write_bytes(tar(SHAPES[request.param](ONE, TWO)))
    lamina.load(original)
    return lamina.save(tmp_path / "again.tar", *NAMES)


def test_engines(again: Path, fresh_engine: Docker, podman: Podman, containerd: Ctr) -> None:
    ids = {name: image.id for name, image in NAMES.items()}
    fresh_engine.clear()
    podman.clear()
    try:
        fresh_engine.load(again)
        assert {name: fresh_engine.id(name) for name in NAMES} == ids
        podman.load(again)
        assert {name: podman.id(name) for name in NAMES} == ids
        containerd("images", "import", again)
        assert containerd.config_digests() == {tag: image.id for image in (ONE, TWO) for tag in image.tags}
    finally:
        fresh_engine.clear()
        podman.clear()
        containerd.clear()


def test_skopeo(again: Path, tmp_path: Path) -> None:
    for name, image in (("one:1", ONE), ("example.com/a/two:2", TWO)):
        run("skopeo", "copy", f"docker-archive:{again}:{name}", f"dir:{tmp_path}/{image.id[7:]}")
        manifest = json.loads((tmp_path / image.id[7:] / "manifest.json").read_bytes())
        assert manifest["config"]["digest"] == image.id


def test_plain_layers_are_byte_identical(lamina: Lamina, tmp_path: Path) -> None:
    """The archive of docker since 25, which ctr takes as a layout, has what the older one has."""
    new, old = tmp_path / "new.tar", tmp_path / "old.tar"
    for path, shape in ((new, "docker_25"), (old, "docker_20")):
        path.write_bytes(tar(SHAPES[shape](ONE, TWO)))
    lamina.load(new)
    again = lamina.save(tmp_path / "again.tar", *NAMES)
    assert {(image.config, image.layers) for image in docker_images(again)} == {
        (image.config, image.layers) for image in docker_images(old)}


def test_layers_turned_and_twice(lamina: Lamina, fresh_engine: Docker, tmp_path: Path) -> None:
    """Images with the same layers in another order, and one with a layer twice, keep their own ids."""
    layers = ONE.layers
    images = [Image(layers[::-1], ("turned:1",)), Image((layers[0], layers[1], layers[0]), ("twice:1",))]
    path = tmp_path / "original.tar"
    path.write_bytes(tar(SHAPES["docker_25"](*images)))
    lamina.load(path)
    fresh_engine.clear()
    fresh_engine.load(lamina.save(tmp_path / "again.tar", "turned:1", "twice:1"))
    assert [fresh_engine.id("turned:1"), fresh_engine.id("twice:1")] == [image.id for image in images]
    fresh_engine.clear()
