"""`rmi` and `prune`, by docker 20.10's rules."""

from __future__ import annotations

import pytest

from lamina.errors import Conflict, LaminaError, NotFound
from lamina.images.names import short_id
from lamina.images.remove import Removal
from lamina.images.view import Image
from lamina.oci import Platform, chain_ids

from .views import World


def chains(image: Image, *which: int) -> list[tuple[str, str]]:
    """What is said of layers that go: the numbers count from the bottom."""
    every = chain_ids(image.diff_ids)  # type: ignore[arg-type]
    return [("Deleted", str(every[number])) for number in which]


def deleted(image: Image) -> tuple[str, str]:
    return "Deleted", image.id


def test_one_of_several_tags() -> None:
    world = World()
    world.image("one", "a", "x:1 x:2")
    removal = Removal(world.view())
    removal.remove("x:1")
    assert removal.events == [("Untagged", "x:1")]
    assert ([root.name for root in removal.gone], removal.kept) == (["docker.io/library/x:1"], [])


def test_the_last_tag_takes_the_image_and_its_layers() -> None:
    world = World()
    image = world.image("one", "abc", "x")
    other = world.image("two", "az", "y")
    removal = Removal(world.view())
    removal.remove("x")
    assert removal.events == [("Untagged", "x:latest"), deleted(image), *chains(image, 2, 1)]
    removal.remove("y")
    assert removal.events[4:] == [("Untagged", "y:latest"), deleted(other), *chains(other, 1, 0)]


def test_the_digest_is_said_of_what_was_not_made_here() -> None:
    world = World()
    image = world.image("one", "", "x:1 x:2 y", made=False)
    removal = Removal(world.view())
    for word in ("x:1", "x:2", "y"):
        removal.remove(word)
    assert removal.events == [
        ("Untagged", "x:1"), ("Untagged", "x:2"), ("Untagged", f"x@{image.manifest}"), ("Untagged", "y:latest"),
        ("Untagged", f"y@{image.manifest}"), deleted(image)]


def test_names_by_digest_go_with_the_last_tag_of_their_repository() -> None:
    world = World()
    image = world.image("one", "", "x:1", made=False)
    world.name(image.manifest, f"x@{image.manifest}")
    removal = Removal(world.view())
    removal.remove("x:1")
    assert removal.events == [("Untagged", "x:1"), ("Untagged", f"x@{image.manifest}"), deleted(image)]
    assert len(removal.gone) == 2


def test_by_id_with_one_name() -> None:
    world = World()
    image = world.image("one", "a", "x")
    removal = Removal(world.view())
    removal.remove(image.id[7:19])
    assert removal.events == [("Untagged", "x:latest"), deleted(image), *chains(image, 0)]


@pytest.mark.parametrize("names", ["x:1 x:2", "x y"])
def test_by_id_with_several_names(names: str) -> None:
    world = World()
    image = world.image("one", "a", names)
    removal = Removal(world.view())
    with pytest.raises(Conflict) as caught:
        removal.remove(image.id)
    assert str(caught.value) == (f"conflict: unable to delete {short_id(image.id)} (must be forced) - "
                                 "image is referenced in multiple repositories")
    assert (removal.events, removal.gone) == ([], [])
    removal.remove(image.id, force=True)
    assert [kind for kind, _ in removal.events] == ["Untagged", "Untagged", "Deleted", "Deleted"]


@pytest.mark.parametrize("force", [False, True])
def test_a_parent_cannot_be_removed_by_id(force: bool) -> None:
    world = World()
    base = world.image("base", "a", "base")
    world.image("child", "ab", "child")
    removal = Removal(world.view())
    with pytest.raises(Conflict) as caught:
        removal.remove(base.id, force=force)
    assert str(caught.value) == (f"conflict: unable to delete {short_id(base.id)} (cannot be forced) - "
                                 "image has dependent child images")
    assert removal.events == []


def test_a_parent_loses_its_name_and_stays_and_goes_with_its_child() -> None:
    world = World()
    base = world.image("base", "a", "base")
    child = world.image("child", "ab", "child")
    removal = Removal(world.view())
    removal.remove("base")
    assert removal.events == [("Untagged", "base:latest")]
    assert [root.digest for root in removal.kept] == [base.manifest]
    assert removal.leaving() == []
    removal.remove("child")
    assert removal.events[1:] == [
        ("Untagged", "child:latest"), deleted(child), *chains(child, 1), deleted(base), *chains(base, 0)]
    assert removal.leaving() == ["docker.io/library/base:latest", "docker.io/library/child:latest"]


def test_no_prune_leaves_untagged_parents() -> None:
    world = World()
    world.image("base", "a")
    child = world.image("child", "ab", "child")
    removal = Removal(world.view())
    removal.remove("child", prune=False)
    assert removal.events == [("Untagged", "child:latest"), deleted(child), *chains(child, 1)]
    assert removal.leaving() == ["docker.io/library/child:latest"]


def test_a_tagged_parent_and_one_with_other_children_stay() -> None:
    for names, more in (("base", False), ("", True)):
        world = World()
        world.image("base", "a", names)
        child = world.image("child", "ab", "child")
        if more:
            world.image("other", "ac", "other")
        removal = Removal(world.view())
        removal.remove("child")
        assert removal.events == [("Untagged", "child:latest"), deleted(child), *chains(child, 1)]


def test_not_twice() -> None:
    world = World()
    image = world.image("one", "a", "x")
    removal = Removal(world.view())
    removal.remove("x")
    for word in ("x", image.id):
        with pytest.raises(NotFound, match="No such image"):
            removal.remove(word)


def test_an_index_goes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: Platform("linux", "amd64")))
    world = World()
    arm = world.image("arm", "ab", platform=Platform("linux", "arm64"), rooted=False)
    amd = world.image("amd", "ac", rooted=False)
    target = world.index("both", [arm, amd], "x")
    view = world.view()
    removal = Removal(view)
    with pytest.raises(Conflict, match="one platform of an index"):
        removal.remove(arm.id)
    removal.remove("x")
    assert removal.events == [
        ("Untagged", "x:latest"), ("Untagged", f"x@{target}"), deleted(amd), *chains(amd, 1), deleted(arm),
        *chains(arm, 1, 0)]


def test_prune_takes_the_dangling() -> None:
    world = World()
    world.image("named", "az", "x")
    lone = world.image("lone", "bc")
    world.image("middle", "a")
    removal = Removal(world.view())
    for image_id in removal.view.entries:
        removal.prune(image_id, every=False)
    assert [event for event in removal.events if event[1].startswith(lone.id)] == [deleted(lone)]
    assert removal.leaving() == [f"@{lone.manifest}"]
    assert not any(kind == "Untagged" for kind, _ in removal.events)


def test_prune_all_takes_the_named_too() -> None:
    world = World()
    world.image("one", "a", "x:1 x:2")
    world.image("two", "b", "y")
    removal = Removal(world.view())
    for image_id in removal.view.entries:
        removal.prune(image_id, every=True)
    assert sorted(text for kind, text in removal.events if kind == "Untagged") == ["x:1", "x:2", "y:latest"]
    assert len(removal.leaving()) == 3


def test_errors_are_lines_for_users() -> None:
    with pytest.raises(LaminaError, match=r"^No such image: gone:latest$"):
        Removal(World().view()).remove("gone")
