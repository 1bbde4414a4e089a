"""Views made by hand: images and names without a store."""

from __future__ import annotations

import json
from typing import Any

from lamina.digest import Digest
from lamina.images.view import Image, Root, View
from lamina.oci import OCI_INDEX, OCI_MANIFEST, Platform
from lamina.reference import Reference

LINUX = Platform("linux", "amd64")


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def root(name: str, target: str, media_type: str = OCI_MANIFEST, time: float = 0) -> Root:
    reference = None if name.startswith("@") else Reference.parse(name)
    return Root(str(reference or name), target, media_type, 1, time, reference)


class World:
    """Images by a word, and their names; `view()` gives what a command would see."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.images: dict[str, Image] = {}
        self.indexes: dict[str, list[str]] = {}
        self.roots: list[Root] = []
        self.parsed: list[str] = []
        self.made: set[str] = set()

    def image(self, word: str, layers: str = "", names: str = "", *, created: str = "2024-01-01T00:00:00Z",
              history: list[dict[str, Any]] | None = None, platform: Platform = LINUX, made: bool = True,
              whole: bool = True, size: int = 0, rooted: bool = True, **config: Any) -> Image:
        """An image whose layers are the letters of `layers`, under the names, or as a root without one."""
        diff_ids = tuple(digest(letter) for letter in layers)
        steps = [{"created_by": letter} for letter in layers] if history is None else history
        document = json.dumps({
            "word": word, "created": created, "os": platform.os, "architecture": platform.architecture,
            "config": config, "history": steps, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        made_image = Image(Digest.of(document), digest(f"manifest {word}"), created, platform, diff_ids, size,
                           whole)
        if made:
            self.made.add(made_image.manifest)
        self.documents[made_image.id] = document
        self.images[made_image.manifest] = made_image
        if rooted:
            self.name(made_image.manifest, names)
        return made_image

    def index(self, word: str, members: list[Image], names: str) -> str:
        target = digest(f"index {word}")
        self.indexes[target] = [member.manifest for member in members]
        self.name(target, names, OCI_INDEX)
        return target

    def name(self, target: str, names: str, media_type: str = OCI_MANIFEST) -> None:
        self.roots += [root(name, target, media_type) for name in names.split() or [f"@{target}"]]

    def view(self) -> View:
        return View(self.roots, self.images, lambda target: self.indexes.get(target, []), self._document,
                    lambda: self.made)

    def _document(self, target: str) -> bytes:
        self.parsed.append(target)
        return self.documents[target]
