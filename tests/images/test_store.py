"""The image store over a real store: names, tags, removal, upkeep."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.errors import ArchiveError, Conflict, InvalidContent, NotFound, UsageError
from lamina.images import ImageStore, save
from lamina.oci import Platform

from .archives import Built, docker_archive, layer, oci_archive, sha256, tar_of

BASE = Built(layer(a="a" * 5000, b="b"), created="2024-01-01T00:00:00Z")
CHILD = Built(*BASE.layers, layer(c="c" * 3000), created="2024-01-02T00:00:00Z", Labels={"kind": "child"})
ARM = Built(layer(arm="x" * 700), architecture="arm64")
AMD = Built(layer(amd="y" * 900))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: Platform("linux", "amd64")))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


def names(store: ImageStore, **options: Any) -> list[str]:
    return [f"{row.repository}:{row.tag}" for row in store.images(**options)]


def load(store: ImageStore, *images: tuple[Built, list[str]]) -> None:
    store.load(docker_archive(*images))


# -- load


def test_what_was_loaded_is_told_in_order(store: ImageStore) -> None:
    result = store.load(docker_archive((BASE, ["base:1", "docker.io/library/base:2"]), (CHILD, [])))
    assert [(one.reference, one.image_id) for one in result.loaded] == [
        ("base:1", BASE.id), ("base:2", BASE.id), ("", CHILD.id)]
    assert (result.warnings, result.incomplete) == ([], [])
    assert {row.image_id: (row.repository, row.tag, row.size, row.digest) for row in store.images()} == {
        CHILD.id: ("<none>", "<none>", 8001, "<none>"), BASE.id: ("base", "2", 5001, "<none>")}


def test_a_path_loads_too(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(docker_archive((BASE, ["base"])).getvalue())
    assert store.load(tmp_path / "x.tar").loaded[0].reference == "base:latest"


def test_a_name_that_moves_leaves_the_old_image_without_one(store: ImageStore) -> None:
    load(store, (AMD, ["x"]))
    result = store.load(docker_archive((BASE, ["x"])))
    assert result.warnings == [f"The image x:latest already exists, renaming the old one with ID {AMD.id[7:19]} "
                               "to empty string"]
    assert {row.image_id: row.repository for row in store.images()} == {BASE.id: "x", AMD.id: "<none>"}
    assert store.load(docker_archive((BASE, ["x"]))).warnings == []


def test_two_names_that_move_at_once(store: ImageStore) -> None:
    load(store, (AMD, ["x:1", "x:2"]))
    load(store, (BASE, ["x:1", "x:2"]))
    assert {row.image_id for row in store.images()} == {BASE.id, AMD.id}


def test_one_of_two_names_that_moves_leaves_nothing_behind(store: ImageStore) -> None:
    load(store, (AMD, ["x:1", "x:2"]))
    load(store, (BASE, ["x:1"]))
    assert names(store, all=True) == ["x:2", "x:1"] or names(store, all=True) == ["x:1", "x:2"]


def test_an_image_without_a_name_that_gets_one(store: ImageStore) -> None:
    load(store, (BASE, []))
    assert names(store) == ["<none>:<none>"]
    load(store, (BASE, ["x"]))
    assert names(store) == ["x:latest"]
    load(store, (BASE, []))
    assert names(store) == ["x:latest"]
    store.remove(["x"])
    assert names(store, all=True) == []


def test_roots_without_a_name_are_kept_only_where_needed(store: ImageStore) -> None:
    def refs() -> list[str]:
        return [row.name.partition(":")[0] for row in store.blobs.catalog.refs()]

    load(store, (AMD, []))
    assert refs() == ["@sha256"]
    load(store, (AMD, ["x"]))
    assert refs() == ["docker.io/library/x"]
    load(store, (AMD, []))
    assert refs() == ["docker.io/library/x"]
    # Another manifest of the same image: nothing is lost that would be worth a root.
    store.load(oci_archive(AMD, name="docker.io/library/x:latest", index=False))
    assert refs() == ["docker.io/library/x"]


def test_a_tag_given_twice(store: ImageStore) -> None:
    result = store.load(docker_archive((AMD, ["x"]), (BASE, ["x"])))
    assert any("x:latest is given twice" in warning for warning in result.warnings)
    assert {row.image_id: row.repository for row in store.images()} == {BASE.id: "x", AMD.id: "<none>"}


def test_the_digest_of_an_oci_image_is_shown(store: ImageStore) -> None:
    result = store.load(oci_archive(AMD, name="docker.io/library/x:latest", index=False))
    assert store.images()[0].digest == result.loaded[0].digest == sha256(AMD.manifest())


def test_an_index_and_its_platforms(store: ImageStore) -> None:
    result = store.load(oci_archive(ARM, AMD, name="docker.io/library/x:latest"))
    assert [one.image_id for one in result.loaded] == [AMD.id]
    assert [(row.image_id, row.digest) for row in store.images()] == [(AMD.id, result.loaded[0].digest)]
    assert store.inspect([ARM.id])[0]["Architecture"] == "arm64"


def test_one_platform_of_an_index(store: ImageStore) -> None:
    result = store.load(oci_archive(ARM, AMD, name="docker.io/library/x:latest"), platform="linux/arm64")
    assert [one.image_id for one in result.loaded] == [ARM.id]
    assert [row.image_id for row in store.images()] == [ARM.id]
    with pytest.raises(NotFound):
        store.inspect([AMD.id])


def test_a_platform_that_is_not_there(store: ImageStore) -> None:
    with pytest.raises(NotFound):
        store.load(oci_archive(ARM, AMD, name="docker.io/library/x:latest"), platform="linux/s390x")
    assert store.images(all=True) == []


def test_a_platform_that_is_incomplete_is_listed(store: ImageStore) -> None:
    archive = oci_archive(ARM, AMD, name="docker.io/library/x:latest", leave_out=(ARM.layers[0],))
    result = store.load(archive)
    assert [(one.reference, one.platform, one.digest, one.missing) for one in result.incomplete] == [
        ("x:latest", "linux/arm64", sha256(ARM.manifest()), (sha256(ARM.layers[0]),))]
    assert [row.image_id for row in store.images()] == [AMD.id]


def test_a_manifest_that_is_missing_itself(store: ImageStore) -> None:
    archive = oci_archive(ARM, AMD, name="docker.io/library/x:latest", leave_out=(ARM.manifest(),))
    missing = sha256(ARM.manifest())
    assert [(one.digest, one.missing) for one in store.load(archive).incomplete] == [(missing, (missing,))]


def test_a_name_with_tag_and_digest_is_kept_by_its_tag(store: ImageStore) -> None:
    digest = sha256(AMD.manifest())
    result = store.load(oci_archive(AMD, name=f"docker.io/library/x:1@{digest}", index=False))
    assert (result.loaded[0].reference, store.names()) == ("x:1", ["x:1"])
    assert store.inspect([f"x@{digest}"])[0]["RepoTags"] == ["x:1"]


def test_a_failed_load_leaves_nothing(store: ImageStore) -> None:
    broken = docker_archive((BASE, ["x"])).getvalue()[:4096]
    with pytest.raises((ArchiveError, InvalidContent)):
        store.load(io.BytesIO(broken))
    assert (store.images(all=True), store.names()) == ([], [])


# -- save


def test_saved_and_loaded_again(store: ImageStore, tmp_path: Path) -> None:
    load(store, (BASE, ["base:1", "base:2"]), (CHILD, ["child"]))
    out = tmp_path / "out.tar"
    result = store.save(["base:1", CHILD.id], out)
    assert result.bytes == out.stat().st_size
    with tarfile.open(out) as tar:
        items = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert [item["RepoTags"] for item in items] == [["base:1"], None]
    with lamina.open(tmp_path / "other") as other:
        assert [(one.reference, one.image_id) for one in other.load(out).loaded] == [
            ("base:1", BASE.id), ("", CHILD.id)]


def test_stages_of_save(store: ImageStore, tmp_path: Path) -> None:
    load(store, (BASE, ["base"]))
    written = 0

    class Sink:
        def add(self, name: str, cpu_seconds: float, wall_seconds: float, bytes: int) -> None:
            nonlocal written
            written += bytes if name == "write" else 0

    assert save.save(store.blobs, ["base"], tmp_path / "out", stages=Sink()).bytes == written
    assert written == (tmp_path / "out").stat().st_size


def test_progress_of_save(store: ImageStore) -> None:
    class Heard:
        def __init__(self) -> None:
            self.left: dict[str, int] = {}
            self.status = set[str]()

        def start(self, key: str, label: str, total: int | None) -> None:
            self.left[key] = total or 0

        def advance(self, key: str, count: int) -> None:
            self.left[key] -= count

        def state(self, key: str, status: str) -> None:
            pass

        def done(self, key: str, status: str) -> None:
            self.status.add(status)

    heard = Heard()
    load(store, (BASE, ["base"]))
    store.save(["base"], io.BytesIO(), progress=heard)
    assert {sha256(BASE.layers[0]), BASE.id} <= set(heard.left)
    # Documents are at hand when their writing begins.
    assert heard.left[sha256(BASE.layers[0])] == heard.left[BASE.id] == 0
    assert heard.status == {"saved"}


def test_a_repository_without_a_tag_is_saved_with_all(store: ImageStore) -> None:
    load(store, (BASE, ["base:1", "base:2"]), (CHILD, ["base:3"]))
    out = io.BytesIO()
    store.save(["base"], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        items = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert [item["RepoTags"] for item in items] == [["base:1", "base:2"], ["base:3"]]


def test_the_same_images_give_the_same_bytes(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    outs = [io.BytesIO(), io.BytesIO()]
    for out in outs:
        store.save(["child", "base"], out)
    assert outs[0].getvalue() == outs[1].getvalue()


def test_an_index_is_saved_whole_or_one_platform_of_it(store: ImageStore, tmp_path: Path) -> None:
    digest = store.load(oci_archive(ARM, AMD, name="docker.io/library/x:latest")).loaded[0].digest
    for word in ("x", digest):
        store.save([word], tmp_path / "whole", format="oci-archive")
        with lamina.open(tmp_path / "a") as other:
            assert other.load(tmp_path / "whole").loaded[0].digest == digest
            assert other.inspect([ARM.id])
    store.save(["x"], tmp_path / "arm", format="oci-archive", platform="linux/arm64")
    with lamina.open(tmp_path / "b") as other:
        assert [(one.reference, one.image_id) for one in other.load(tmp_path / "arm").loaded] == [
            ("x:latest", ARM.id)]


def test_a_layout_directory(store: ImageStore, tmp_path: Path) -> None:
    load(store, (BASE, ["base"]))
    store.save(["base"], tmp_path / "layout", format="oci-dir")
    assert (tmp_path / "layout" / "index.json").exists()
    with pytest.raises(UsageError, match="needs a path"):
        store.save(["base"], io.BytesIO(), format="oci-dir")


def test_nothing_is_written_for_a_name_that_is_not_there(store: ImageStore, tmp_path: Path) -> None:
    load(store, (BASE, ["base"]))
    with pytest.raises(NotFound, match=r"^No such image: none:latest$"):
        store.save(["base", "none"], tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()
    with pytest.raises(UsageError, match="unknown format 'zip'"):
        store.save(["base"], tmp_path / "out.tar", format="zip")
    with pytest.raises(UsageError, match="nothing to save"):
        store.save([], tmp_path / "out.tar")


# -- import


def test_import(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    data = layer(etc="x" * 100)
    image_id = store.import_image(io.BytesIO(data), "made:1", changes=['CMD ["sh"]', "ENV a=b"], platform="linux/arm64")
    shown = store.inspect(["made:1"])[0]
    assert (shown["Id"], shown["Created"], shown["Comment"]) == (image_id, "2023-11-14T22:13:20Z", "Imported from -")
    assert (shown["Config"]["Cmd"], shown["Config"]["Env"], shown["Architecture"]) == (["sh"], ["a=b"], "arm64")
    assert (shown["RootFS"]["Layers"], shown["Size"], shown["RepoDigests"]) == ([sha256(data)], 100, [])
    assert [(row.created_by, row.comment, row.size) for row in store.history("made:1")] == [
        ("", "Imported from -", 100)]
    assert store.import_image(io.BytesIO(data), "made:2", changes=['CMD ["sh"]', "ENV a=b"],
                              platform="linux/arm64") == image_id


@pytest.mark.parametrize("packing", ["gzip", "xz", "bz2"])
def test_import_sees_through_compression(store: ImageStore, tmp_path: Path, packing: str) -> None:
    module = __import__(packing if packing != "xz" else "lzma")
    data = layer(etc="x" * 100)
    (tmp_path / "x").write_bytes(module.compress(data))
    image_id = store.import_image(tmp_path / "x", message="why")
    assert names(store) == ["<none>:<none>"]
    shown = store.inspect([image_id])[0]
    assert (shown["RootFS"]["Layers"], shown["Comment"]) == ([sha256(data)], "why")


@pytest.mark.parametrize("data", [b"", b"no tar", b"x" * 2000, b"{}" + b"\n" * 600])
def test_import_of_no_tar(store: ImageStore, data: bytes) -> None:
    with pytest.raises(InvalidContent, match="no tar archive"):
        store.import_image(io.BytesIO(data), "x")
    assert store.images(all=True) == []


def test_paths_may_be_plain_strings(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(tar_of({"a": b"a"}))
    image_id = store.import_image(str(tmp_path / "root.tar"), "made:1")
    store.save(["made:1"], str(tmp_path / "saved.tar"))
    store.remove(["made:1"])
    assert store.load(str(tmp_path / "saved.tar")).loaded[0].image_id == image_id
    with pytest.raises(NotFound, match="no such file"):
        store.import_image("/nowhere/root.tar")


def test_import_refuses(store: ImageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot import digest reference"):
        store.import_image(io.BytesIO(layer()), f"x@{BASE.id}")
    with pytest.raises(NotFound):
        store.import_image(tmp_path / "none", "x")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is no number of seconds"):
        store.import_image(io.BytesIO(layer()), "x")


# -- names


def test_tag(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    store.tag("base", "quay.io/x/y:1")
    store.tag(CHILD.id[7:19], "child:2")
    assert store.names() == ["base:latest", "child:2", "child:latest", "quay.io/x/y:1"]
    store.tag("base", "child")
    assert {row.image_id for row in store.images()} == {BASE.id, CHILD.id}
    store.tag("base", "child:2")
    assert {row.image_id: row.names for row in store.images(all=True)}[CHILD.id] == ()
    with pytest.raises(UsageError, match="refusing to create a tag with a digest reference"):
        store.tag("base", f"x@{BASE.id}")
    with pytest.raises(NotFound, match="No such image: none:latest"):
        store.tag("none", "x")


def test_a_tag_of_an_index_is_the_index(store: ImageStore) -> None:
    digest = store.load(oci_archive(ARM, AMD, name="docker.io/library/x:latest")).loaded[0].digest
    store.tag("x", "y")
    assert {row.repository: row.digest for row in store.images()} == {"x": digest, "y": digest}
    store.tag(ARM.id, "arm")
    assert {row.repository: row.image_id for row in store.images()}["arm"] == ARM.id


# -- removal


def test_remove(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    assert store.remove(["base"]).events == [("Untagged", "base:latest")]
    assert names(store) == ["child:latest"]
    assert sorted(names(store, all=True)) == ["<none>:<none>", "child:latest"]
    result = store.remove(["none", "child"])
    assert [str(error) for error in result.errors] == ["No such image: none:latest"]
    assert [kind for kind, _ in result.events] == ["Untagged", "Deleted", "Deleted", "Deleted", "Deleted"]
    assert (store.images(all=True), store.names()) == ([], [])


def test_a_conflict_changes_nothing(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    result = store.remove([BASE.id], force=True)
    assert [type(error) for error in result.errors] == [Conflict]
    assert store.names() == ["base:latest", "child:latest"]


def test_a_dry_run_changes_nothing_and_says_the_bytes(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    dry = store.remove(["child"], dry_run=True)
    assert store.names() == ["base:latest", "child:latest"]
    assert dry.frame_bytes + dry.dead_bytes > 0
    assert store.remove(["base"], dry_run=True).frame_bytes == 0
    assert dry.events == store.remove(["child"]).events


def test_prune(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, []), (AMD, []))
    assert store.prune(filters=["label=kind=other"]).events == []
    result = store.prune(filters=["label=kind=child"])
    assert next(text for _, text in result.events) == CHILD.id
    assert {row.image_id for row in store.images(all=True)} == {BASE.id, AMD.id}
    store.prune()
    assert names(store, all=True) == ["base:latest"]
    store.prune(all=True)
    assert names(store, all=True) == []


def test_pins_are_kept_by_prune(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child:1", "child:2"]), (AMD, ["amd"]))
    assert store.pin(["child:2", "amd"]) == ["child:2", "amd:latest"]
    assert store.pin(["child:2"]) == []
    assert [f"{row.repository}:{row.tag}" for row in store.pinned()] == ["child:2", "amd:latest"]
    assert names(store, filters=["pinned=false"]) == ["child:1", "base:latest"]
    foretold = store.prune(all=True, dry_run=True)
    assert len(names(store)) == 4
    assert store.prune(all=True).events == foretold.events
    assert names(store) == ["child:1", "child:2", "amd:latest"]  # an image with a pinned name stays as it is
    assert store.pin(["amd", "child:2"], pinned=False) == ["amd:latest", "child:2"]
    store.prune(all=True)
    assert names(store, all=True) == []


def test_what_cannot_be_pinned(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (AMD, []))
    with pytest.raises(NotFound, match="No such image: none:latest"):
        store.pin(["base", "none"])
    for word in (BASE.id, AMD.id[7:19]):
        with pytest.raises(UsageError, match="pinned by a name"):
            store.pin([word])
    assert store.pinned() == []


def test_a_pin_is_of_a_name(store: ImageStore) -> None:
    """It stays when the name moves, and goes when the name does."""
    load(store, (BASE, ["x"]))
    store.pin(["x"])
    load(store, (AMD, ["x"]))
    assert [row.image_id for row in store.pinned()] == [AMD.id]
    store.prune(all=True)
    assert names(store, all=True) == ["x:latest"]
    store.remove(["x"])
    load(store, (AMD, ["x"]))
    assert store.pinned() == []


# -- upkeep


def test_tree(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]), (AMD, ["amd"]))
    top = {node.summary.repository: node for node in store.tree()}
    assert sorted(top) == ["amd", "base"]
    child = top["base"].children[0]
    assert (child.summary.repository, child.adds_layers, child.adds_bytes) == ("child", 1, 3000)
    assert (top["base"].adds_layers, top["base"].adds_bytes) == (1, 5001)
    assert 3000 <= child.new_bytes <= len(CHILD.layers[1]) + 2000
    assert 5001 <= top["base"].new_bytes <= len(BASE.layers[0]) + 2000


def test_new_bytes_are_those_that_no_ancestor_has(store: ImageStore) -> None:
    copy = Built(*BASE.layers, layer(again="a" * 5000, more="z" * 2000))
    load(store, (BASE, ["base"]), (copy, ["copy"]))
    node = store.tree()[0].children[0]
    assert node.adds_bytes == 7000
    assert 2000 <= node.new_bytes < 7000


def test_df(store: ImageStore) -> None:
    load(store, (BASE, ["base"]), (CHILD, ["child"]))
    usage = store.df()
    by_name = {one.summary.repository: one for one in usage.images}
    assert by_name["base"].unique == 0
    assert by_name["base"].shared == by_name["child"].shared > 0
    assert by_name["child"].unique > 0


def test_verify_names_the_images(store: ImageStore, tmp_path: Path) -> None:
    noise = Built(tar_of({"noise": random.Random(1).randbytes(1 << 20)}))
    child = Built(*noise.layers, layer(c="c" * 3000), created="2024-01-02T00:00:00Z")
    load(store, (noise, ["noise"]), (child, []))
    load(store, (AMD, ["amd"]))
    assert (store.verify().problems, store.verify(["amd"]).problems) == ([], [])
    largest = max((tmp_path / "store" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[1 << 19] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(data)
    with lamina.open(tmp_path / "store") as again:
        assert again.verify().images == sorted(["noise:latest", child.id[7:19]])
        assert again.verify(["noise"]).problems
        assert again.verify(["amd"]).problems == []
    with pytest.raises(NotFound):
        store.verify(["none"])


def test_optimize_takes_its_options_down(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    monkeypatch.setattr(store.blobs, "optimize", lambda **options: seen.append(options))
    store.optimize(level=3, budget=60, memory=512)
    assert seen == [{"level": 3, "budget": 60, "memory": 512 << 20, "progress": None}]


def test_gc_gives_room_back(store: ImageStore) -> None:
    load(store, (BASE, ["base"]))
    store.remove(["base"])
    assert store.gc().bytes_freed > 0


def test_info(store: ImageStore, tmp_path: Path) -> None:
    info = store.info()
    assert (info["path"], info["lamina"]) == (str(tmp_path / "store"), lamina.__version__)
    assert {"format", "python", "sqlite", "libraries", "cpu"} <= set(info)


# -- start-up


# What a session writes with.
WRITING = {"numpy", "zstandard", "blake3"}
HEAVY = WRITING | {"isal", "rich", "platformdirs", "click"}


@pytest.mark.parametrize(("call", "heavy"), [
    ("images()", HEAVY), ("images(all=True)", HEAVY), ("inspect(['x'])", HEAVY), ("history('x')", HEAVY),
    ("names()", HEAVY), ("tag('x', 'y')", HEAVY - WRITING)])
def test_looking_imports_nothing_heavy(store: ImageStore, tmp_path: Path, call: str, heavy: set[str]) -> None:
    load(store, (BASE, ["x"]))
    code = (f"import sys, lamina\nwith lamina.open({str(tmp_path / 'store')!r}) as store:\n    store.{call}\n"
            "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()


def test_import_lamina_imports_next_to_nothing() -> None:
    code = "import sys, lamina; print([name for name in sys.modules if name.startswith('lamina.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMINA_STORE", str(tmp_path / "there"))
    with lamina.open() as store:
        assert store.info()["path"] == str(tmp_path / "there")
    monkeypatch.delenv("LAMINA_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with lamina.open() as store:
        assert Path(store.info()["path"]).is_relative_to(tmp_path / "data" / "lamina")
