"""Repair with sources of every kind: what comes back, what is told, what is forgotten and remembered."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina.content.copy import copy_graph
from lamina.errors import LaminaError, UsageError
from lamina.images import ImageStore
from lamina.images.repair import RepairResult
from lamina.store.packs import pack_path

from .archives import Built, described, docker_archive, oci_archive, sha256, tar_of
from .remotes import FakeNetwork


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


IMAGE = Built(tar_of({"one": noise(1, 60_000)}), tar_of({"two": noise(2, 40_000), "tiny": b"2"}))
OTHER = Built(tar_of({"four": noise(4, 30_000)}))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    """Two images, each in a pack of its own; a layer of the first has lost its content, and is forgotten nowhere yet."""
    with lamina.open(tmp_path / "store") as store:
        store.load(docker_archive((IMAGE, ["app:1", "app:2"])))
        store.load(docker_archive((OTHER, ["other:1"])))
        yield store


def saved(store: ImageStore, name: str = "app:1") -> bytes:
    out = io.BytesIO()
    store.save([name], out)
    return out.getvalue()


def damage(store: ImageStore, data: bytes = IMAGE.layers[0]) -> None:
    """Flip a bit of every content frame of a layer's pack."""
    row = store.blobs.catalog.blob(sha256(data))
    assert row is not None
    pack = next(pack for pack in store.blobs.catalog.packs() if pack.number == row.pack)
    footer = store.blobs.packs.footer(row.pack)
    with (store.blobs.path / pack_path(pack.name)).open("r+b") as file:
        for record in footer.records[footer.records["type"] == 1]:
            for at in range(int(record["offset"]), int(record["offset"] + record["stored"]), 9000):
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1]))


def whole(store: ImageStore, result: RepairResult, before: bytes) -> bool:
    return not result.lost and saved(store) == before and not store.verify().problems


def test_what_is_lost_is_told_by_name(store: ImageStore) -> None:
    damage(store)
    dry = store.repair(dry_run=True)
    assert set(dry.lost) == {"app:1", "app:2"} and not dry.quarantined
    result = store.repair()
    assert {name: {loss.digest for loss in losses} for name, losses in result.lost.items()} == {
        name: {sha256(data) for data in IMAGE.layers} for name in ("app:1", "app:2")}
    assert len(result.quarantined) == 1 and store.info()["quarantine_bytes"] > 0
    assert saved(store, "other:1")
    with pytest.raises(LaminaError):
        saved(store)


KINDS = ["docker", "oci", "compressed", "directory", "store", "registry"]


@pytest.mark.parametrize("kind", KINDS)
def test_sources(store: ImageStore, tmp_path: Path, kind: str) -> None:
    before = saved(store)
    damage(store)
    network = FakeNetwork()
    source = str(tmp_path / "source")
    if kind == "docker":
        Path(source).write_bytes(docker_archive((IMAGE, ["any:1"])).getvalue())
    elif kind == "oci":
        Path(source).write_bytes(oci_archive(IMAGE).getvalue())
    elif kind == "compressed":
        Path(source).write_bytes(gzip.compress(docker_archive((IMAGE, ["any:1"])).getvalue()))
    elif kind == "directory":
        with tarfile.open(fileobj=oci_archive(IMAGE)) as archive:
            archive.extractall(source, filter="data")
    elif kind == "store":
        with lamina.open(source) as other:
            other.load(oci_archive(IMAGE))
    else:
        source = "docker://registry.test/app:1"
        with lamina.open(tmp_path / "other") as other:
            other.load(oci_archive(IMAGE, name="app:1", index=False))
            remote = network.target(lamina.images.store.Reference.parse("registry.test/app:1"))
            root = other.blobs.resolve("docker.io/library/app:1")
            with other.blobs.reading() as reading:
                copy_graph(reading, remote, root, tag="1")
    result = store.repair([source], network=network)
    assert set(result.restored) == {sha256(data) for data in IMAGE.layers}
    assert whole(store, result, before)


def test_a_compressed_layer_gives_the_plain_one(store: ImageStore, tmp_path: Path) -> None:
    """As a registry has the image that was loaded from an archive of docker's."""
    before = saved(store)
    damage(store)
    packed = [gzip.compress(data, mtime=0) for data in IMAGE.layers]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", IMAGE.config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", data) for data in packed]}).encode()
    files = {f"blobs/sha256/{sha256(data)[7:]}": data for data in (*packed, IMAGE.config, manifest)}
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    root = described("application/vnd.oci.image.manifest.v1+json", manifest)
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [root]}).encode()
    (tmp_path / "source").write_bytes(tar_of(files))
    assert whole(store, store.repair([str(tmp_path / "source")]), before)


