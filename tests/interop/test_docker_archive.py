"""What docker saved comes back byte for byte, other programs take it as the same image, and docker's rows are ours."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interop.compare import same
from interop.contents import Packed, docker_images
from interop.daemons import Ctr, Docker, Podman
from interop.programs import Lamina, run
from interop.samples import SAMPLES

pytestmark = pytest.mark.interop

CORPUS = sorted(Path(os.environ["LAMINA_CORPUS"]).glob("*.tar")) if os.environ.get("LAMINA_CORPUS") else []

# Fields of docker's `inspect` that are not the image's: where the engine's storage has it, and when it was named there.
# Size and VirtualSize have a test of their own.
NOT_OF_THE_IMAGE = ("GraphDriver", "Metadata", "Size", "VirtualSize")


@dataclass(frozen=True)
class Trip:
    """One image on its way: `original` as docker saved it, `again` as Lamina did."""

    image: Packed
    original: Path
    again: Path
    lamina: Lamina
    said: str

    @property
    def name(self) -> str:
        return self.image.names[0]


@pytest.fixture(scope="module", params=[*SAMPLES, *CORPUS], ids=lambda one: one if isinstance(one, str) else one.stem)
def trip(request: pytest.FixtureRequest, saved: Callable[..., Path],
         tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trip]:
    original = saved(request.param) if isinstance(request.param, str) else request.param
    [image] = docker_images(original)
    directory = tmp_path_factory.mktemp("trip")
    lamina = Lamina(directory / "store")
    said = lamina.load(original)
    again = lamina.save(directory / "again.tar", image.names[0])
    yield Trip(image, original, again, lamina, said)
    again.unlink()


@pytest.fixture(scope="module")
def docker(trip: Trip, fresh_engine: Docker) -> Docker:
    """An engine that has the image from Lamina, and nothing else."""
    fresh_engine.clear()
    assert fresh_engine.load(trip.again) == f"Loaded image: {trip.name}\n"
    return fresh_engine


def test_load_says_the_name(trip: Trip) -> None:
    assert trip.said == f"Loaded image: {trip.name}\n"


def test_config_and_layers_are_byte_identical(trip: Trip) -> None:
    assert docker_images(trip.again) == [trip.image]


def test_store_is_sound(trip: Trip) -> None:
    trip.lamina("verify")


def test_docker_has_the_same_id(trip: Trip, docker: Docker) -> None:
    assert docker.id(trip.name) == trip.image.config


@pytest.mark.parametrize("words", [(), ("--no-trunc", "--digests"), ("-q",)], ids=" ".join)
def test_images_are_docker_s(trip: Trip, docker: Docker, words: tuple[str, ...]) -> None:
    assert same(docker, trip.lamina, "images", *words)


@pytest.mark.parametrize("words", [(), ("--no-trunc",),
                                   ("--human=false", "--format", "{{.ID}} {{.CreatedAt}} {{.CreatedBy}} {{.Comment}}")],
                         ids=" ".join)
def test_history_is_docker_s(trip: Trip, docker: Docker, words: tuple[str, ...]) -> None:
    assert same(docker, trip.lamina, "history", *words, trip.name)


def test_inspect_is_docker_s(trip: Trip, docker: Docker) -> None:
    [theirs] = json.loads(docker("image", "inspect", trip.name))
    [ours] = json.loads(trip.lamina("inspect", trip.name))
    for field in NOT_OF_THE_IMAGE:
        assert (field in ours) == (field in theirs)
        theirs.pop(field), ours.pop(field)
    assert ours == theirs


def test_size_is_docker_s(trip: Trip, docker: Docker) -> None:
    """Regular files, hardlinks once; docker's overlay2 counts the length of symbolic links beside them."""
    links = link_bytes(trip.again) if docker("info", "-f", "{{.Driver}}").strip() == "overlay2" else 0
    for field in ("Size", "VirtualSize"):
        words = ("inspect", "-f", f"{{{{.{field}}}}}", trip.name)
        assert int(trip.lamina(*words)) + links == int(docker(*words))


def test_sizes_of_steps_are_docker_s(trip: Trip, docker: Docker) -> None:
    words = ("history", "--human=false", "--format", "{{.Size}}", trip.name)
    theirs, ours = ([int(line) for line in command(*words).split()] for command in (docker, trip.lamina))
    more = [their - our for their, our in zip(theirs, ours, strict=True)]
    assert min(more, default=0) >= 0
    assert sum(more) == (link_bytes(trip.again) if docker("info", "-f", "{{.Driver}}").strip() == "overlay2" else 0)


def link_bytes(archive: Path) -> int:
    """The length of what the symbolic links of all layers of an archive of one image point to."""
    total = 0
    with tarfile.open(archive) as outer:
        listed: Any = outer.extractfile("manifest.json")
        [item] = json.load(listed)
        for name in item["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                total += sum(len(member.linkname.encode()) for member in layer if member.issym())
    return total


def test_podman_has_the_same_id(trip: Trip, podman: Podman) -> None:
    podman.load(trip.again)
    try:
        assert podman.id(trip.name) == trip.image.config
    finally:
        podman.clear()


def test_skopeo_copies_the_same_config(trip: Trip, tmp_path: Path) -> None:
    run("skopeo", "copy", f"docker-archive:{trip.again}:{trip.name}", f"dir:{tmp_path}/dir")
    assert json.loads((tmp_path / "dir/manifest.json").read_bytes())["config"]["digest"] == trip.image.config


def test_ctr_has_the_same_config(trip: Trip, containerd: Ctr) -> None:
    # Unpacking a large one takes longer than all else here, and says nothing that the small ones do not.
    unpack = ["--no-unpack"] if trip.original in CORPUS else []
    containerd("images", "import", *unpack, trip.again)
    try:
        assert list(containerd.config_digests().values()) == [trip.image.config]
    finally:
        containerd.clear()
