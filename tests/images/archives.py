"""Small archives for a real store: docker-archives and OCI layouts in a tar, made in memory."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(**files: str) -> bytes:
    """A plain tar of files by name."""
    return tar_of({name: text.encode() for name, text in files.items()})


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class Built:
    """An image to put into archives."""

    def __init__(self, *layers: bytes, created: str = "2024-01-01T00:00:00Z", architecture: str = "amd64",
                 history: list[dict[str, Any]] | None = None, **config: Any) -> None:
        self.layers = layers
        steps = [{"created_by": sha256(data)} for data in layers] if history is None else history
        self.platform = {"architecture": architecture, "os": "linux"}
        self.config = json.dumps({
            **self.platform, "created": created, "config": config, "history": steps,
            "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in layers]}}).encode()
        self.id = sha256(self.config)

    def manifest(self) -> bytes:
        """An OCI manifest, spelt as Lamina would not."""
        return json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", self.config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", data) for data in self.layers],
        }, indent=1).encode()


def described(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def docker_archive(*images: tuple[Built, list[str]]) -> io.BytesIO:
    """As docker before version 25 writes it."""
    files: dict[str, bytes] = {}
    items = []
    for image, names in images:
        files[f"{image.id[7:]}.json"] = image.config
        places = []
        for data in image.layers:
            places.append(f"{hashlib.sha256(data).hexdigest()}/layer.tar")
            files[places[-1]] = data
        items.append({"Config": f"{image.id[7:]}.json", "RepoTags": names or None, "Layers": places})
    files["manifest.json"] = json.dumps(items).encode()
    return io.BytesIO(tar_of(files))


def oci_archive(*images: Built, name: str = "", index: bool = True, leave_out: tuple[bytes, ...] = ()) -> io.BytesIO:
    """An OCI layout in a tar: images under one index with a name, or (without `index`) the first alone."""
    blobs = [blob for image in images for blob in (image.config, *image.layers)]
    manifests = [image.manifest() for image in images]
    entries = [described("application/vnd.oci.image.manifest.v1+json", manifest, platform=image.platform)
               for image, manifest in zip(images, manifests, strict=True)]
    documents = list(manifests)
    root = entries[0]
    if index:
        inner = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                            "manifests": entries}).encode()
        documents.append(inner)
        root = described("application/vnd.oci.image.index.v1+json", inner)
    if name:
        root["annotations"] = {"io.containerd.image.name": name}
    files = {f"blobs/sha256/{hashlib.sha256(data).hexdigest()}": data for data in (*blobs, *documents)
             if data not in leave_out}
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [root]}).encode()
    return io.BytesIO(tar_of(files))
