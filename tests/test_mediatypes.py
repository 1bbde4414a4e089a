"""Media types, OCI's and Docker's."""

from __future__ import annotations

import pytest

from lamina import mediatypes as mt

OCI = "application/vnd.oci.image.layer.v1.tar"
OCI_FAR = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FAR = "application/vnd.docker.image.rootfs.foreign.diff.tar"


@pytest.mark.parametrize("base", [OCI, OCI_FAR, DOCKER, DOCKER_FAR])
@pytest.mark.parametrize(("suffix", "compression"), [
    ("", ""), ("+gzip", "gzip"), ("+zstd", "zstd"), (".gzip", "gzip"), (".zstd", "zstd"),
    ("+encrypted", None), ("+gzip+encrypted", None), ("+zstd+encrypted", None), ("+lz4", None),
])
def test_layers(base: str, suffix: str, compression: str | None) -> None:
    assert mt.is_layer(base + suffix)
    assert mt.layer_compression(base + suffix) == compression
    assert mt.is_nondistributable(base + suffix) == (base in (OCI_FAR, DOCKER_FAR))


@pytest.mark.parametrize("media_type", [
    "", "text/plain", OCI + "gzip", OCI + "+", OCI + "\n", "x" + OCI, OCI[:-1], mt.OCI_CONFIG, mt.OCI_MANIFEST,
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/vnd.in-toto+json",
])
def test_no_layers(media_type: str) -> None:
    assert not mt.is_layer(media_type)
    assert not mt.is_nondistributable(media_type)
    assert mt.layer_compression(media_type) is None


def test_documents() -> None:
    every = (mt.OCI_MANIFEST, mt.DOCKER_MANIFEST, mt.OCI_INDEX, mt.DOCKER_LIST, mt.OCI_CONFIG, mt.DOCKER_CONFIG,
             mt.OCI_EMPTY, OCI, DOCKER, "")
    assert [one for one in every if mt.is_manifest(one)] == [mt.OCI_MANIFEST, mt.DOCKER_MANIFEST]
    assert [one for one in every if mt.is_index(one)] == [mt.OCI_INDEX, mt.DOCKER_LIST]
    assert [one for one in every if mt.is_config(one)] == [mt.OCI_CONFIG, mt.DOCKER_CONFIG]
    assert not any(mt.is_schema1(one) for one in every)
    for end in ("json", "prettyjws"):
        assert mt.is_schema1(f"application/vnd.docker.distribution.manifest.v1+{end}")