def test_another_image_of_another_store_gives_chunks(store: ImageStore, tmp_path: Path) -> None:
    """The same files in another layer: nothing there has the digest."""
    before = saved(store)
    damage(store)
    with lamina.open(tmp_path / "other") as other:
        other.load(docker_archive((Built(tar_of({"a": noise(1, 60_000), "b": noise(2, 40_000), "more": b"x" * 900})), ["x:1"])))
    assert whole(store, store.repair([str(tmp_path / "other")]), before)


def test_sources_that_help_little(store: ImageStore, tmp_path: Path) -> None:
    """One that is none, one that has another image, one whose content is wrong, then one that has it."""
    before = saved(store)
    damage(store)
    (tmp_path / "none").write_bytes(b"no archive")
    (tmp_path / "other").write_bytes(docker_archive((OTHER, ["x:1"])).getvalue())
    wrong = bytearray(oci_archive(IMAGE).getvalue())
    for at in range(3_000, 100_000, 5_000):
        wrong[at] ^= 1
    (tmp_path / "wrong").write_bytes(wrong)
    (tmp_path / "right").write_bytes(oci_archive(IMAGE).getvalue())
    result = store.repair([str(tmp_path / name) for name in ("none", "other", "wrong")])
    assert set(result.lost) == {"app:1", "app:2"} and result.warnings
    with pytest.raises(UsageError):
        store.repair([str(tmp_path / "nothing")])
    assert whole(store, store.repair([str(tmp_path / "right")]), before)


def test_forgotten_names_come_back(store: ImageStore, tmp_path: Path) -> None:
    before = saved(store)
    damage(store)
    assert store.repair().lost
    assert store.gc().problems  # what is damaged may still be repaired: nothing is freed
    result = store.repair(forget=True)
    assert result.forgotten == ["app:1", "app:2"] and store.names() == ["other:1"]
    assert any("app:1" in problem.what for problem in store.verify().problems)
    assert not store.gc().problems
    again = store.repair()
    assert set(again.lost) == {"app:1", "app:2"}
    (tmp_path / "source").write_bytes(docker_archive((IMAGE, ["app:1"])).getvalue())
    result = store.repair([str(tmp_path / "source")])
    assert result.names == ["app:1", "app:2"] and store.names() == ["app:1", "app:2", "other:1"]
    assert whole(store, result, before)
    assert not list((store.blobs.path / "quarantine").glob("names-*"))


def test_a_load_repairs_too(store: ImageStore) -> None:
    """With `verify`, or of an image that was forgotten."""
    before = saved(store)
    damage(store)
    store.repair()
    store.load(docker_archive((IMAGE, ["app:1"])), verify=True)
    assert whole(store, store.repair(), before)
    damage(store)
    store.repair(forget=True)
    store.gc()
    store.load(docker_archive((IMAGE, ["app:1", "app:2"])))
    assert whole(store, store.repair(), before)


def test_an_entry_table_is_made_anew(store: ImageStore) -> None:
    before = saved(store)
    row = store.blobs.catalog.blob(sha256(IMAGE.layers[0]))
    assert row is not None
    (entries,) = store.blobs.head_of_row(row).entry_blocks
    index = store.blobs.new_index()
    import numpy as np

    packs, ordinals = index.find(np.frombuffer(entries, np.uint8).reshape(1, 32))
    index.close()
    number = int(packs[0])
    footer = store.blobs.packs.footer(number)
    record = footer.records[footer.places[int(ordinals[0])]["record"]]
    pack = next(pack for pack in store.blobs.catalog.packs() if pack.number == number)
    with (store.blobs.path / pack_path(pack.name)).open("r+b") as file:
        file.seek(int(record["offset"]))
        file.write(b"\xff\xff")
    assert not store.repair(dry_run=True).lost
    assert whole(store, store.repair(), before)
    assert list(store.blobs.entries(row.digest))


def test_the_quarantine_goes_when_it_is_told_to(store: ImageStore) -> None:
    damage(store)
    store.repair()
    store.gc()
    count, size = store.drop_quarantine()
    assert count == 1 and size > 90_000 and not list((store.blobs.path / "quarantine").iterdir())
