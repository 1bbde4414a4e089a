"""docker, podman, skopeo and buildah on the other side of Debian's registry: ids and digests survive every way round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.contents import Layout, sha256
from interop.daemons import Docker, Podman
from interop.programs import Lamina, output, run
from interop.registries import PASSWORD, USER, DebianRegistry, debian_registry
from interop.samples import APP, GONE, add_referrer, make_platforms

pytestmark = pytest.mark.interop

NAME = "example.test/both:1"
PLAIN_HTTP = ("--src-tls-verify=false", "--dest-tls-verify=false")


def image_id(lamina: Lamina, name: str) -> str:
    """The id of a stored image."""
    return lamina("inspect", "-f", "{{.Id}}", name).strip()


@pytest.fixture
def other(scratch: Path, tmp_path: Path, lamina: Lamina) -> Lamina:
    """Another store."""
    return Lamina(tmp_path / "other")


def test_docker_pushes_and_pulls(engine: Docker, fresh_engine: Docker, registry: DebianRegistry, lamina: Lamina) -> None:
    """docker -> registry -> lamina -> registry (another repository) -> another docker."""
    first, second = f"{registry.host}/app:1", f"{registry.host}/team/again:2"
    engine("tag", APP, first)
    try:
        engine("push", "-q", first)
    finally:
        engine("rmi", first)
    assert lamina("pull", "-q", first) == f"{first}\n"
    assert image_id(lamina, first) == engine.id(APP)
    digest = registry.digest("app", "1")
    assert lamina("images", "--digests", "--format", "{{.Digest}}", first) == f"{digest}\n"
    lamina("tag", first, second)
    said = lamina("push", second)
    assert f"2: digest: {digest} size:" in said
    assert registry.manifest("team/again", "2") == registry.manifest("app", "1")
    fresh_engine.clear()
    try:
        fresh_engine("pull", "-q", second)
        assert fresh_engine.id(second) == engine.id(APP)
    finally:
        fresh_engine.clear()


@pytest.mark.parametrize("compression", ["gzip", "gzip:3", "zstd", "none"])
def test_plain_layers_are_pushed_for_everyone(
    saved: Callable[..., Path], engine: Docker, fresh_engine: Docker, podman: Podman, registry: DebianRegistry, lamina: Lamina,
    other: Lamina, tmp_path: Path, compression: str
) -> None:
    lamina.load(saved(APP))
    name = f"{registry.host}/plain:1"
    lamina("tag", APP, name)
    said = lamina("push", "--compression", compression, name)
    digest = registry.digest("plain", "1")
    assert f"1: digest: {digest} size:" in said
    assert registry.config("plain", "1") == engine.id(APP)
    assert lamina("images", "--digests", "--format", "{{.Digest}}", name) == f"{digest}\n"
    uploads = registry.uploads()
    assert f"1: digest: {digest} size:" in lamina("push", "--compression", compression, name)
    assert registry.uploads() == uploads, "the second push sent something"
    assert other("pull", "-q", name) == f"{name}\n"
    assert image_id(other, name) == engine.id(APP)
    run("skopeo", "copy", *PLAIN_HTTP, f"docker://{name}", f"oci:{tmp_path}/layout:1")
    assert Layout(tmp_path / "layout").config_digests() == [engine.id(APP)]
    podman.clear()
    try:
        podman("pull", "-q", "--tls-verify=false", name)
        assert podman.id(name) == engine.id(APP)
    finally:
        podman.clear()
    if not compression.startswith("zstd"):  # docker 20.10 takes none
        fresh_engine.clear()
        try:
            fresh_engine("pull", "-q", name)
            assert fresh_engine.id(name) == engine.id(APP)
        finally:
            fresh_engine.clear()


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_skopeo_and_buildah_push(saved: Callable[..., Path], engine: Docker, podman: Podman, registry: DebianRegistry,
                                 lamina: Lamina, form: str) -> None:
    """What others compress is kept as it is, and pushed as it is."""
    name, again = f"{registry.host}/theirs:1", f"{registry.host}/ours:1"
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-compress-format", form, f"docker-archive:{saved(GONE)}",
        f"docker://{name}", *(["--format", "oci"] if form == "zstd" else []))
    lamina("pull", "-q", name)
    lamina("tag", name, again)
    lamina("push", "-q", again)
    assert registry.manifest("ours", "1") == registry.manifest("theirs", "1")
    assert image_id(lamina, again) == registry.config("theirs", "1")
    podman.clear()
    try:
        run("buildah", *podman.storage, "pull", "-q", "--tls-verify=false", again)
        run("buildah", *podman.storage, "push", "-q", "--tls-verify=false", again, f"docker://{registry.host}/built:1")
        lamina("pull", "-q", f"{registry.host}/built:1")
        assert image_id(lamina, f"{registry.host}/built:1") == registry.config("built", "1")
    finally:
        podman.clear()


def test_every_platform_there_and_back(registry: DebianRegistry, lamina: Lamina, other: Lamina, tmp_path: Path) -> None:
    """layout -> store -> registry -> store -> layout, and skopeo's copy of it."""
    layout = make_platforms(tmp_path, NAME)
    lamina.load(layout)
    name = f"{registry.host}/both:1"
    lamina("tag", NAME, name)
    lamina("push", "-q", name)
    [digest] = Layout(layout).root_digests()
    assert registry.digest("both", "1") == digest
    other("pull", "-q", "--platform", "all", name)
    again = other.save(tmp_path / "again.tar", "--format", "oci-archive", name)
    assert Layout(again).digests() == Layout(layout).digests()
    run("skopeo", "copy", "--all", "--preserve-digests", *PLAIN_HTTP, f"docker://{name}", f"dir:{tmp_path}/dir")
    assert sha256((tmp_path / "dir/manifest.json").read_bytes()) == digest
    run("skopeo", "copy", "--all", "--preserve-digests", *PLAIN_HTTP, f"oci:{layout}:{NAME}", f"docker://{registry.host}/skopeo:1")
    assert registry.digest("skopeo", "1") == digest


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_one_platform_of_several(registry: DebianRegistry, lamina: Lamina, tmp_path: Path, architecture: str) -> None:
    layout = make_platforms(tmp_path, NAME)
    name = f"{registry.host}/both:1"
    lamina("copy", f"oci:{layout}:{NAME}", f"docker://{name}")
    lamina("pull", "-q", "--platform", f"linux/{architecture}", name)
    assert lamina("inspect", "-f", "{{.Architecture}}", name) == f"{architecture}\n"
    assert lamina("images", "--digests", "--format", "{{.Digest}}", name) == f"{registry.digest('both', '1')}\n"


