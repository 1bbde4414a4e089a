"""Engines, stores and archives that the tests share."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.daemons import Ctr, Docker, Podman, containerd_engine, docker_engine, unmount_below
from interop.programs import PACKAGES, Lamina, program
from interop.registries import DebianRegistry, debian_registry
from interop.samples import make_samples
from interop.served import ServedRegistry, served_registry


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for all, also of what the programs keep for themselves meanwhile; nothing of it stays.

    Not pytest's own: that keeps the last three, and the path of a socket may not be longer than 107 bytes.
    """
    for name in PACKAGES:
        program(name)
    if os.geteuid():
        pytest.fail("the interop tests need root: they run engines and mount", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="lamina-") as directory, pytest.MonkeyPatch.context() as patch:
        (Path(directory) / "tmp").mkdir()
        patch.setenv("TMPDIR", f"{directory}/tmp")
        patch.delenv("LAMINA_STORE", raising=False)
        yield Path(directory)
        unmount_below(Path(directory))


def _sub(scratch: Path, name: str) -> Path:
    directory = scratch / name
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def engine(scratch: Path) -> Iterator[Docker]:
    """A Docker engine that has made the samples; tests do not change it."""
    with docker_engine(_sub(scratch, "engine")) as docker:
        make_samples(docker, _sub(scratch, "samples"))
        yield docker


@pytest.fixture(scope="session")
def fresh_engine(scratch: Path) -> Iterator[Docker]:
    """Another one, with no part in making images."""
    with docker_engine(_sub(scratch, "target")) as docker:
        yield docker


@pytest.fixture(scope="session")
def containerd(scratch: Path) -> Iterator[Ctr]:
    with containerd_engine(_sub(scratch, "containerd")) as ctr:
        yield ctr


@pytest.fixture(scope="session")
def podman(scratch: Path) -> Podman:
    return Podman(_sub(scratch, "podman"))


@pytest.fixture(scope="session")
def saved(engine: Docker, scratch: Path) -> Callable[..., Path]:
    """What `docker save` writes of some images, kept for all tests."""
    directory = _sub(scratch, "saved")

    def save(*names: str) -> Path:
        path = directory / (re.sub(r"[/:]", "_", "+".join(names)) + ".tar")
        return path if path.exists() else engine.save(path, *names)

    return save


@pytest.fixture(scope="session")
def everything(engine: Docker, scratch: Path) -> Path:
    """One archive of all images of the engine, with their names and parents."""
    names = engine("images", "-f", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}").split()
    return engine.save(scratch / "everything.tar", *names, *engine.ids())


@pytest.fixture
def registry(scratch: Path) -> Iterator[DebianRegistry]:
    """An empty registry for one test."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory, debian_registry(Path(directory)) as running:
        yield running


@pytest.fixture
def served(scratch: Path) -> Iterator[ServedRegistry]:
    """A registry of ours for one test, on a fresh store, that lets everybody do everything."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory, served_registry(Path(directory)) as running:
        yield running


@pytest.fixture(scope="module")
def secure(scratch: Path) -> Iterator[ServedRegistry]:
    """One with TLS, users and rights, for a module: tests use repositories of their own."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory, served_registry(Path(directory), secure=True) as running:
        yield running


@pytest.fixture
def lamina(tmp_path: Path) -> Lamina:
    """The command on an empty store."""
    return Lamina(tmp_path / "store")
