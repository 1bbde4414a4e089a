"""What a user's word leads to."""

from __future__ import annotations

import pytest

from lamina.errors import Conflict, InvalidReference, NotFound
from lamina.images.names import find
from lamina.oci import Platform

from .views import LINUX, World

ARM = Platform("linux", "arm64")


@pytest.mark.parametrize("word", ["nginx", "nginx:latest", "docker.io/library/nginx", "library/nginx:latest",
                                  "index.docker.io/nginx"])
def test_a_name_in_any_of_its_forms(word: str) -> None:
    world = World()
    nginx = world.image("nginx", "a", "nginx")
    world.image("other", "a", "nginx:1")
    found = find(world.view(), word)
    assert (found.image, found.named) == (nginx, True)


def test_ids_and_their_beginnings() -> None:
    world = World()
    image = world.image("one", "a", "one")
    world.image("two", "b")
    hexadecimal = image.id.removeprefix("sha256:")
    for word in (image.id, hexadecimal, hexadecimal[:12], image.id[:20]):
        found = find(world.view(), word)
        assert (found.image, found.named) == (image, False), word


def test_names_go_before_ids() -> None:
    world = World()
    image = world.image("one", "a")
    named = world.image("two", "b", image.id[7:10])
    assert find(world.view(), image.id[7:10]).image == named


def test_the_start_of_several_ids() -> None:
    world = World()
    images = [world.image(str(number)) for number in range(17)]
    first = {image.id[7] for image in images}
    twice = next(digit for digit in first if sum(image.id[7] == digit for image in images) > 1)
    with pytest.raises(Conflict, match=f"ambiguous digest string: {twice}, .* give more digits"):
        find(world.view(), twice)


@pytest.mark.parametrize(("word", "shown"), [
    ("nothing", "nothing:latest"), ("docker.io/library/nothing:1", "nothing:1"), ("sha256:abc", "sha256:abc"),
    ("f" * 64, "f" * 64), (f"x@sha256:{'0' * 64}", f"x@sha256:{'0' * 64}")])
def test_not_there_in_dockers_words(word: str, shown: str) -> None:
    with pytest.raises(NotFound) as caught:
        find(World().view(), word)
    assert str(caught.value) == f"No such image: {shown}"


def test_no_reference() -> None:
    with pytest.raises(InvalidReference, match="must be lowercase"):
        find(World().view(), "Nginx")


def test_the_digest_wins_over_the_tag() -> None:
    world = World()
    old = world.image("old", "a", "x:1", made=False)
    new = world.image("new", "b", "x:2", made=False)
    view = world.view()
    assert find(view, f"x:2@{old.manifest}").image == old
    assert find(view, f"x@{new.manifest}").image == new
    with pytest.raises(NotFound):
        find(view, f"y@{new.manifest}")


def test_a_manifest_by_its_digest_alone() -> None:
    world = World()
    image = world.image("one", "a", "x")
    assert find(world.view(), image.manifest).image == image


def test_the_host_platform_of_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    arm = world.image("arm", "a", platform=ARM, rooted=False)
    amd = world.image("amd", "b", platform=LINUX, rooted=False)
    target = world.index("both", [arm, amd], "x")
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: LINUX))
    view = world.view()
    assert find(view, "x").image == amd
    assert find(view, "x", "linux/arm64").image == arm
    assert find(view, f"x@{target}").image == amd
    assert find(view, f"x@{arm.manifest}", "linux/arm64/v8").image == arm
    assert find(view, arm.id[:20]).image == arm
    with pytest.raises(NotFound, match="wanted linux/s390x, actual: linux/arm64, linux/amd64"):
        find(view, "x", "linux/s390x")


def test_else_the_first_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    broken = world.image("amd", "b", platform=LINUX, rooted=False, whole=False)
    first = world.image("arm", "a", platform=ARM, rooted=False)
    second = world.image("s390x", "a", platform=Platform("linux", "s390x"), rooted=False)
    world.index("all", [broken, first, second], "x")
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: LINUX))
    assert find(world.view(), "x").image == first


def test_an_index_within_an_index_in_a_loop() -> None:
    world = World()
    image = world.image("one", "a", rooted=False)
    inner = world.index("inner", [image], "inner")
    outer = world.index("outer", [], "outer")
    world.indexes[outer] = [inner]
    world.indexes[inner] = [outer, image.manifest]
    assert find(world.view(), "outer").image == image


def test_an_image_asked_for_by_id_and_another_platform() -> None:
    world = World()
    image = world.image("one", "a", "x")
    with pytest.raises(NotFound, match="does not match the specified platform"):
        find(world.view(), image.id, "linux/arm64")


def test_an_artifact_is_known_by_its_manifest() -> None:
    world = World()
    target = world.index("signature", [], "sig")
    found = find(world.view(), "sig")
    assert (found.image.id, found.image.artifact) == (target, True)
    assert find(world.view(), target[:20]).image == found.image
