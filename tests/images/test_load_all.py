"""Many archives in one call: side by side, each distinct layer read once, each archive whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina.errors import ArchiveError, DigestMismatch, LaminaError
from lamina.images import ImageStore
from lamina.images import load as module
from lamina.oci import Platform

from .archives import Built, docker_archive, layer, oci_archive, sha256

BASE = Built(layer(a="a" * 5000, b="b"))
ONE = Built(*BASE.layers, layer(one="1" * 3000), created="2024-01-02T00:00:00Z")
TWO = Built(*BASE.layers, layer(two="2" * 3000), created="2024-01-03T00:00:00Z")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: Platform("linux", "amd64")))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


def write(path: Path, archive: io.BytesIO) -> Path:
    path.write_bytes(archive.getvalue())
    return path


def two(path: Path, one: tuple[Built, list[str]], other: tuple[Built, list[str]]) -> list[Path]:
    return [write(path / "1.tar", docker_archive(one)), write(path / "2.tar", docker_archive(other))]


def unpack(archive: io.BytesIO, path: Path) -> Path:
    import tarfile

    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(path, filter="data")
    return path


def names(store: ImageStore) -> dict[str, str]:
    return {f"{row.repository}:{row.tag}": row.image_id for row in store.images()}


def outcomes(batches: list[module.Batch]) -> list[object]:
    """References, or the kind of the error."""
    return [type(one).__name__ if isinstance(one, LaminaError | OSError) else [each.reference for each in one.loaded]
            for batch in batches for _, one in batch.outcomes]


def nothing_is_left(store: ImageStore) -> None:
    assert store.verify().problems == []
    before = sum(file.stat().st_size for file in (store.blobs.path / "packs").rglob("*") if file.is_file())
    assert store.gc().bytes_freed == 0, before


def test_one_batch_reads_each_layer_once(store: ImageStore, tmp_path: Path) -> None:
    files = two(tmp_path, (ONE, ["one:1"]), (TWO, ["two:1"]))
    [batch] = store.load_all(files)
    assert outcomes([batch]) == [["one:1"], ["two:1"]]
    read = {BASE.layers[0], ONE.layers[1], TWO.layers[1]}
    assert batch.stats.read == sum(map(len, read))
    assert sorted(each.digest for each in batch.stats.layers) == sorted(sha256(data) for data in read)
    assert names(store) == {"one:1": ONE.id, "two:1": TWO.id}
    nothing_is_left(store)
    [again] = store.load_all(files)
    assert (again.stats.read, again.stats.new) == (0, 0)


def test_a_bad_archive_leaves_nothing_and_keeps_none_of_the_others(store: ImageStore, tmp_path: Path) -> None:
    bad = docker_archive((TWO, ["two:1"])).getvalue().replace(b"2" * 3000, b"x" + b"2" * 2999)
    files = [write(tmp_path / "1.tar", docker_archive((ONE, ["one:1"]))), write(tmp_path / "2.tar", io.BytesIO(bad)),
             write(tmp_path / "3.tar", docker_archive((BASE, ["base:1"]))), tmp_path / "4.tar"]
    batches = list(store.load_all(files))
    assert outcomes(batches) == [["one:1"], "DigestMismatch", ["base:1"], "NotFound"]
    assert names(store) == {"one:1": ONE.id, "base:1": BASE.id}
    assert sha256(TWO.config) not in {row.digest for row in store.blobs.catalog.blobs()}
    assert len(list(store.blobs.catalog.blobs())) == 2 + 2 + 2  # layers, configs, manifests
    nothing_is_left(store)


def test_what_a_bad_archive_had_already_brought_goes(store: ImageStore, tmp_path: Path) -> None:
    """Its first image is whole; the second is not."""
    bad = docker_archive((ONE, ["one:1"]), (TWO, ["two:1"])).getvalue().replace(b"2" * 3000, b"x" + b"2" * 2999)
    files = [write(tmp_path / "1.tar", io.BytesIO(bad)), write(tmp_path / "2.tar", docker_archive((BASE, ["base:1"])))]
    assert outcomes(list(store.load_all(files))) == ["DigestMismatch", ["base:1"]]
    assert names(store) == {"base:1": BASE.id}
    assert sum(1 for row in store.blobs.catalog.blobs() if row.kind != "document") == 1
    nothing_is_left(store)


@pytest.mark.parametrize("first", ["good", "bad"])
def test_a_layer_that_is_damaged_in_one_archive_alone(store: ImageStore, tmp_path: Path, first: str) -> None:
    """Whichever of the two is read ahead, the good archive is loaded."""
    good = docker_archive((ONE, ["one:1"]))
    bad = io.BytesIO(docker_archive((ONE, ["one:2"])).getvalue().replace(b"1" * 3000, b"x" + b"1" * 2999))
    order = (good, bad) if first == "good" else (bad, good)
    files = [write(tmp_path / f"{number}.tar", archive) for number, archive in enumerate(order)]
    assert ["one:1"] in outcomes(list(store.load_all(files)))
    assert names(store)["one:1"] == ONE.id
    nothing_is_left(store)


def test_two_archives_give_one_name(store: ImageStore, tmp_path: Path) -> None:
    """As one after the other: the last wins, the other image stays without a name, and it is said."""
    files = two(tmp_path, (ONE, ["x:1"]), (TWO, ["x:1"]))
    [batch] = store.load_all(files)
    [_, (_, last)] = batch.outcomes
    assert isinstance(last, module.LoadResult)
    assert last.warnings == [f"The image x:1 already exists, renaming the old one with ID {ONE.id[7:19]} to empty string"]
    assert sorted((row.repository, row.image_id) for row in store.images()) == sorted([("x", TWO.id), ("<none>", ONE.id)])


def test_one_image_in_two_shapes_gives_one_name(store: ImageStore, tmp_path: Path) -> None:
    files = [write(tmp_path / "1.tar", docker_archive((ONE, ["x:1"]))),
             write(tmp_path / "2.tar", oci_archive(ONE, name="docker.io/library/x:1", index=False))]
    list(store.load_all(files))
    assert [name for name, _ in store.blobs.references()] == ["docker.io/library/x:1"]


def test_an_image_loses_both_its_names_to_two_archives(store: ImageStore, tmp_path: Path) -> None:
    store.load(docker_archive((BASE, ["a:1", "b:1"])))
    files = two(tmp_path, (ONE, ["a:1"]), (TWO, ["b:1"]))
    list(store.load_all(files))
    assert sorted((row.repository, row.image_id) for row in store.images(all=True)) == sorted(
        [("a", ONE.id), ("b", TWO.id), ("<none>", BASE.id)])


def test_streams_and_compressed_files_are_batches_of_their_own(store: ImageStore, tmp_path: Path) -> None:
    packed = tmp_path / "2.tar.gz"
    packed.write_bytes(gzip.compress(docker_archive((TWO, ["two:1"])).getvalue()))
    one = write(tmp_path / "1.tar", docker_archive((ONE, ["one:1"])))
    batches = list(store.load_all([one, packed, docker_archive((BASE, ["base:1"])), one]))
    assert outcomes(batches) == [["one:1"], ["two:1"], ["base:1"], ["one:1"]]
    assert [len(batch.outcomes) for batch in batches] == [1, 1, 1, 1]


def test_batches_are_bounded(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write(tmp_path / f"{n}.tar", docker_archive((ONE, [f"one:{n}"]))) for n in range(5)]
    monkeypatch.setattr(module, "BATCH_FILES", 2)
    assert [len(batch.outcomes) for batch in store.load_all(files)] == [2, 2, 1]
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    assert [len(batch.outcomes) for batch in store.load_all(files)] == [1] * 5


def test_a_directory_is_every_archive_in_it(store: ImageStore, tmp_path: Path) -> None:
    place = tmp_path / "images"
    place.mkdir()
    write(place / "b.tar", docker_archive((ONE, ["one:1"])))
    (place / "a.tgz").write_bytes(gzip.compress(docker_archive((TWO, ["two:1"])).getvalue()))
    unpack(oci_archive(BASE, name="docker.io/library/base:1"), place / "c")
    (place / "README").write_text("no archive")
    (place / ".hidden.tar").write_bytes(docker_archive((ONE, ["hidden:1"])).getvalue())
    (place / "other").mkdir()
    os.mkfifo(place / "pipe")
    assert outcomes(list(store.load_all([place]))) == [["two:1"], ["one:1"], ["base:1"]]
    assert outcomes(list(store.load_all([place / "c"]))) == [["base:1"]]


def test_a_directory_without_archives_is_refused(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [batch] = store.load_all([tmp_path / "empty"])
    [(place, error)] = batch.outcomes
    assert (place, type(error)) == (tmp_path / "empty", ArchiveError)


def test_nothing_is_read_ahead_that_a_platform_does_not_need(store: ImageStore, tmp_path: Path) -> None:
    arm = Built(layer(arm="x" * 700), architecture="arm64")
    archive = write(tmp_path / "x.tar", oci_archive(arm, BASE, name="docker.io/library/x:latest"))
    [batch] = store.load_all([archive], platform="linux/amd64")
    assert [each.digest for each in batch.stats.layers] == [sha256(BASE.layers[0])]


def test_load_raises_what_load_all_tells(store: ImageStore, tmp_path: Path) -> None:
    bad = io.BytesIO(docker_archive((TWO, ["two:1"])).getvalue().replace(b"2" * 3000, b"x" + b"2" * 2999))
    with pytest.raises(DigestMismatch):
        store.load(write(tmp_path / "bad.tar", bad))
    assert names(store) == {}
