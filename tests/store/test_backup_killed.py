"""A backup killed at every step that it makes on the copy's files: the copy is what it was, or what it was to be."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from storekit import assert_whole, layer, leftovers, load, names, problems, read, remove

from lamina.store import BlobStore

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "fcntl.flock", "sqlite3.connect"}
ALIVE = 77


def work(store: Path, place: Path, step: int) -> None:
    """Back up, and die at the step of that number."""
    left = step

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS and (event == "fcntl.flock" or str(place) in str(arguments[0])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    with BlobStore.open(store) as source:
        sys.addaudithook(hook)
        source.backup(place)
        left = 1 << 30
    os._exit(ALIVE)


def kill(store: Path, place: Path, step: int) -> bool:
    """Whether it was killed before its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lamina.store.backup"])
    process = context.Process(target=work, args=(store, place, step))
    process.start()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, ALIVE)
    return process.exitcode != ALIVE


def contents(path: Path) -> dict[str, object]:
    """Names and blobs, all of which are whole."""
    with BlobStore.open(path) as store:
        assert problems(store) == []
        for row in store.catalog.blobs():
            read(store, row.digest)
        return {"names": names(store), "blobs": {row.digest for row in store.catalog.blobs()}}


def first(store: Path, place: Path) -> None:
    """There is no copy yet."""
    with BlobStore.open(store) as source:
        load(source, "one", layer(1))
        load(source, "two", layer(2))


def later(store: Path, place: Path) -> None:
    """There is one of before, with packs that are to go."""
    first(store, place)
    with BlobStore.open(store) as source:
        load(source, "gone", layer(3))
        assert source.backup(place).whole
        load(source, "new", layer(4))
        load(source, "newer", layer(5))
        remove(source, "gone")
        source.collect(max_unused=0)


@pytest.mark.parametrize("prepare", [first, later])
def test_killed_anywhere(
    tmp_path: Path, prepare: Callable[[Path, Path], None], long: bool, tally: Callable[..., None]
) -> None:
    store, before, place = tmp_path / "store", tmp_path / "before", tmp_path / "copy"
    prepare(store, before)
    new = contents(store)
    nothing: dict[str, object] = {"names": {}, "blobs": set()}
    old = contents(before) if before.exists() else nothing
    kills = old_views = 0
    for step in range(0, 1000, 1 if long else 19):
        shutil.rmtree(place, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, place)
        if not kill(store, place, step):
            break
        kills += 1
        there = {path.name: path.stat().st_ino for path in place.glob("packs/*/*")}
        if (place / "format").exists():
            shutil.copytree(place, tmp_path / "opened")
            found = contents(tmp_path / "opened")
            assert found in (old, new), step
            old_views += found == old
            shutil.rmtree(tmp_path / "opened")
        with BlobStore.open(store) as source:
            assert source.backup(place).whole, step
            assert contents(place) == new
            with BlobStore.open(place) as copy:
                assert_whole(copy)
                kept = {path.name: path.stat().st_ino for path in place.glob("packs/*/*")}
                assert {name: kept[name] for name in there if name in kept} == {
                    name: inode for name, inode in there.items() if name in kept}  # none is copied twice
            assert not [*(place / "state").glob("*.backup*"), *(place / "state").glob("backup.*")]
    else:
        raise AssertionError("it never came to its end")
    with BlobStore.open(store) as source:
        source.collect()
        assert leftovers(source) == []
    tally(f"backup ({prepare.__name__})", kills=kills, old_views=old_views, new_views=kills - old_views, damaged=0)
