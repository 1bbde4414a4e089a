"""The same contract over Debian's docker-registry, and what it does of its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from contracts.samples import FailingReader, config_bytes, describe, index_bytes, manifest_bytes, put, put_image
from contracts.target import TargetContract, content

from lamina.content import Target
from lamina.content.verify import BytesReader, read_all
from lamina.errors import LaminaError, Unauthorized
from lamina.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from lamina.reference import Reference
from lamina.registry.target import RegistryTarget
from registry.debian import DockerRegistry, docker_registry
from registry.kit import Journal, Keys, target_of

pytestmark = pytest.mark.interop

BIG = random.Random(7).randbytes(40 << 20)
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("docker-registry")) as found:
        yield found


@pytest.fixture
def name() -> Reference:
    """A repository that nobody has used."""
    return Reference("registry.test", f"some/repo{next(_NUMBERS)}")


class TestDockerRegistry(TargetContract):
    names = ("1", "latest")
    manifest_before_blobs = False

    @pytest.fixture
    def target(self, registry: DockerRegistry, name: Reference) -> Iterator[RegistryTarget]:
        self.names = tuple(f"{name.name}:{tag}" for tag in ("1", "latest"))
        with target_of(registry, name=name, uploads=Journal()) as target:
            yield target

    def test_index_may_name_what_is_not_there(self, target: Target) -> None:
        """This one wants all that an index names."""
        here, elsewhere = put_image(target, b"here"), describe(b"elsewhere", OCI_MANIFEST)
        with pytest.raises(LaminaError, match="MANIFEST_BLOB_UNKNOWN"):
            put(target, index_bytes([here, elsewhere]), OCI_INDEX)


def test_a_layer_in_pieces(registry: DockerRegistry, name: Reference) -> None:
    with target_of(registry, name=name) as target:
        blob = put(target, BIG)
        assert content(target, blob) == BIG
        reader = target.fetch(blob)
        reader.start_at(5_000_000)  # type: ignore[attr-defined]
        assert read_all(reader, len(BIG)) == BIG[5_000_000:]
        reader.close()
        assert len([line for line in registry.asked("PATCH") if name.path in line]) == 3


def test_a_push_that_was_interrupted_goes_on(registry: DockerRegistry, name: Reference) -> None:
    uploads, blob = Journal(), describe(BIG)
    with target_of(registry, name=name, uploads=uploads) as target, pytest.raises(OSError, match="cable"):
        target.push(blob, FailingReader(BIG))
    assert uploads.log[-1]["offset"] == 16 << 20
    with target_of(registry, name=name, uploads=uploads) as target:
        target.push(blob, BytesReader(BIG))
        assert content(target, blob) == BIG
    assert len([line for line in registry.asked("PATCH") if name.path in line]) == 3
    assert not uploads.entries


def test_a_blob_is_mounted(registry: DockerRegistry, name: Reference) -> None:
    other = Reference(name.domain, f"{name.path}/other")
    with target_of(registry, name=other) as target:
        blob = put(target, BIG[:1000])
    with target_of(registry, name=name) as target:
        assert not target.exists(blob)
        target.mount_from = lambda digest: [other.path]
        assert target.exists(blob)
        assert content(target, blob) == BIG[:1000]


def test_referrers_by_their_tag(registry: DockerRegistry, name: Reference) -> None:
    """It has no referrers API."""
    with target_of(registry, name=name) as target:
        image = put_image(target, b"layer")
        config = put(target, config_bytes([]), OCI_CONFIG)
        given = [put(target, manifest_bytes(config, [], subject=image.to_json(), artifactType=f"x/{kind}"), OCI_MANIFEST)
                 for kind in ("sbom", "signature")]
        assert [one.digest for one in target.referrers(image)] == [one.digest for one in given]
        assert [one.digest for one in target.referrers(image, "x/sbom")] == [given[0].digest]


def test_many_tags(registry: DockerRegistry, name: Reference) -> None:
    with target_of(registry, name=name) as target:
        image = put_image(target, b"layer")
        for number in range(30):
            target.tag(image, f"v{number:02}")
        assert sorted(target.tags()) == [f"v{number:02}" for number in range(30)]


def test_a_password(registry: DockerRegistry, name: Reference, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("with-password")
    # user:secret, by bcrypt of cost 4.
    (directory / "htpasswd").write_text("user:$2y$04$m4wKbIqjjbDY3nXVUX1gh.OVeUZ7ri0NTRNsrcxgrEkogBKRjE4m2\n")
    with docker_registry(directory, auth={"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}) as closed:
        with target_of(closed, name=name) as target, pytest.raises(Unauthorized):
            target.resolve("latest")
        with target_of(closed, name=name, keys=Keys("user", "secret")) as target:
            assert content(target, put(target, BIG)) == BIG
        with target_of(closed, name=name, keys=Keys("user", "wrong")) as target, pytest.raises(Unauthorized):
            target.resolve("latest")
