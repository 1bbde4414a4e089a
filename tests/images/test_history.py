"""The steps of an image."""

from __future__ import annotations

import pytest

from lamina.errors import InvalidContent
from lamina.images import times
from lamina.images.history import history_rows

from .views import World

STEPS = [
    {"created": "2024-01-01T00:00:00Z", "created_by": "base", "comment": "first"},
    {"created": "2024-01-02T00:00:00.25Z", "created_by": "ENV A=1", "empty_layer": True},
    {"created_by": "COPY", "author": "me"},
]


def test_newest_first_with_the_sizes_of_the_layers() -> None:
    world = World()
    image = world.image("one", "ab", "x:1 x:2", history=STEPS)
    rows = history_rows(world.view(), image, [10, 20])
    assert [(row.created_by, row.size, row.comment) for row in rows] == [
        ("COPY", 20, ""), ("ENV A=1", 0, ""), ("base", 10, "first")]
    assert [row.image_id for row in rows] == [image.id, "<missing>", "<missing>"]
    assert [row.tags for row in rows] == [("x:1", "x:2"), (), ()]
    assert rows[0].created is times.NEVER
    assert rows[1].created == times.parse("2024-01-02T00:00:00.25Z")


def test_stored_ancestors_stand_where_they_belong() -> None:
    world = World()
    base = world.image("base", "a", "base", history=STEPS[:1])
    env = world.image("env", "a", history=STEPS[:2])
    image = world.image("one", "ab", "x", history=STEPS)
    rows = history_rows(world.view(), image, [1, 2])
    assert [row.image_id for row in rows] == [image.id, env.id, base.id]
    assert rows[2].tags == ("base:latest",)


def test_an_ancestor_with_another_history_is_not_named() -> None:
    world = World()
    world.image("base", "a", "base", history=[{"created_by": "other"}])
    image = world.image("one", "ab", "x", history=STEPS)
    assert [row.image_id for row in history_rows(world.view(), image, [1, 2])][1:] == ["<missing>"] * 2


def test_no_history_no_rows() -> None:
    world = World()
    image = world.image("one", "ab", "x", history=[])
    assert history_rows(world.view(), image, [1, 2]) == []


def test_fewer_steps_than_layers() -> None:
    world = World()
    image = world.image("one", "abc", "x", history=STEPS)
    assert [row.size for row in history_rows(world.view(), image, [1, 2, 3])] == [2, 0, 1]


def test_more_steps_than_layers() -> None:
    world = World()
    image = world.image("one", "a", "x", history=STEPS)
    with pytest.raises(InvalidContent, match="too many non-empty layers in History section"):
        history_rows(world.view(), image, [1])
