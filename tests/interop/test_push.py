"""Pushes to Debian's docker-registry: skopeo and podman take what comes out, and a kill costs next to nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from images.archives import Built, docker_archive, layer, oci_archive, sha256, tar_of
from registry.debian import DockerRegistry, docker_registry

import lamina
from lamina.images import ImageStore

from .daemons import Podman
from .programs import output, run

pytestmark = pytest.mark.interop

PIECE = 16 << 20
SMALL = Built(layer(a="a" * 50_000), layer(b="b" * 1000), Cmd=["/bin/true"])
LARGE = Built(tar_of({"noise": random.Random(5).randbytes(60 << 20)}))

# A process that is killed by the very call that notes where an upload is, once it is past the middle.
KILLED = """
import os, signal, sys
import lamina
from lamina.store.uploads import UploadJournal
put = UploadJournal.put
def noted(self, key, value):
    put(self, key, value)
    if value["offset"] >= 30 << 20:
        os.kill(os.getpid(), signal.SIGKILL)
UploadJournal.put = noted
with lamina.open(sys.argv[1]) as store:
    store.push([sys.argv[2]])
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("docker-registry")) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with lamina.open(tmp_path / "store") as opened:
        yield opened


def pushed(store: ImageStore, name: str, **options: str) -> str:
    (result,) = store.push([name], **options)  # type: ignore[arg-type]
    if result.error is not None:
        raise result.error
    return result.digest


@pytest.mark.parametrize("compression", ["gzip", "gzip:3", "zstd", "none"])
def test_skopeo_and_podman_take_it(
        store: ImageStore, registry: DockerRegistry, podman: Podman, tmp_path: Path, compression: str) -> None:
    name = f"{registry.host}/small-{compression.replace(':', '-')}:1"
    store.load(docker_archive((SMALL, [name])))
    digest = pushed(store, name, compression=compression)
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout
    assert sha256(raw) == digest and json.loads(raw)["config"]["digest"] == SMALL.id
    back_path = tmp_path / "back.tar"
    run("skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", f"docker://{name}", f"oci-archive:{back_path}:back")
    (back,) = store.load(back_path).loaded
    assert (back.image_id, back.digest) == (SMALL.id, digest)
    podman("pull", "-q", "--tls-verify=false", name)
    assert podman.id(name) == SMALL.id
    assert pushed(store, name, compression=compression) == digest
    # What we push is what we pull.
    assert store.inspect([f"{registry.host}/{name.partition('/')[2].partition(':')[0]}@{digest}"])[0]["Id"] == SMALL.id
    with lamina.open(tmp_path / "other") as other:
        (result,) = other.pull([name])
        assert (result.digest, result.image_id, result.error) == (digest, SMALL.id, None)


def test_an_index_keeps_its_digest(store: ImageStore, registry: DockerRegistry) -> None:
    arm = Built(layer(arm="x" * 700), architecture="arm64")
    name = f"{registry.host}/multi:1"
    store.load(oci_archive(SMALL, arm, name=name))
    digest = pushed(store, name)
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout
    assert sha256(raw) == digest
    assert output("skopeo", "inspect", "--tls-verify=false", "--override-arch=arm64", "--format={{.Architecture}}",
                  f"docker://{name}").strip() == "arm64"


def test_blobs_are_mounted_from_another_repository(store: ImageStore, registry: DockerRegistry) -> None:
    first, second = f"{registry.host}/mounts/one:1", f"{registry.host}/mounts/two:1"
    store.load(docker_archive((SMALL, [first, second])))
    pushed(store, first)
    (result,) = store.push([second])
    assert result.error is None and result.sent == 0


def test_a_killed_push_goes_on_in_the_middle(store: ImageStore, registry: DockerRegistry, tmp_path: Path) -> None:
    name = f"{registry.host}/large:1"
    store.load(docker_archive((LARGE, [name])))
    end = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "store"), name], check=False, env=os.environ)
    assert end.returncode == -signal.SIGKILL
    before = len(registry.asked("PATCH"))
    assert before == 2
    (result,) = store.push([name])
    assert result.error is None
    patches = -(-result.sent // PIECE)
    assert len(registry.asked("PATCH")) <= patches + 1
    with lamina.open(tmp_path / "other") as other:
        (pulled,) = other.pull([name])
        assert pulled.error is None and pulled.image_id == LARGE.id
