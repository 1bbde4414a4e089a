"""Small content for tests: blobs, manifests and indexes in memory, and readers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lamina.content import Target
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def describe(data: bytes, media_type: str = OCI_LAYER, algorithm: str = "sha256") -> Descriptor:
    """The descriptor of bytes."""
    return Descriptor(media_type, Digest.of(data, algorithm), len(data))


def put(target: Target, data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
    """Push bytes; what they are called from now on."""
    descriptor = describe(data, media_type)
    target.push(descriptor, BytesReader(data))
    return descriptor


def config_bytes(layers: Sequence[Descriptor], platform: Platform = AMD64) -> bytes:
    """A config whose diff ids are the layers' own digests (they are plain)."""
    return json.dumps({
        "architecture": platform.architecture, "os": platform.os,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }).encode()


def manifest_bytes(config: Descriptor, layers: Sequence[Descriptor], **more: object) -> bytes:
    """A manifest as a tool might write it."""
    return json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers], **more,
    }).encode()


def index_bytes(manifests: Sequence[Descriptor], **more: object) -> bytes:
    """An index as a tool might write it."""
    return json.dumps({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one.to_json() for one in manifests],
        **more,
    }).encode()


def put_image(target: Target, *layers: bytes, platform: Platform = AMD64) -> Descriptor:
    """Push layers, config and manifest, in this order; the manifest's descriptor, with its platform."""
    pushed = [put(target, layer) for layer in layers]
    config = put(target, config_bytes(pushed, platform), OCI_CONFIG)
    manifest = put(target, manifest_bytes(config, pushed), OCI_MANIFEST)
    return Descriptor(manifest.media_type, manifest.digest, manifest.size, platform)


def put_artifact(target: Target, subject: Descriptor | None, data: bytes, **more: object) -> Descriptor:
    """Push an artifact of one blob, with a subject; its manifest's descriptor."""
    blob, config = put(target, data, "application/octet-stream"), put(target, b"{}", OCI_EMPTY)
    if subject is not None:
        more["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
    return put(target, manifest_bytes(config, [blob], **more), OCI_MANIFEST)


class DrippingReader(BytesReader):
    """Says nothing of its size and gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int = 1000) -> None:
        super().__init__(data)
        self._step = step

    @property
    def size(self) -> None:  # type: ignore[override]
        return None

    def readinto(self, buffer: memoryview, /) -> int:
        return super().readinto(buffer[: self._step])


class EndlessReader:
    """Zeros without end; counts what it gave."""

    size = None

    def __init__(self) -> None:
        self.given = 0

    def readinto(self, buffer: memoryview, /) -> int:
        buffer[:] = bytes(len(buffer))
        self.given += len(buffer)
        return len(buffer)

    def close(self) -> None:
        pass


class FailingReader(DrippingReader):
    """Raises `OSError` after half of its bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = len(data) // 2

    def readinto(self, buffer: memoryview, /) -> int:
        if self._left <= 0:
            raise OSError("the cable was pulled")
        count = super().readinto(buffer)
        self._left -= count
        return count