def test_copies_change_nothing(registry: DebianRegistry, scratch: Path, lamina: Lamina, tmp_path: Path) -> None:
    """layout -> registry -> another registry -> archive -> store -> layout, with what refers to the image."""
    layout = make_platforms(tmp_path, NAME)
    [root] = Layout(layout).roots
    referrer = add_referrer(layout, root, "application/example.sbom")
    second = add_referrer(layout, Layout(layout).roots[-1], "application/example.signature")  # about the first one
    with debian_registry(tmp_path / "second") as target:
        one, two = f"docker://{registry.host}/a:1", f"docker://{target.host}/b/c:1"
        lamina("copy", "-r", f"oci:{layout}:{NAME}", one)
        assert registry.digest("a", "1") == root["digest"]
        lamina("copy", "-r", one, two)
        assert target.digest("b/c", "1") == root["digest"]
        for digest in (referrer, second):
            assert target.digest("b/c", digest) == digest
        tag = root["digest"].replace(":", "-")
        assert [one["digest"] for one in json.loads(target.manifest("b/c", tag))["manifests"]] == [referrer]
        lamina("copy", "-r", two, "store:kept.test/here:1")
        lamina("copy", "-r", "store:kept.test/here:1", f"oci:{tmp_path}/again:1")
        again = Layout(tmp_path / "again")
        assert {root["digest"], referrer, second} <= again.digests()
        lamina("copy", two, f"oci-archive:{tmp_path}/archive.tar")
        assert Layout(tmp_path / "archive.tar").root_digests() == [root["digest"]]


