"""The nouns of the OCI image specification, and Docker's older names for the same things."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lamina.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True, slots=True)
class Platform:
    """descriptor `platform` (image-index.md); compares by all fields."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is named: media type, digest, size (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict, hash=False, compare=False)
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
