"""The rows of `images`."""

from __future__ import annotations

import pytest

from lamina.errors import NotFound
from lamina.images.listing import ImageSummary, list_images
from lamina.oci import Platform

from .views import LINUX, World, digest


def shown(rows: list[ImageSummary]) -> list[str]:
    return [f"{row.repository}:{row.tag}" for row in rows]


def test_a_row_for_each_name_newest_image_first() -> None:
    world = World()
    old = world.image("old", "a", "b:2 b:1 a", created="2024-01-01T00:00:00Z", size=7)
    new = world.image("new", "b", "z", created="2024-01-01T00:00:00.5Z")
    rows = list_images(world.view())
    assert shown(rows) == ["z:latest", "a:latest", "b:1", "b:2"]
    assert [row.image_id for row in rows] == [new.id, old.id, old.id, old.id]
    assert rows[1].names == ("a:latest", "b:1", "b:2")
    assert (rows[1].size, rows[1].platform, rows[1].whole) == (7, "linux/amd64", True)
    assert rows[0].created.isoformat() == "2024-01-01T00:00:00.500000+00:00"


def test_dangling_and_intermediate() -> None:
    world = World()
    base = world.image("base", "a")
    middle = world.image("middle", "ab")
    top = world.image("top", "abc", "top")
    lone = world.image("lone", "x")
    view = world.view()
    assert {row.image_id for row in list_images(view)} == {top.id, lone.id}
    every = {row.image_id: row for row in list_images(view, every=True)}
    assert set(every) == {base.id, middle.id, top.id, lone.id}
    assert (every[base.id].repository, every[base.id].tag, every[base.id].digest) == ("<none>",) * 3
    assert every[top.id].parent == middle.id
    assert [row.image_id for row in list_images(view, every=True, filters=["dangling=true"])] == [lone.id]
    assert [row.image_id for row in list_images(view, every=True, filters=["dangling=false"])] == [top.id]


def test_a_tagged_parent_is_shown() -> None:
    world = World()
    world.image("base", "a", "base")
    world.image("top", "ab", "top")
    assert sorted(shown(list_images(world.view()))) == ["base:latest", "top:latest"]


def test_digests() -> None:
    world = World()
    world.image("made", "a", "made", made=True)
    pulled = world.image("pulled", "b", "pulled", made=False)
    digests = {row.repository: row.digest for row in list_images(world.view())}
    assert digests == {"made": "<none>", "pulled": pulled.manifest}


def test_a_name_by_digest_alone() -> None:
    world = World()
    image = world.image("one", "b", made=False, rooted=False)
    world.name(image.manifest, f"quay.io/x/one@{image.manifest} two:1 two@{image.manifest}")
    rows = list_images(world.view())
    assert [(row.repository, row.tag, row.digest) for row in rows] == [
        ("two", "1", image.manifest), ("quay.io/x/one", "<none>", image.manifest)]


def test_patterns_hide_single_names() -> None:
    world = World()
    world.image("one", "a", "app:1 app:2 quay.io/x/app:1")
    world.image("two", "b")
    view = world.view()
    assert shown(list_images(view, name="app")) == ["app:1", "app:2"]
    assert shown(list_images(view, name="app:2")) == ["app:2"]
    assert shown(list_images(view, name="quay.io/*/*")) == ["quay.io/x/app:1"]
    assert shown(list_images(view, name="app:1", filters=["reference=*:2"])) == ["app:1", "app:2"]


def test_labels_are_read_only_where_asked_for() -> None:
    world = World()
    world.image("one", "a", "one", Labels={"a": "1"})
    world.image("two", "b", "two", Labels=None)
    rows = list_images(world.view())
    assert world.parsed == []
    assert {row.repository: row.labels for row in rows} == {"one": {"a": "1"}, "two": {}}
    assert shown(list_images(world.view(), filters=["label=a"])) == ["one:latest"]
    assert shown(list_images(world.view(), filters=["label!=a"])) == ["two:latest"]


def test_before_and_since() -> None:
    world = World()
    for day in (1, 2, 3):
        world.image(str(day), str(day), f"day:{day}", created=f"2024-01-0{day}T00:00:00Z")
    view = world.view()
    assert shown(list_images(view, filters=["before=day:2"])) == ["day:1"]
    assert shown(list_images(view, filters=["since=day:2"])) == ["day:3"]
    assert shown(list_images(view, filters=["since=day:1", "before=day:3"])) == ["day:2"]
    assert shown(list_images(view, filters=["until=2024-01-02T00:00:00Z"])) == ["day:2", "day:1"]
    with pytest.raises(NotFound, match=r"^No such image: day:9$"):
        list_images(view, filters=["before=day:9"])


def test_an_index_shows_the_hosts_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: LINUX))
    world = World()
    arm = world.image("arm", "a", platform=Platform("linux", "arm64"), rooted=False)
    amd = world.image("amd", "b", rooted=False)
    target = world.index("both", [arm, amd], "x")
    assert [(row.image_id, row.digest) for row in list_images(world.view())] == [(amd.id, target)]


def test_two_manifests_of_one_image_are_one_image() -> None:
    world = World()
    image = world.image("one", "a", "plain", made=True)
    other = digest("the same, compressed")
    world.images[other] = type(image)(image.id, other, image.created, image.platform, image.diff_ids)
    world.name(other, "packed")
    rows = list_images(world.view())
    assert shown(rows) == ["packed:latest", "plain:latest"]
    assert {row.image_id for row in rows} == {image.id}
    assert {row.repository: row.digest for row in rows} == {"plain": "<none>", "packed": other}
