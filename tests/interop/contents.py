"""Reads archives and layouts on its own, to compare what went in with what came out."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True)
class Packed:
    """An image in a docker-archive: digests of the bytes of its config and layers as they lie there."""

    names: tuple[str, ...]
    config: str
    layers: tuple[str, ...]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def docker_images(archive: Path) -> list[Packed]:
    """What `manifest.json` lists, links followed."""
    with tarfile.open(archive) as tar:
        def member(name: str) -> str:
            file = tar.extractfile(name)
            assert file is not None, name
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

        listed = tar.extractfile("manifest.json")
        assert listed is not None
        return [Packed(tuple(sorted(item["RepoTags"] or ())), member(item["Config"]),
                       tuple(member(layer) for layer in item["Layers"])) for item in json.load(listed)]


class Layout:
    """An OCI layout in a directory or a tar."""

    def __init__(self, path: Path) -> None:
        self._files: dict[str, bytes] = {}
        if path.is_dir():
            self._files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        else:
            with tarfile.open(path) as tar:
                for info in tar:
                    if info.isreg():
                        file = tar.extractfile(info)
                        assert file is not None
                        self._files[info.name.removeprefix("./")] = file.read()
        assert json.loads(self._files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        self.roots: list[dict[str, Any]] = json.loads(self._files["index.json"])["manifests"]

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        """The bytes of a blob, checked against its digest and size."""
        data = self._files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert (sha256(data), len(data)) == (descriptor["digest"], descriptor["size"])
        return data

    def manifests(self) -> list[dict[str, Any]]:
        """The image manifests that the roots lead to, each once, in their order."""
        found: dict[str, dict[str, Any]] = {}
        waiting = list(self.roots)
        while waiting:
            descriptor = waiting.pop(0)
            document = json.loads(self.blob(descriptor))
            if descriptor["mediaType"] in INDEXES:
                waiting += document["manifests"]
            else:
                found.setdefault(descriptor["digest"], document)
        return list(found.values())

    def digests(self) -> set[str]:
        """Digests of all that the roots lead to, each blob checked."""
        found, waiting = set(), list(self.roots)
        while waiting:
            descriptor = waiting.pop()
            data = self.blob(descriptor)
            found.add(descriptor["digest"])
            if "manifest" in descriptor["mediaType"] or "index" in descriptor["mediaType"]:
                document = json.loads(data)
                waiting += document.get("manifests", ())
                waiting += [document["config"], *document["layers"]] if "config" in document else ()
        return found

    def root_digests(self) -> list[str]:
        """Digests of what the layout names, each once."""
        return sorted({root["digest"] for root in self.roots})

    def config_digests(self) -> list[str]:
        """Image ids."""
        return [manifest["config"]["digest"] for manifest in self.manifests()]

    def layer_types(self) -> set[str]:
        """Media types of layers."""
        return {layer["mediaType"] for manifest in self.manifests() for layer in manifest["layers"]}
