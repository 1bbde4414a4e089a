"""OCI layouts as other programs write them: every blob and manifest keeps its digest, there and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.contents import Layout, sha256
from interop.daemons import Ctr, Docker, Podman
from interop.programs import Lamina, output, run
from interop.samples import APP, GONE, make_platforms

pytestmark = pytest.mark.interop

GZIP = {"application/vnd.oci.image.layer.v1.tar+gzip"}
ZSTD = {"application/vnd.oci.image.layer.v1.tar+zstd"}
NAME = "example.test/written:1"


class Writers:
    """Programs that write the image of an archive of docker's as a layout, under NAME; each gives the place."""

    def __init__(self, archive: Path, directory: Path, podman: Podman) -> None:
        self.archive, self.directory, self.podman = archive, directory, podman

    def _skopeo(self, target: str, *options: str) -> None:
        run("skopeo", "copy", *options, f"docker-archive:{self.archive}", f"{target}:{NAME}")

    def skopeo_oci(self) -> Path:
        self._skopeo(f"oci:{self.directory}/layout")
        return self.directory / "layout"

    def skopeo_zstd(self) -> Path:
        self._skopeo(f"oci:{self.directory}/layout", "--dest-compress-format", "zstd")
        return self.directory / "layout"

    def skopeo_archive(self) -> Path:
        self._skopeo(f"oci-archive:{self.directory}/layout.tar")
        return self.directory / "layout.tar"

    def podman_archive(self) -> Path:
        return self._podman("oci-archive", "layout.tar")

    def podman_directory(self) -> Path:
        return self._podman("oci-dir", "layout")

    def _podman(self, form: str, name: str) -> Path:
        self._pull()
        self.podman("save", "-q", "--format", form, "-o", self.directory / name, NAME)
        return self.directory / name

    def buildah_archive(self) -> Path:
        self._pull()
        run("buildah", *self.podman.storage, "push", "-q", NAME, f"oci-archive:{self.directory}/layout.tar:{NAME}")
        return self.directory / "layout.tar"

    def _pull(self) -> None:
        self.podman.clear()
        [line] = self.podman.load(self.archive).splitlines()
        self.podman("tag", line.partition(": ")[2], NAME)

    def umoci(self) -> Path:
        """An image from nothing, of two layers, the second with a removal."""
        layout, tree = self.directory / "layout", self.directory / "tree"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/name").write_text("umoci")
        place = f"{layout}:{NAME.rpartition(':')[2]}"
        run("umoci", "init", "--layout", layout)
        run("umoci", "new", "--image", place)
        run("umoci", "insert", "--image", place, tree, "/")
        run("umoci", "insert", "--image", place, "--whiteout", "/etc/name")
        run("umoci", "config", "--image", place, "--config.env", "A=b", "--config.label", "from=umoci", "--author", "nobody")
        return layout


# Writer -> media types of its layers.
WRITERS = {"skopeo_oci": GZIP, "skopeo_zstd": ZSTD, "skopeo_archive": GZIP, "podman_archive": None,
           "podman_directory": None, "buildah_archive": None, "umoci": GZIP}