def test_password(scratch: Path, saved: Callable[..., Path], lamina: Lamina, tmp_path: Path) -> None:
    """Nothing without one, a wrong one is refused and not kept, skopeo reads what login keeps, logout forgets."""
    env = {"DOCKER_CONFIG": f"{tmp_path}/config"}
    with debian_registry(tmp_path / "private", password=True) as private:
        name = f"{private.host}/secret/app:1"
        lamina.load(saved(GONE))
        lamina("tag", GONE, name)
        lamina("push", "-q", name, status=1, env=env)
        lamina("login", "-u", USER, "--password-stdin", private.host, stdin=b"wrong", status=1, env=env)
        assert not (tmp_path / "config/config.json").exists()
        said = lamina("login", "-u", USER, "--password-stdin", private.host, stdin=PASSWORD.encode(), env=env)
        assert "Login Succeeded" in said
        lamina("push", "-q", name, env=env)
        assert lamina("tags", f"{private.host}/secret/app", env=env) == "1\n"
        file = tmp_path / "config/config.json"
        said = output("skopeo", "inspect", "--authfile", str(file), "--tls-verify=false", f"docker://{name}")
        assert json.loads(said)["Name"] == f"{private.host}/secret/app"
        lamina("logout", private.host, env=env)
        lamina("pull", "-q", name, status=1, env=env)


def test_certificates(scratch: Path, saved: Callable[..., Path], lamina: Lamina, other: Lamina, tmp_path: Path) -> None:
    """A registry whose CA nobody knows is refused; with the CA in certs.d it is not."""
    with debian_registry(tmp_path / "tls", tls=True) as secure:
        name = f"{secure.host}/app:1"
        lamina.load(saved(GONE))
        lamina("tag", GONE, name)
        lamina("push", "-q", name, status=1)
        place = tmp_path / "certs.d" / secure.host
        place.mkdir(parents=True)
        assert secure.ca is not None
        (place / "ca.crt").write_bytes(secure.ca.read_bytes())
        env = {"LAMINA_CERTS_D": f"{tmp_path}/certs.d"}
        lamina("push", "-q", name, env=env)
        other("pull", "-q", name, env=env)
        assert image_id(other, name) == image_id(lamina, name)


def test_all_tags_and_mirror(registry: DebianRegistry, scratch: Path, saved: Callable[..., Path], lamina: Lamina,
                             other: Lamina, tmp_path: Path) -> None:
    lamina.load(saved(APP))
    lamina.load(saved(GONE))
    for tag, source in (("1.0", APP), ("1.1", GONE), ("edge", GONE)):
        lamina("tag", source, f"{registry.host}/app:{tag}")
    lamina("push", "-q", "-a", f"{registry.host}/app")
    assert sorted(lamina("tags", f"{registry.host}/app").split()) == ["1.0", "1.1", "edge"]
    other("pull", "-q", "-a", f"{registry.host}/app")
    assert sorted(other("images", "--format", "{{.Tag}}").split()) == ["1.0", "1.1", "edge"]
    with debian_registry(tmp_path / "second") as target:
        plan = tmp_path / "mirror.yml"
        plan.write_text(f"- from: {registry.host}/app\n  to: {target.host}/kept/app\n  tags: ['1.*']\n")
        lamina("mirror", "-q", plan)
        for tag in ("1.0", "1.1"):
            assert target.digest("kept/app", tag) == registry.digest("app", tag)
        assert sorted(lamina("tags", f"{target.host}/kept/app").split()) == ["1.0", "1.1"]
        lamina("tag", APP, f"{registry.host}/app:1.1")
        lamina("push", "-q", f"{registry.host}/app:1.1")
        lamina("mirror", "-q", plan)
        assert target.digest("kept/app", "1.1") == registry.digest("app", "1.1") == registry.digest("app", "1.0")
