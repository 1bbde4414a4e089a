"""kill -9 in the middle of a layer: what comes again is bounded, and what is there then is right."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from downloads import Line, again_at_most, finish, layer, layer_of, partial_files, plain
from downloads_killed import STEPS, work
from storekit import assert_whole, leftovers, problems

from lamina.store import BlobStore

SIZE = 24 << 20
PACK = 64 << 20
_context = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer in files: each process would take a second to make it."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "layer").write_bytes(layer(1, SIZE))
    (folder / "plain").write_bytes(plain(1, SIZE))
    return folder


def run(built: Path, path: Path, until: int, pack_bytes: int = PACK, step: str = "", turn: int = 0) -> int | None:
    """A process that dies when its line has given so many bytes of the layer, or at a step; its exit code."""
    _context.set_forkserver_preload(["downloads_killed", "lamina.store.session"])
    process = _context.Process(target=work, args=(path, built, until, pack_bytes, step, turn))
    process.start()
    process.join()
    return process.exitcode


def kill(built: Path, path: Path, until: int, pack_bytes: int = PACK) -> None:
    assert run(built, path, until, pack_bytes) == -9


def resume(path: Path, *, collect: bool = False) -> Line:
    data = layer(1, SIZE)
    line = Line(data)
    with BlobStore.open(path) as store:
        assert problems(store) == []
        if collect:
            store.collect()
        with store.session() as session:
            if not session.exists(layer_of(data)):
                session.push(layer_of(data), line)
            finish(session, "image", [(data, plain(1, SIZE))])
        with store.session():
            pass
        assert leftovers(store) == []
        store.collect()
        assert partial_files(store) == []
        assert_whole(store, data)
    return line


def test_the_bar() -> None:
    """Killed at 50 % of a 300 MB layer: bytes moved again under 2 %."""
    assert again_at_most(300_000_000) < 0.02 * 300_000_000


@pytest.mark.parametrize("percent", [1, 7, 22, 35, 50, 63, 78, 91, 99])
def test_killed_once(built: Path, tmp_path: Path, percent: int) -> None:
    data = layer(1, SIZE)
    until = len(data) * percent // 100
    kill(built, tmp_path / "store", until)
    line = resume(tmp_path / "store")
    assert until + line.given - len(data) <= again_at_most(len(data))


@pytest.mark.parametrize("collect", [False, True])
def test_killed_over_sealed_packs(built: Path, tmp_path: Path, collect: bool) -> None:
    data = layer(1, SIZE)
    until = len(data) * 2 // 3
    kill(built, tmp_path / "store", until, 2 << 20)
    line = resume(tmp_path / "store", collect=collect)
    assert until + line.given - len(data) <= again_at_most(len(data))


def test_killed_again_and_again(built: Path, tmp_path: Path) -> None:
    data = layer(1, SIZE)
    for tenth in range(1, 10):
        kill(built, tmp_path / "store", len(data) * tenth // 10, 4 << 20)
    assert resume(tmp_path / "store").given <= len(data) // 10 + again_at_most(len(data)) + 1


@pytest.mark.parametrize("turn", [1, 4])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(built: Path, tmp_path: Path, step: str, turn: int) -> None:
    """Of a session that goes on where one was killed half-way: what that one had is not lost by it."""
    path, data = tmp_path / "store", layer(1, SIZE)
    until = len(data) // 2
    kill(built, path, until, 4 << 20)
    if run(built, path, len(data) + 1, 4 << 20, step, turn) == 0:
        assert turn > 1, "a step that never comes"
    assert resume(path).given <= len(data) - until + again_at_most(len(data))


def test_killed_before_the_catalog_is_lost(built: Path, tmp_path: Path) -> None:
    data = layer(1, SIZE)
    until = len(data) // 2
    kill(built, tmp_path / "store", until, 2 << 20)
    for path in (tmp_path / "store" / "state").glob("catalog.sqlite*"):
        path.unlink()
    assert until + resume(tmp_path / "store").given - len(data) <= again_at_most(len(data))
