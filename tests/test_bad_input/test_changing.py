"""Archives that change under the reader: the change is made by the reader's own report of its progress."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from archive.builders import Image, Member, docker_20, docker_25, tar, write_directory

from lamina.store.stream import BODY
from test_bad_input.kit import Home, Hook, assert_refused, call, loading

# Longer than what is read between two reports.
LONG = Image((tar([Member("long", random.Random(1).randbytes(2 * BODY))]), tar([Member("next", b"next" * 999)])),
             ("docker.io/library/long:1",))


def changing(
    path: Path, change: Callable[[Path], object], key: str = LONG.diff_ids[0]
) -> tuple[Hook, Callable[[Home], object]]:
    """A load of that file that is in the middle of the long layer when the change comes."""
    hook = Hook(lambda: change(path), key=key)
    return hook, loading(path, progress=hook)


def shrink(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(BODY + (1 << 20))


def shrink_behind(path: Path) -> None:
    """So that the layer that is being read is there, and the next is not."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 9_000)


def vanish(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    """Other bytes of the same length: only the digest tells."""
    with path.open("r+b") as file:
        file.seek(BODY + (1 << 20))
        file.write(b"other bytes")


CHANGES = [(shrink, "became shorter"), (shrink_behind, "became shorter|changed its size"), (vanish, "became shorter"),
           (grow, "changed its size"), (rewrite, "digest")]


@pytest.mark.parametrize("shape", [docker_20, docker_25])
@pytest.mark.parametrize(("change", "match"), CHANGES)
def test_a_file(home: Home, tmp_path: Path, shape: Callable[[Image], list[Member]], change: Callable[[Path], object],
                match: str) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(shape(LONG)))
    hook, attempt = changing(path, change)
    assert_refused(home, attempt, f"{match}.*, ")
    assert hook.heard


@pytest.mark.parametrize("change", [shrink, vanish])
def test_a_compressed_file(home: Home, tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(tar(docker_20(LONG)), 0))
    hook, attempt = changing(path, change, key="")  # its members come one after another, and have no names yet
    assert_refused(home, attempt, "became shorter")
    assert hook.heard


def test_a_compressed_file_that_grows(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(tar(docker_20(LONG)), 0))
    assert_refused(home, changing(path, grow, key="")[1], "changed its size")


@pytest.mark.parametrize(("change", "match"), [
    (shrink, "bytes|shorter"), (vanish, "bytes|shorter"), (rewrite, "digest"),
])
def test_a_blob_of_a_layout(home: Home, tmp_path: Path, change: Callable[[Path], object], match: str) -> None:
    layout = write_directory(tmp_path / "layout", docker_25(LONG))
    hook = Hook(lambda: change(layout / "blobs" / "sha256" / LONG.diff_ids[0].hex), key=LONG.diff_ids[0])
    assert_refused(home, loading(layout, progress=hook), match)
    assert hook.heard


def test_a_tar_to_import(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    for change, match in ((shrink, "became shorter"), (grow, "changed its size")):
        path.write_bytes(LONG.layers[0])
        hook = Hook(lambda change=change: change(path))
        assert_refused(home, call(lambda store, hook=hook: store.import_image(path, "root:1", progress=hook)), match)
        assert hook.heard


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_to_import_that_is_cut_off(home: Home, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(pack(LONG.layers[0][: BODY + 5000]))
    assert_refused(home, call(lambda store: store.import_image(path, "root:1")), "ends in the middle of a file, .*root.tar")
