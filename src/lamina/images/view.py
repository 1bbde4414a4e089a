"""What the catalog holds, at one moment, as images and names: the ground of every command that reads.

Read once per command (1,000 images: some 20 ms); configs are read and parsed only where one is asked for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from lamina.images import times
from lamina.images.parents import find_parents
from lamina.oci import ImageConfig, Platform, matches, parse_config
from lamina.platforms import serving
from lamina.reference import Reference

_STEP = ("created", "created_by", "author", "comment", "empty_layer")


@dataclass(frozen=True, slots=True)
class Image:
    """A stored image, or an artifact: `id` is the digest of its config (of its manifest, for an artifact).

    `size`: bytes of the regular files of its layers, hardlinks once.
    """

    id: str
    manifest: str
    created: str = ""
    platform: Platform = field(default_factory=lambda: Platform("", ""))
    diff_ids: tuple[str, ...] = ()
    size: int = 0
    whole: bool = True
    artifact: bool = False

    @property
    def kin(self) -> tuple[str, str, str]:
        """What platforms compare by when parents are sought."""
        return _kin(self.platform)

    @property
    def age(self) -> tuple[int, int]:
        """When it was made, in seconds and nanoseconds."""
        return times.key(self.created)


@dataclass(frozen=True, slots=True)
class Root:
    """A name in the catalog and what it leads to; `reference` is None for a root without a name (`@<digest>`).

    `pinned`: no rule takes it away.
    """

    name: str
    digest: str
    media_type: str
    size: int
    time: float
    reference: Reference | None
    pinned: bool = False


@dataclass(slots=True)
class Entry:
    """A listed image: with its names, in their order, and its roots without a name."""

    image: Image
    names: list[Root] = field(default_factory=list)
    nameless: list[Root] = field(default_factory=list)

    @property
    def roots(self) -> list[Root]:
        return [*self.names, *self.nameless]

    @property
    def tags(self) -> list[str]:
        """Familiar names with a tag."""
        return [root.reference.familiar() for root in self.names if root.reference and root.reference.tag]


class View:
    """Images, names, parents.

    `images`: by manifest digest.  `members`: the manifests that an index names, in its order.  `document`: the
    bytes of a config or manifest.  `made`: the manifests that are Lamina's own.  `pushed`: (repository in full, manifest of
    these) -> the digest of what was pushed there for it.
    """

    def __init__(
        self,
        roots: Iterable[Root],
        images: Mapping[str, Image],
        members: Callable[[str], Sequence[str]],
        document: Callable[[str], bytes],
        made: Callable[[], Collection[str]],
        pushed: Callable[[], Mapping[tuple[str, str], str]] = dict,
    ) -> None:
        self.roots = {root.name: root for root in sorted(roots, key=lambda root: root.name)}
        self.images = images
        self._members, self._document, self._made, self._pushed = members, document, made, pushed
        self._configs: dict[str, ImageConfig] = {}
        self._reached: dict[str, tuple[Image, ...]] = {}

    def reached(self, digest: str) -> tuple[Image, ...]:
        """The images of a manifest or of an index and the indexes in it, in their order, each once."""
        if digest in self.images:
            return (self.images[digest],)
        if digest not in self._reached:
            found: dict[str, Image] = {}
            self._walk(digest, found, set())
            self._reached[digest] = tuple(found.values())
        return self._reached[digest]

    def _walk(self, digest: str, found: dict[str, Image], seen: set[str]) -> None:
        for member in self._members(digest):
            if member in self.images:
                found.setdefault(member, self.images[member])
            elif member not in seen:
                seen.add(member)
                self._walk(member, found, seen)

    def image_of(self, root: Root) -> Image:
        """The image that a root stands for here: the host platform's, else the first whole one, else the first."""
        reached = self.reached(root.digest)
        if len(reached) == 1:
            return reached[0]
        if not reached:
            return Image(root.digest, root.digest, artifact=True)
        whole = [image for image in reached if image.whole] or list(reached)
        return next((image for one in serving(Platform.host()) for image in whole
                     if matches(one, image.platform)), whole[0])

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The listed images by id, each with its names."""
        entries: dict[str, Entry] = {}
        for root in self.roots.values():
            image = self.image_of(root)
            entry = entries.setdefault(image.id, Entry(image))
            (entry.names if root.reference else entry.nameless).append(root)
        return entries

    @cached_property
    def parents(self) -> dict[str, str]:
        """Image id -> id of the parent, for those that have one."""
        images = (entry.image for entry in self.entries.values() if not entry.image.artifact)
        return find_parents(images, self.history)

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Image id -> ids of the images that it is the parent of."""
        children: dict[str, list[str]] = defaultdict(list)
        for child, parent in self.parents.items():
            children[parent].append(child)
        return dict(children)

    @cached_property
    def made(self) -> Collection[str]:
        """The manifests that Lamina made: their digests mean nothing elsewhere, and are not shown."""
        return self._made()

    @cached_property
    def pushed(self) -> Mapping[tuple[str, str], str]:
        """What was made of those for repositories: their digests do mean something there."""
        return self._pushed()

    def digest_of(self, root: Root) -> str:
        """By which digest others know what a name leads to: its own, or what was pushed for it; '' for neither."""
        if root.digest not in self.made:
            return root.digest
        return self.pushed.get((root.reference.name, root.digest), "") if root.reference else ""

    # Stored configs were checked when they came: what asks for one field of 1,000 of them may read them as they are,
    # five times quicker than `config`.

    def history(self, image_id: str) -> list[tuple[Any, ...]]:
        """The steps of an image, to compare."""
        steps = json.loads(self._document(image_id)).get("history") or ()
        return [tuple(map(step.get, _STEP)) for step in steps]

    def labels(self, image: Image) -> dict[str, str]:
        """The labels of an image's config."""
        if image.artifact:
            return {}
        config = json.loads(self._document(image.id)).get("config") or {}
        return config.get("Labels") or {}

    def config(self, image_id: str) -> ImageConfig:
        """The parsed config of an image."""
        if image_id not in self._configs:
            self._configs[image_id] = parse_config(self._document(image_id), image_id)
        return self._configs[image_id]

@lru_cache(maxsize=256)
def _kin(platform: Platform) -> tuple[str, str, str]:
    normal = platform.normalized()
    return normal.os, normal.architecture, normal.variant
