"""Member names and links that lead elsewhere, and what is named but is not there."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archive.builders import ARM, BASE, ONE, Image, Layout, Member, docker_20, named, oci, podman, tar, write_directory

from test_bad_input.kit import NEW, OTHER, Home, Said, assert_refused, command, edited, items, loading, replaced

Way = Callable[[bytes], Callable[[Home], Said]]

OUTSIDE = ("../layer.tar", "a/../../layer.tar", "..", "/etc/passwd", "/dev/zero")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_claim_outside_of_the_archive(home: Home, way: Way, name: str) -> None:
    paths = items(podman(NEW))[0]["Layers"]
    data = edited([*podman(NEW), Member(name, NEW.layers[2])], Layers=[*paths[:2], name])
    assert_refused(home, way(data), "leads out of the archive")
    assert_refused(home, way(edited([Member(name, NEW.config), *podman(NEW)], Config=name)), "leads out of the archive")


def test_members_outside_that_nobody_claims(home: Home, way: Way, tmp_path: Path) -> None:
    """They are nowhere written: the image is whole without them."""
    strange = [*(Member(name, b"evil") for name in OUTSIDE), Member("../link", link="/etc/passwd"),
               Member("dev", type=tarfile.CHRTYPE), Member("/dev/sda", type=tarfile.BLKTYPE),
               Member("fifo", type=tarfile.FIFOTYPE)]
    assert way(tar([*strange, *docker_20(NEW)]))(home).code == 0
    assert not list(tmp_path.glob("**/passwd"))
    assert sorted(path.name for path in home.path.iterdir()) == ["format", "packs", "state", "tmp"]
    assert home.settle().problems == ()


@pytest.mark.parametrize("member", [
    Member("layer", type=tarfile.CHRTYPE), Member("layer", type=tarfile.BLKTYPE), Member("layer", type=tarfile.FIFOTYPE),
    Member("layer", type=tarfile.DIRTYPE), Member("layer", BASE, type=b"Q"),
])
def test_a_claim_of_what_is_no_file(home: Home, way: Way, member: Member) -> None:
    paths = items(podman(NEW))[0]["Layers"]
    assert_refused(home, way(edited([*podman(NEW), member], Layers=[*paths[:2], "layer"])), "'layer' is no regular file")
    assert_refused(home, way(edited([*podman(NEW), member], Config="layer")), "'layer' is no regular file")


LINKS: dict[str, tuple[list[Member], str]] = {
    "itself": ([Member("layer", link="layer")], "loop"),
    "two": ([Member("layer", link="b"), Member("b", link="./layer")], "loop"),
    "directories": ([Member("layer", link="b/c"), Member("b", link="b/d")], "loop"),
    "hard": ([Member("layer", link="layer", type=tarfile.LNKTYPE)], "loop"),
    "chain": ([Member(f"{n}" if n else "layer", link=f"{n + 1}") for n in range(60)], "loop"),
    "outside": ([Member("layer", link="../outside")], "out of the archive"),
    "absolute": ([Member("layer", link="/etc/passwd")], "out of the archive"),
    "absolute hard": ([Member("layer", link="/etc/passwd", type=tarfile.LNKTYPE)], "out of the archive"),
    "dangling": ([Member("layer", link="nowhere")], "a link to 'nowhere'. is named but not there"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_links(home: Home, way: Way, kind: str) -> None:
    links, match = LINKS[kind]
    paths = items(podman(NEW))[0]["Layers"]
    assert_refused(home, way(edited([*links, *podman(NEW)], Layers=[*paths[:2], "layer"])), match)
    assert_refused(home, way(edited([*podman(NEW), *links], Config="layer")), match)


def test_links_by_the_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "loop.tar").write_bytes(edited([*podman(NEW), Member("layer", link="layer")], Config="layer"))
    assert_refused(home, command("load", "-q", "-i", tmp_path / "loop.tar"), "loop, .*/loop.tar")


def test_blobs_of_a_layout_that_are_no_files(home: Home, tmp_path: Path) -> None:
    layout = write_directory(tmp_path / "layout", oci(NEW))
    (blob,) = layout.glob(f"blobs/sha256/{NEW.id.hex}")
    blob.unlink()
    os.mkfifo(blob)  # and nobody writes to it
    assert_refused(home, loading(layout), "missing|no regular file")
    blob.unlink()
    blob.mkdir()
    assert_refused(home, loading(layout), "missing|no regular file")
    blob.rmdir()
    blob.symlink_to(blob)
    assert_refused(home, loading(layout), "missing|cannot|loop")
    blob.unlink()
    blob.symlink_to("/dev/zero")
    assert_refused(home, loading(layout), "missing|no regular file")


# -- named but not there


def test_manifest_json_names_what_is_not_there(home: Home, way: Way) -> None:
    assert_refused(home, way(edited(docker_20(NEW), Config="none.json")), "'none.json' is named but not there")
    paths = [*items(docker_20(NEW))[0]["Layers"][:2], "none/layer.tar"]
    assert_refused(home, way(edited(docker_20(NEW), Layers=paths)), "'none/layer.tar' is named but not there")


def test_a_good_image_beside_one_that_lacks_a_layer(home: Home, way: Way) -> None:
    """A docker-archive is taken whole or not at all."""
    members = docker_20(OTHER, NEW)
    last = items(members)[1]["Layers"][2]
    assert_refused(home, way(tar(one for one in members if one.name != last)), "is named but not there")


def without(layout: Layout, *contents: bytes) -> Layout:
    return Layout({digest: data for digest, data in layout.blobs.items() if data not in contents})


@pytest.mark.parametrize("gone", ["manifest", "config", "layer"])
def test_a_manifest_that_is_not_whole(home: Home, way: Way, gone: str) -> None:
    layout = Layout()
    root = layout.image(NEW)
    content = {"manifest": layout.blobs[root.digest], "config": NEW.config, "layer": NEW.layers[1]}[gone]
    assert_refused(home, way(tar(without(layout, content).members([root]))), "is missing.*, the source is not complete")


def two_platforms() -> tuple[Layout, list[Member]]:
    layout = Layout()
    children = []
    for image in (NEW, ARM):
        one = layout.image(image)
        children.append(type(one)(one.media_type, one.digest, one.size, platform=_platform(image)))
    return layout, children


def _platform(image: Image) -> object:
    from lamina.oci import Platform

    return Platform("linux", image.architecture)


def test_no_platform_is_whole(home: Home, way: Way) -> None:
    layout, children = two_platforms()
    root = layout.index(children)
    gone = without(layout, NEW.layers[1], ARM.layers[0])
    assert_refused(home, way(tar(gone.members([root]))), "is missing")
    assert_refused(home, way(tar(without(layout, NEW.config, ARM.config).members([root]))), "is missing")


@pytest.mark.parametrize(("platform", "code"), [
    ("linux/arm64", 1), ("linux/s390x", 1), ("windows/amd64", 1), ("no such thing", 125), ("linux/arm64/v8/x", 125),
])
def test_the_platform_that_was_asked_for_is_not_whole_or_not_there(
    home: Home, tmp_path: Path, platform: str, code: int
) -> None:
    layout, children = two_platforms()
    root = layout.index(children)
    path = tmp_path / "two.tar"
    path.write_bytes(tar(without(layout, ARM.layers[0]).members([root])))
    attempt = loading(path, platform=platform)
    assert_refused(home, attempt, "missing|no manifest|platform", code=code)


def test_one_platform_of_two_is_kept_and_the_other_listed(home: Home, tmp_path: Path) -> None:
    layout, children = two_platforms()
    root = named(layout.index(children), name="example.com/two:1")
    path = tmp_path / "two.tar"
    path.write_bytes(tar(without(layout, ARM.layers[0]).members([root])))
    said = command("load", "-q", "-i", path)(home)
    assert said.code == 0
    assert said.out == b"Loaded image: example.com/two:1\n"
    assert said.lines == ("lamina: warning: example.com/two:1 linux/arm64 is incomplete, 1 blob not in the archive",)
    home.before = None
    again = home.load(path)
    assert [(one.platform, one.missing) for one in again.incomplete] == [("linux/arm64", (ARM.diff_ids[0],))]
    assert home.settle().problems == ()
    assert_refused(home, loading(path, platform="linux/arm64"), "is missing")


def test_one_tag_given_twice(home: Home, tmp_path: Path) -> None:
    """The last one wins, and that is said aloud."""
    first, last = Image(ONE.layers, ("twice:1",)), Image(OTHER.layers, ("docker.io/library/twice:1",))
    path = tmp_path / "twice.tar"
    path.write_bytes(tar(docker_20(first, last)))
    said = command("load", "-q", "-i", path)(home)
    assert said.code == 0
    assert len(said.lines) == 1
    assert said.lines[0].startswith("lamina: warning: ")
    assert "twice:1" in said.lines[0]
    with home.open() as store:
        assert store.inspect(["twice:1"])[0]["Id"] == OTHER.id
    assert home.settle().problems == ()


def test_one_tag_given_twice_in_a_layout(home: Home, tmp_path: Path) -> None:
    layout = Layout()
    roots = [named(layout.image(image), name="docker.io/library/twice:1") for image in (ONE, OTHER)]
    result = home.load(write_directory(tmp_path / "layout", layout.members(roots)))
    assert any("twice:1" in text for text in result.warnings)
    with home.open() as store:
        assert store.inspect(["twice:1"])[0]["Id"] == OTHER.id


def test_names_that_are_longer_than_a_line(home: Home, way: Way) -> None:
    name = "n" * 50_000
    assert_refused(home, way(edited([*podman(NEW), Member("x" * 9_000, b"x")], Config=name)), "is named but not there")
    data = tar(replaced(podman(NEW), "manifest.json", b'[{"Config":"a\\u001b[31m\\nb","Layers":[]}]'))
    assert_refused(home, way(data), r"is named but not there")
