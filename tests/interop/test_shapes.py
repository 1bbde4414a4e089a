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


@pytest.fixture(params=SHAPES)
def again(request: pytest.FixtureRequest, lamina: Lamina, tmp_path: Path) -> Path:
    """Two images of three names, loaded in one shape and saved as Lamina does: plain layers byte for byte."""
    original = tmp_path / "original.tar"
    original.write_bytes(tar(SHAPES[request.param](ONE, TWO)))
    lamina.load(original)
    return lamina.save(tmp_path / "again.tar", *NAMES)


def test_docker(again: Path, fresh_engine: Docker) -> None:
    fresh_engine.clear()
    fresh_engine.load(again)
    assert {name: fresh_engine.id(name) for name in NAMES} == {name: image.id for name, image in NAMES.items()}
    fresh_engine.clear()


def test_podman(again: Path, podman: Podman) -> None:
    podman.clear()
    podman.load(again)
    assert {name: podman.id(name) for name in NAMES} == {name: image.id for name, image in NAMES.items()}
    podman.clear()


def test_skopeo_and_ctr(again: Path, containerd: Ctr, tmp_path: Path) -> None:
    containerd("images", "import", again)
    images = containerd.images()
    containerd_ids = {name: json.loads(containerd.blob(digest))["config"]["digest"] for name, digest in images.items()}
    containerd.clear()
    assert containerd_ids == {tag: image.id for image in (ONE, TWO) for tag in image.tags}
    for number, (name, image) in enumerate(NAMES.items()):
        run("skopeo", "copy", f"docker-archive:{again}:{name}", f"dir:{tmp_path}/{number}")
        assert json.loads((tmp_path / f"{number}/manifest.json").read_bytes())["config"]["digest"] == image.id


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
