"""Real clients against `lamina serve`, over TLS and with a login: what one pushes the others pull, and the store has it.

helm, which is not in Debian, is left out.  docker takes any certificate on loopback; the others check it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oras.client import OrasClient
from oras.oci import Subject

from interop.contents import Layout
from interop.daemons import Ctr, Docker, Podman
from interop.programs import Lamina, output, run
from interop.registries import PASSWORD
from interop.samples import APP, GONE, SAME, add_referrer, make_platforms
from interop.served import ALICE, BOB, ServedRegistry, served_registry

pytestmark = pytest.mark.interop

GZIP_BY_DOCKER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image_id(lamina: Lamina, name: str) -> str:
    """The id of a stored image."""
    return lamina("inspect", "-f", "{{.Id}}", name).strip()


class Hands:
    """The words that log programs in, and in one directory what they keep of it."""

    def __init__(self, registry: ServedRegistry, directory: Path) -> None:
        self.host, self.trusted = registry.host, registry.trusted
        self.authfile = str(directory / "config.json")
        self.env = {"DOCKER_CONFIG": str(directory), "LAMINA_CERTS_D": str(registry.certificates)}
        self.ways = [f"--authfile={self.authfile}", f"--cert-dir={self.trusted}"]
        self.source, self.target = ([f"--{end}-authfile={self.authfile}", f"--{end}-cert-dir={self.trusted}"]
                                    for end in ("src", "dest"))

    def docker(self, docker: Docker, user: str, *, password: str = PASSWORD, status: int = 0) -> str:
        return docker("login", "-u", user, "--password-stdin", self.host, stdin=password.encode(), status=status, env=self.env)

    def other(self, program: str, user: str = BOB, *, password: str = PASSWORD, status: int = 0) -> bytes:
        """podman, skopeo or buildah."""
        return run(program, "login", *self.ways, "-u", user, "--password-stdin", self.host, stdin=password.encode(),
                   status=status).stderr

    def lamina(self, lamina: Lamina, user: str = BOB) -> None:
        lamina("login", "-u", user, "--password-stdin", self.host, stdin=PASSWORD.encode(), env=self.env)

    def tags(self, repository: str) -> list[str]:
        """As skopeo lists them."""
        said = json.loads(output("skopeo", "list-tags", *self.ways, f"docker://{self.host}/{repository}"))
        return [str(tag) for tag in said["Tags"]]


@pytest.fixture
def hands(secure: ServedRegistry, tmp_path: Path) -> Hands:
    return Hands(secure, tmp_path / "login")


@pytest.fixture
def bob(hands: Hands, secure: ServedRegistry) -> Hands:
    """Logged in as bob, by skopeo; docker, podman, buildah and lamina read what it keeps."""
    hands.other("skopeo")
    return hands


@pytest.fixture
def other(tmp_path: Path) -> Lamina:
    """Another store."""
    return Lamina(tmp_path / "other")


@pytest.fixture
def blank_engine(fresh_engine: Docker) -> Iterator[Docker]:
    """A Docker engine without images, before and after."""
    fresh_engine.clear()
    yield fresh_engine
    fresh_engine.clear()


@pytest.fixture
def blank_podman(podman: Podman) -> Iterator[Podman]:
    podman.clear()
    yield podman
    podman.clear()


def test_docker(secure: ServedRegistry, hands: Hands, engine: Docker, blank_engine: Docker, tmp_path: Path) -> None:
    """Push by one engine, list and save by lamina on the same store, pull by another engine."""
    name = f"{secure.host}/by-docker/app:1"
    assert "Login Succeeded" in hands.docker(engine, BOB)
    engine("tag", APP, name)
    try:
        pushed = engine("push", name, env=hands.env)
        assert "Layer already exists" in engine("push", name, env=hands.env)
        assert f"1: digest: {secure.digest('by-docker/app', '1')} size: " in pushed
    finally:
        engine("rmi", name)
    document = json.loads(secure.manifest("by-docker/app", "1"))
    assert {each["mediaType"] for each in document["layers"]} == {GZIP_BY_DOCKER}
    assert secure.lamina("images", "--digests", "--no-trunc", "--format", "{{.Digest}} {{.ID}}", "by-docker/app:1") == (
        f"{secure.digest('by-docker/app', '1')} {engine.id(APP)}\n")
    blank_engine("pull", "-q", name, env=hands.env)
    assert blank_engine.id(name) == engine.id(APP)
    blank_engine.clear()
    blank_engine.load(secure.lamina.save(tmp_path / "ours.tar", "by-docker/app:1"))
    assert blank_engine.id("by-docker/app:1") == engine.id(APP)


def test_podman(secure: ServedRegistry, hands: Hands, saved: Callable[..., Path], blank_podman: Podman) -> None:
    name = f"{secure.host}/by-podman/gone:1"
    assert b"Error" not in hands.other("podman")
    blank_podman.load(saved(GONE))
    theirs = blank_podman.id(GONE)
    blank_podman("push", "-q", *hands.ways, GONE, f"docker://{name}")
    assert secure.config("by-podman/gone", "1") == theirs == image_id(secure.lamina, "by-podman/gone:1")
    listed = blank_podman("search", "--list-tags", f"--authfile={hands.authfile}", "--tls-verify=false", name[:-2])
    assert [line.split() for line in listed.splitlines()] == [["NAME", "TAG"], [name[:-2], "1"]]
    blank_podman.clear()
    blank_podman("pull", "-q", *hands.ways, name)
    assert blank_podman.id(name) == theirs


def test_buildah(secure: ServedRegistry, hands: Hands, saved: Callable[..., Path], blank_podman: Podman) -> None:
    first, second = (f"{secure.host}/by-buildah/same:{number}" for number in (1, 2))
    hands.other("buildah")
    blank_podman.load(saved(SAME))
    theirs = blank_podman.id(SAME)
    run("buildah", *blank_podman.storage, "push", "-q", *hands.ways, SAME, f"docker://{first}")
    blank_podman.clear()
    run("buildah", *blank_podman.storage, "pull", "-q", *hands.ways, first)
    assert blank_podman.id(first) == theirs
    run("buildah", *blank_podman.storage, "push", "-q", *hands.ways, first, f"docker://{second}")
    assert hands.tags("by-buildah/same") == ["1", "2"]
    assert image_id(secure.lamina, "by-buildah/same:2") == theirs


def test_containerd(secure: ServedRegistry, saved: Callable[..., Path], containerd: Ctr, tmp_path: Path) -> None:
    name = f"{secure.host}/by-containerd/gone:1"
    # Its --tlscacert does not make it speak TLS on loopback, a file of hosts does.
    hosts = tmp_path / secure.host / "hosts.toml"
    hosts.parent.mkdir()
    hosts.write_text(f'[host."{secure.url}"]\nca = "{secure.ca}"\n')
    ways = ["--user", f"{BOB}:{PASSWORD}", "--hosts-dir", tmp_path]
    containerd.clear()
    try:
        containerd("images", "import", "--no-unpack", saved(GONE))
        containerd("images", "tag", GONE, name)
        digest = containerd.images()[name]
        containerd("images", "push", *ways, name)
        assert secure.digest("by-containerd/gone", "1") == digest
        containerd.clear()
        containerd("images", "pull", *ways, name)
        assert containerd.images() == {name: digest}
        assert containerd.config_digests() == {name: image_id(secure.lamina, "by-containerd/gone:1")}
    finally:
        containerd.clear()


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_skopeo(secure: ServedRegistry, bob: Hands, saved: Callable[..., Path], other: Lamina, tmp_path: Path,
                form: str) -> None:
    """Not one digest changes on the way there and back, or out of the store; what is deleted is gone at once."""
    name, first, back = f"docker://{secure.host}/by-skopeo/{form}:1", tmp_path / "first", tmp_path / "back"
    if form == "plain":
        other.load(saved(APP))
        other("save", "-q", "--format", "oci-dir", "-o", first, APP)
    else:
        run("skopeo", "copy", "--dest-compress-format", form, f"docker-archive:{saved(APP)}", f"oci:{first}")
    ending = {"plain": "tar", "gzip": "tar+gzip", "zstd": "tar+zstd"}[form]
    assert Layout(first).layer_types() == {f"application/vnd.oci.image.layer.v1.{ending}"}
    run("skopeo", "copy", "--preserve-digests", *bob.target, f"oci:{first}", name)
    run("skopeo", "copy", "--preserve-digests", *bob.source, name, f"oci:{back}")
    assert Layout(back).digests() == Layout(first).digests()
    [digest] = Layout(first).root_digests()
    assert json.loads(output("skopeo", "inspect", *bob.ways, name))["Digest"] == digest
    ours = secure.lamina.save(tmp_path / "ours.tar", "--format", "oci-archive", f"by-skopeo/{form}:1")
    assert Layout(ours).digests() == Layout(first).digests()
    assert bob.tags(f"by-skopeo/{form}") == ["1"]
    run("skopeo", "delete", *bob.ways, name)
    run("skopeo", "inspect", *bob.ways, name, status=1)
    assert bob.tags(f"by-skopeo/{form}") == []
    assert secure.lamina("images", "-q", f"by-skopeo/{form}") == ""


def test_every_platform(secure: ServedRegistry, bob: Hands, blank_podman: Podman, blank_engine: Docker, tmp_path: Path) -> None:
    """An index by skopeo, one by podman; docker takes its own platform out of it."""
    layout, name = make_platforms(tmp_path, "example.test/both:1"), f"{secure.host}/both/skopeo:1"
    run("skopeo", "copy", "--all", "--preserve-digests", *bob.target, f"oci:{layout}", f"docker://{name}")
    [root] = Layout(layout).root_digests()
    assert secure.digest("both/skopeo", "1") == root
    run("skopeo", "copy", "--all", "--preserve-digests", *bob.source, f"docker://{name}", f"oci:{tmp_path}/back:1")
    assert Layout(tmp_path / "back").digests() == Layout(layout).digests()
    blank_engine("pull", "-q", name, env=bob.env)
    assert blank_engine("image", "inspect", "-f", "{{.Architecture}}", name) == "amd64\n"
    for architecture in ("amd64", "arm64"):
        blank_podman("pull", "-q", *bob.ways, f"--arch={architecture}", name)
        assert blank_podman("image", "inspect", "-f", "{{.Architecture}}", name) == f"{architecture}\n"
    blank_podman("manifest", "create", "both")
    blank_podman("manifest", "add", "--all", *bob.ways, "both", f"docker://{name}")
    blank_podman("manifest", "push", "-q", "--all", *bob.ways, "both", f"docker://{secure.host}/both/podman:1")
    index = json.loads(secure.manifest("both/podman", "1"))
    assert {each["platform"]["architecture"] for each in index["manifests"]} == {"amd64", "arm64"}
    assert "both/podman" in secure.lamina("images", "--format", "{{.Repository}}")


def test_oras(secure: ServedRegistry, hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, in chunks too, and artifacts about them."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")  # its login asks an engine first, if there is one
    client = OrasClient(hostname=secure.host, tls_verify=str(secure.ca), auth_backend="basic")
    client.login(BOB, PASSWORD, hostname=secure.host, config_path=hands.authfile, tls_verify=str(secure.ca))
    file = tmp_path / "report.txt"
    file.write_bytes(bytes(range(256)) * 1000)
    name = f"{secure.host}/by-oras/report"
    ways = {"disable_path_validation": True, "quiet": True, "config_path": hands.authfile}
    pushed = client.push(f"{name}:1", files=[f"{file}:text/plain"], do_chunked=True, chunk_size=100_000, **ways)
    assert pushed.status_code == 201
    digest, document = secure.digest("by-oras/report", "1"), secure.manifest("by-oras/report", "1")
    subject = Subject(MANIFEST, digest, len(document))
    client.push(f"{name}:about", files=[f"{file}:application/example.sbom"], subject=subject, **ways)
    referrers = client.do_request(f"https://{secure.host}/v2/by-oras/report/referrers/{digest}").json()
    assert [each["digest"] for each in referrers["manifests"]] == [secure.digest("by-oras/report", "about")]
    assert client.get_tags(name) == ["1", "about"]
    [back] = client.pull(f"{name}:1", outdir=str(tmp_path / "back"), config_path=hands.authfile)
    assert Path(back).read_bytes() == file.read_bytes()
    kept = secure.lamina.save(tmp_path / "kept.tar", "--format", "oci-archive", "by-oras/report:1")
    assert Layout(kept).root_digests() == [digest]
    assert client.delete_tags(name, "about") == ["about"]
    assert client.get_tags(name) == ["1"]
    client.session.close()


def test_lamina(secure: ServedRegistry, hands: Hands, saved: Callable[..., Path], other: Lamina, tmp_path: Path) -> None:
    """push, pull, copy and mirror, by another store."""
    name = f"{secure.host}/by-lamina/app:1"
    other.load(saved(APP))
    other("tag", APP, name)
    hands.lamina(other)
    said = other("push", name, env=hands.env)
    assert f"1: digest: {other('images', '--digests', '--format', '{{.Digest}}', name).strip()} size: " in said
    assert image_id(secure.lamina, "by-lamina/app:1") == image_id(other, name)
    third = Lamina(tmp_path / "third")
    assert third("pull", "-q", name, env=hands.env) == f"{name}\n"
    assert image_id(third, name) == image_id(other, name)
    other("copy", "-q", f"docker://{name}", f"docker://{secure.host}/by-lamina/copy:2", env=hands.env)
    plan = tmp_path / "mirror.yml"
    plan.write_text(f"- from: {secure.host}/by-lamina/copy\n  to: {secure.host}/by-lamina/mirror\n")
    other("mirror", "-q", plan, env=hands.env)
    assert other("tags", f"{secure.host}/by-lamina/mirror", env=hands.env) == "2\n"
    assert secure.manifest("by-lamina/mirror", "2") == secure.manifest("by-lamina/app", "1")


def test_what_refers_to_an_image_goes_along(secure: ServedRegistry, bob: Hands, other: Lamina, tmp_path: Path) -> None:
    """By the referrers API: no tag of the fall-back scheme appears."""
    layout = make_platforms(tmp_path, "example.test/both:1")
    [root] = Layout(layout).roots
    referrer = add_referrer(layout, root, "application/example.sbom")
    other("copy", "-r", f"oci:{layout}:example.test/both:1", f"docker://{secure.host}/about:1", env=bob.env)
    assert bob.tags("about") == ["1"]
    assert secure.digest("about", referrer) == referrer
    other("copy", "-r", f"docker://{secure.host}/about:1", f"oci:{tmp_path}/back:1", env=bob.env)
    assert {root["digest"], referrer} <= Layout(tmp_path / "back").digests()


def test_a_store_is_served_as_it_is(served: ServedRegistry, saved: Callable[..., Path], engine: Docker,
                                    blank_engine: Docker) -> None:
    """What is loaded beside the server can be pulled at once; what is removed and collected cannot, and takes nothing along."""
    served.lamina.load(saved(APP))
    served.lamina("tag", APP, "here:1")
    for name in (f"{served.host}/{APP}", f"{served.host}/here:1"):
        blank_engine("pull", "-q", name)
        assert blank_engine.id(name) == engine.id(APP)
    blank_engine("tag", f"{served.host}/here:1", f"{served.host}/kept:1")
    blank_engine("push", "-q", f"{served.host}/kept:1")
    served.lamina("rmi", APP, "here:1")
    served.lamina("gc", "--max-unused", "0")
    blank_engine.clear()
    blank_engine("pull", "-q", f"{served.host}/here:1", status=1)
    blank_engine("pull", "-q", f"{served.host}/kept:1")
    assert blank_engine.id(f"{served.host}/kept:1") == engine.id(APP)
    served.lamina("verify", "-q")


def test_nothing_without_the_password(secure: ServedRegistry, hands: Hands, engine: Docker) -> None:
    name = f"docker://{secure.host}/nothing:1"
    hands.docker(engine, BOB, password="wrong", status=1)
    hands.docker(engine, "nobody", status=1)
    assert b"invalid username/password" in hands.other("podman", password="wrong", status=125)
    assert b"authentication required" in run("skopeo", "inspect", *hands.ways, name, status=1).stderr
    said = run(*secure.lamina.words, "pull", f"{secure.host}/nothing:1", env=hands.env, status=1).stderr
    assert b"asks for a login" in said
    run("curl", "-sSf", "--cacert", str(secure.ca), secure.base, status=22)


def test_rights(secure: ServedRegistry, bob: Hands, engine: Docker, saved: Callable[..., Path], tmp_path: Path) -> None:
    """Alice pulls what bob pushed, and neither pushes nor deletes."""
    name = f"{secure.host}/rights/gone:1"
    run("skopeo", "copy", *bob.target, f"docker-archive:{saved(GONE)}", f"docker://{name}")
    digest = secure.digest("rights/gone", "1")
    alice = Hands(secure, tmp_path / "alice")
    alice.docker(engine, ALICE)
    run("skopeo", "copy", *alice.source, f"docker://{name}", f"dir:{tmp_path}/pulled")
    engine("tag", GONE, name)
    try:
        engine("push", "-q", name, env=alice.env, status=1)
    finally:
        engine("rmi", name)
    said = run("skopeo", "copy", *alice.target, f"docker-archive:{saved(APP)}", f"docker://{name}", status=1).stderr
    assert b"denied" in said
    said = run("skopeo", "delete", *alice.ways, f"docker://{name}", status=1).stderr
    assert b"DENIED" in said
    assert alice.tags("rights/gone") == ["1"]
    assert secure.digest("rights/gone", "1") == digest


def test_read_only(served: ServedRegistry, saved: Callable[..., Path], scratch: Path, tmp_path: Path) -> None:
    """Two servers on one store: what is pushed to the one is pulled from the other, which refuses pushes."""
    ways = ("--src-tls-verify=false", "--dest-tls-verify=false")
    with served_registry(tmp_path / "second", "--read-only", store=Path(served.lamina.words[-1])) as second:
        run("skopeo", "copy", *ways, f"docker-archive:{saved(GONE)}", f"docker://{served.host}/gone:1")
        assert second.manifest("gone", "1") == served.manifest("gone", "1")
        run("skopeo", "copy", *ways, f"docker://{second.host}/gone:1", f"dir:{tmp_path}/pulled")
        run("skopeo", "copy", *ways, f"dir:{tmp_path}/pulled", f"docker://{second.host}/again:1", status=1)
        run("skopeo", "delete", "--tls-verify=false", f"docker://{second.host}/gone:1", status=1)
        assert served.lamina("images", "--format", "{{.Repository}}") == "gone\n"
