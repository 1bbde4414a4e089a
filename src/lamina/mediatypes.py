"""Media types of images: OCI's, and Docker's older names for the same things (media-types.md)."""

from __future__ import annotations

import re

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

SCHEMA1_HINT = "schema 1 is obsolete; push or save the image again with a current tool"

_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"
# Suffixes are joined by '+' in OCI's types and by '.' in Docker's; writers are known to mix the two.
_LAYER = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(nondistributable\.)?v1\.tar"
    r"|docker\.image\.rootfs\.(foreign\.)?diff\.tar)((?:[.+][a-z0-9-]+)*)"
)
_COMPRESSIONS = {"": "", "gzip": "gzip", "zstd": "zstd"}


def is_manifest(media_type: str) -> bool:
    """A manifest of one image or artifact (schema 2)."""
    return media_type in (OCI_MANIFEST, DOCKER_MANIFEST)


def is_index(media_type: str) -> bool:
    """An index of manifests; Docker's manifest list."""
    return media_type in (OCI_INDEX, DOCKER_LIST)


def is_schema1(media_type: str) -> bool:
    """Docker's first, signed form of manifest, which Lamina refuses."""
    return media_type.startswith(_SCHEMA1)


def is_config(media_type: str) -> bool:
    """The config of a runnable image."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)


def is_layer(media_type: str) -> bool:
    """A tar of file changes, however compressed or encrypted."""
    return _LAYER.fullmatch(media_type) is not None


def is_nondistributable(media_type: str) -> bool:
    """A layer that may lie elsewhere only (OCI's nondistributable, Docker's foreign)."""
    found = _LAYER.fullmatch(media_type)
    return found is not None and bool(found[1] or found[2])


def layer_compression(media_type: str) -> str | None:
    """'' for a plain tar, 'gzip', 'zstd'; None for what is encrypted, unknown, or no layer at all."""
    found = _LAYER.fullmatch(media_type)
    return None if found is None else _COMPRESSIONS.get(found[3][1:])
