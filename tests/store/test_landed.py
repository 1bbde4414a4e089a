"""Stores as landed versions left them: this code opens each, gives back all of it, and works on it."""

from __future__ import annotations

import base64
import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images.archives import Built, docker_archive, layer
from storekit import assert_whole, read

import lamina
from lamina.digest import Digest
from lamina.images.store import ImageStore
from lamina.store import layout

LANDED = sorted((Path(__file__).parent / "landed").glob("*.json"))


def as_it_was(path: Path) -> None:
    """Nothing is lost."""


def without_catalog(path: Path) -> None:
    for file in (path / "state").glob("catalog.sqlite*"):
        file.unlink()


def without_index(path: Path) -> None:
    shutil.rmtree(path / "state" / "index")


def without_state(path: Path) -> None:
    shutil.rmtree(path / "state")


def unpack(value: dict[str, Any], path: Path) -> None:
    data = lzma.decompress(base64.b64decode("".join(value["store"])))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(path, filter="data")


@pytest.fixture(params=LANDED, ids=lambda path: path.stem)
def landed(request: pytest.FixtureRequest) -> dict[str, Any]:
    value = json.loads(request.param.read_text())
    assert isinstance(value, dict)
    return value


@pytest.fixture(params=[as_it_was, without_catalog, without_index, without_state])
def store(request: pytest.FixtureRequest, landed: dict[str, Any], tmp_path: Path) -> Iterator[ImageStore]:
    lose: Callable[[Path], None] = request.param
    unpack(landed, tmp_path / "store")
    lose(tmp_path / "store")
    with lamina.open(tmp_path / "store", create=False) as store:
        yield store


def test_there_is_one_of_each_landing() -> None:
    assert {path.stem for path in LANDED} >= {"2026-11-23", "2026-11-25", "2026-11-25-optimized", "2026-11-26",
                                              "2026-11-26-optimized", "2026-11-27", "2026-11-27-optimized"}


def test_all_of_it_comes_back(store: ImageStore, landed: dict[str, Any]) -> None:
    assert {name: image.image_id for image in store.images(all=True) for name in image.names} == landed["ids"]
    for digest in landed["digests"]:
        assert Digest.of(read(store.blobs, digest)) == digest
    assert_whole(store.blobs)


@pytest.mark.parametrize("landed", [path for path in LANDED if path.stem == "2026-11-27"], indirect=True)
def test_tables_in_parts(store: ImageStore, landed: dict[str, Any]) -> None:
    """Of version 2."""
    rows = [row for row in store.blobs.catalog.blobs() if (row.entries or 0) >= 700]
    heads = [store.blobs.head_of_row(row).entry_blocks for row in rows]
    assert [len(head) for head in heads] == [3, 3] and store.blobs.info()["format"] == 2
    for row in rows:
        assert sum(len(columns.kind) for columns in store.blobs.entries(row.digest)) == row.entries


def test_saved_and_loaded_elsewhere_it_is_the_same(store: ImageStore, landed: dict[str, Any], tmp_path: Path) -> None:
    store.save(list(landed["ids"]), tmp_path / "saved.tar", format="oci-archive")
    with tarfile.open(tmp_path / "saved.tar") as archive:
        names = {member.name.rpartition("/")[2] for member in archive}
    assert {digest[7:] for digest in landed["digests"]} <= names
    with lamina.open(tmp_path / "other") as other:
        other.load(tmp_path / "saved.tar")
        assert {name: other.inspect([name])[0]["Id"] for name in landed["ids"]} == landed["ids"]


def test_it_takes_in_more_and_is_collected(store: ImageStore, landed: dict[str, Any]) -> None:
    new = Built(layer(new="1"))
    store.load(docker_archive((new, ["new:1"])))
    store.remove(["one:1", "one:also"])
    store.blobs.collect(max_unused=0)
    store.optimize(level=3)
    assert_whole(store.blobs, new.layers[0])
    left = {name: digest for name, digest in landed["ids"].items() if not name.startswith("one:")}
    assert {name: image.image_id for image in store.images() for name in image.names} == {**left, "new:1": new.id}


@pytest.mark.parametrize("path", [path for path in LANDED if "optimized" not in path.stem], ids=lambda path: path.stem)
def test_both_kinds_of_frames_are_in_it(path: Path, tmp_path: Path) -> None:
    unpack(json.loads(path.read_text()), tmp_path / "store")
    with lamina.open(tmp_path / "store") as store:
        footers = [store.blobs.packs.footer(pack.number) for pack in store.blobs.catalog.packs()]
    codecs = {int(codec) for footer in footers for codec in footer.records["codec"][footer.records["type"] <= layout.SEGMENT]}
    assert codecs == {layout.RAW, layout.ZSTD}