@pytest.fixture(scope="module", params=WRITERS)
def written(request: pytest.FixtureRequest, saved: Callable[..., Path], podman: Podman,
            tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout by one of the writers."""
    writers = Writers(saved(GONE), tmp_path_factory.mktemp(request.param), podman)
    path: Path = getattr(writers, request.param)()
    expected = WRITERS[request.param]
    assert expected is None or Layout(path).layer_types() == expected
    return path


@pytest.fixture(scope="module")
def store(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Lamina:
    """A store of that layout."""
    lamina = Lamina(tmp_path_factory.mktemp("oci") / "store")
    lamina.load(written)
    return lamina


def skopeo_digest(place: str, work: Path) -> str:
    """Digest of the manifest that skopeo copies from a place, unchanged."""
    run("skopeo", "copy", "--preserve-digests", "--all", place, f"dir:{work}")
    return sha256((work / "manifest.json").read_bytes())


def image_id(lamina: Lamina) -> str:
    """The id of the only image of a store."""
    [found] = set(lamina("images", "-q", "--no-trunc").split())
    return found


@pytest.mark.parametrize(("form", "transport"), [("oci-archive", "oci-archive"), ("oci-dir", "oci")])
def test_digests_survive(written: Path, store: Lamina, tmp_path: Path, form: str, transport: str) -> None:
    again = store.save(tmp_path / "again", "--format", form, image_id(store))
    before, after = Layout(written), Layout(again)
    assert after.root_digests() == before.root_digests()
    assert after.digests() == before.digests()
    was = "oci" if written.is_dir() else "oci-archive"
    assert skopeo_digest(f"{transport}:{again}", tmp_path / "after") == skopeo_digest(f"{was}:{written}", tmp_path / "before")


def test_digest_is_shown(written: Path, store: Lamina) -> None:
    [digest] = Layout(written).root_digests()
    store("tag", image_id(store), NAME)
    assert store("images", "--digests", "--format", "{{.Digest}}", NAME) == f"{digest}\n"
    assert image_id(store) == Layout(written).config_digests()[0]


def test_podman_and_ctr_take_the_layout(store: Lamina, podman: Podman, containerd: Ctr, tmp_path: Path) -> None:
    store("tag", image_id(store), NAME)
    again = store.save(tmp_path / "again", "--format", "oci-archive", NAME)
    podman.clear()
    podman.load(again)
    containerd("images", "import", again)
    try:
        assert podman.id(NAME) == image_id(store)
        assert list(containerd.images().values()) == Layout(again).root_digests()
    finally:
        podman.clear()
        containerd.clear()


def test_all_take_it_as_a_docker_archive(store: Lamina, fresh_engine: Docker, podman: Podman, containerd: Ctr,
                                         tmp_path: Path) -> None:
    store("tag", image_id(store), NAME)
    again = store.save(tmp_path / "again", NAME)
    fresh_engine.clear()
    podman.clear()
    try:
        fresh_engine.load(again)
        podman.load(again)
        containerd("images", "import", again)
        run("skopeo", "copy", f"docker-archive:{again}:{NAME}", f"dir:{tmp_path}/dir")
        copied = json.loads((tmp_path / "dir/manifest.json").read_bytes())["config"]["digest"]
        ids = [fresh_engine.id(NAME), podman.id(NAME), containerd.config_digests()[NAME], copied]
        assert ids == [image_id(store)] * 4
    finally:
        fresh_engine.clear()
        podman.clear()
        containerd.clear()


def test_names(saved: Callable[..., Path], lamina: Lamina, tmp_path: Path) -> None:
    """Two images in a layout; what Lamina writes is found by the tag alone, as in layouts of docker and containerd."""
    for name, archive in (("one.test/a:1", saved(APP)), ("two.test/b:2", saved(GONE))):
        run("skopeo", "copy", f"docker-archive:{archive}", f"oci:{tmp_path}/layout:{name}")
    assert sorted(lamina.load(tmp_path / "layout").splitlines()) == ["Loaded image: one.test/a:1", "Loaded image: two.test/b:2"]
    again = lamina.save(tmp_path / "again.tar", "--format", "oci-archive", "one.test/a:1", "two.test/b:2")
    assert Layout(again).digests() == Layout(tmp_path / "layout").digests()
    for name, tag in (("one.test/a:1", "1"), ("two.test/b:2", "2")):
        assert output("skopeo", "inspect", "--raw", f"oci-archive:{again}:{tag}") == output(
            "skopeo", "inspect", "--raw", f"oci:{tmp_path}/layout:{name}")


@pytest.fixture(scope="module")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of one index of two platforms."""
    return make_platforms(tmp_path_factory.mktemp("platforms"), NAME)


def test_index_keeps_its_digest(platforms: Path, lamina: Lamina, tmp_path: Path) -> None:
    lamina.load(platforms)
    again = lamina.save(tmp_path / "again.tar", "--format", "oci-archive", NAME)
    assert Layout(again).digests() == Layout(platforms).digests()
    before, after = (skopeo_digest(place, tmp_path / name) for place, name in
                     ((f"oci:{platforms}:{NAME}", "before"), (f"oci-archive:{again}:1", "after")))
    assert before == after == Layout(platforms).root_digests()[0]


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_platform_of_an_index(platforms: Path, lamina: Lamina, tmp_path: Path, architecture: str) -> None:
    [wanted] = [one for one in Layout(platforms).manifests()
                if json.loads(Layout(platforms).blob(one["config"]))["architecture"] == architecture]
    lamina.load(platforms)
    again = lamina.save(tmp_path / "again.tar", "--platform", f"linux/{architecture}", NAME)
    run("skopeo", "copy", f"docker-archive:{again}:{NAME}", f"dir:{tmp_path}/dir")
    assert json.loads((tmp_path / "dir/manifest.json").read_bytes())["config"]["digest"] == wanted["config"]["digest"]


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_load_of_one_platform(platforms: Path, lamina: Lamina, tmp_path: Path, architecture: str) -> None:
    lamina.load(platforms, "--platform", f"linux/{architecture}")
    assert lamina("inspect", "-f", "{{.Os}}/{{.Architecture}}", image_id(lamina)) == f"linux/{architecture}\n"
    again = lamina.save(tmp_path / "again.tar", "--format", "oci-archive", "--platform", f"linux/{architecture}", NAME)
    said = json.loads(output("skopeo", "inspect", "--config", "--override-arch", architecture, f"oci-archive:{again}"))
    assert said["architecture"] == architecture
