"""Whether a saved archive holds the very bytes that were loaded, found without Lamina's own readers."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lamina.cli.demo.build import DemoImage

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the image: what went in and what came out, by SHA-256."""

    what: str
    given: str
    returned: str

    @property
    def same(self) -> bool:
        return self.given == self.returned


def compare(image: DemoImage, saved: Path) -> list[Check]:
    """The config and each layer, as manifest.json of the saved archive names them."""
    with tarfile.open(saved) as archive:
        listed = json.loads(_member(archive, "manifest.json").read())[0]
        checks = [Check("config", image.config_digest, _digest(_member(archive, listed["Config"])))]
        returned = [_digest(_member(archive, name)) for name in listed["Layers"]]
    returned += ["(none)"] * (len(image.layers) - len(returned))
    checks += [Check(f"layer {number}", layer.digest, digest)
               for number, (layer, digest) in enumerate(zip(image.layers, returned, strict=True), 1)]
    return checks


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise tarfile.ReadError(f"{name} is no file")
    return found


def _digest(data: IO[bytes]) -> str:
    hasher = hashlib.sha256()
    while block := data.read(_BUFFER):
        hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"
