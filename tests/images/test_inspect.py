"""`inspect` in docker's shape."""

from __future__ import annotations

import json

from lamina.images.inspect import inspect_image
from lamina.images.view import Image
from lamina.oci import Platform

from .views import World


def test_the_fields_of_docker_in_their_order() -> None:
    world = World()
    base = world.image("base", "a", "base")
    image = world.image("one", "ab", "x:1 x:2", size=9, created="2024-01-01T00:00:00.123456789Z", Cmd=["sh"],
                        Labels={"a": "b"}, ExposedPorts={"80/tcp": {}}, StopSignal="SIGINT", Unknown=1)
    shown = inspect_image(world.view(), image)
    assert list(shown) == [
        "Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "Container", "ContainerConfig",
        "DockerVersion", "Author", "Config", "Architecture", "Os", "Size", "VirtualSize", "GraphDriver", "RootFS",
        "Metadata"]
    assert (shown["Id"], shown["Parent"], shown["Size"], shown["VirtualSize"]) == (image.id, base.id, 9, 9)
    assert (shown["RepoTags"], shown["RepoDigests"]) == (["x:1", "x:2"], [])
    assert shown["Created"] == "2024-01-01T00:00:00.123456789Z"
    assert list(shown["Config"]) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty",
        "OpenStdin", "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels",
        "StopSignal"]
    assert (shown["Config"]["Cmd"], shown["Config"]["Labels"]) == (["sh"], {"a": "b"})
    assert shown["RootFS"] == {"Type": "layers", "Layers": list(image.diff_ids)}
    assert shown["Metadata"] == {"LastTagTime": "0001-01-01T00:00:00Z"}
    json.dumps(shown)


def test_digests_of_what_was_not_made_here() -> None:
    world = World()
    image = world.image("one", "a", "x:1 quay.io/y/z", made=False)
    assert inspect_image(world.view(), image)["RepoDigests"] == [
        f"quay.io/y/z@{image.manifest}", f"x@{image.manifest}"]


def test_the_variant_where_there_is_one() -> None:
    world = World()
    image = world.image("one", "a", "x", platform=Platform("linux", "arm", "v7"))
    document = json.loads(world.documents[image.id]) | {"variant": "v7", "os.version": "1"}
    world.documents[image.id] = json.dumps(document).encode()
    shown = inspect_image(world.view(), image)
    assert (shown["Architecture"], shown["Variant"], shown["OsVersion"]) == ("arm", "v7", "1")


def test_the_comment_of_the_last_step_where_there_is_no_other() -> None:
    world = World()
    image = world.image("one", "a", "x", history=[{"comment": "Imported from -"}])
    assert inspect_image(world.view(), image)["Comment"] == "Imported from -"


def test_an_artifact() -> None:
    world = World()
    target = world.index("signature", [], "sig")
    image = Image(target, target, artifact=True)
    shown = inspect_image(world.view(), image)
    assert (shown["Id"], shown["RepoTags"]) == (target, ["sig:latest"])
