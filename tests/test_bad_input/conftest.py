"""A store with one image, made once and copied for each test."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archive.builders import docker_20, tar

from test_bad_input.kit import KNOWN, Home, Said, loading


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the stores stand: in memory where there is room for them, since 1,000 fsyncs of a disk take a minute."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("stores")
        return
    with tempfile.TemporaryDirectory(prefix="lamina-test-", dir=memory) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def pattern(shelf: Path) -> Home:
    home = Home(shelf / "pattern")
    home.load(io.BytesIO(tar(docker_20(KNOWN))))
    home.before = home.settle()
    return home


@pytest.fixture
def home(pattern: Home, shelf: Path) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(dir=shelf) as path:
        place = shutil.copytree(pattern.path, Path(path) / "store", copy_function=shutil.copy)
        yield Home(Path(place), pattern.before)


@pytest.fixture(params=["file", "stream"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Callable[[Home], Said]]:
    """How an archive comes: as a file that can be read anywhere, or as a stream."""

    def attempt(data: bytes) -> Callable[[Home], Said]:
        if request.param == "stream":
            return loading(data)
        path = tmp_path / "image.tar"
        path.write_bytes(data)
        return loading(path)

    return attempt
