"""A graph of content between a source and a target: what is where, documents, platforms, limits."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.content import Source, Target
from lamina.content.verify import read_blob
from lamina.errors import InvalidContent, LimitExceeded, NotFound
from lamina.oci import (
    SCHEMA1_HINT,
    Descriptor,
    Platform,
    is_attestation,
    is_image,
    is_index,
    is_manifest,
    is_schema1,
    matches,
    parse_config,
    parse_index,
    parse_manifest,
)

# Indexes within indexes, the root included.  Two are seen in the wild (an archive's index.json, an image's
# index); what is deeper than this is made to be walked in vain.
MAX_NESTING = 4
# Distinct manifests, indexes and blobs of one graph: 4,096 manifests of 15 parts that they do not share.
MAX_NODES = 65_536

# Bytes that two media types claim are two nodes.
Key = tuple[str, str]
# The indexes above a node, the root first.
Path = tuple[Descriptor, ...]


def key_of(descriptor: Descriptor) -> Key:
    """What tells the nodes of a graph apart."""
    return descriptor.digest, descriptor.media_type


class Graph:
    """What a walk from `root` asks.  Documents are read again when asked for again: none is kept."""

    def __init__(self, source: Source, target: Target, root: Descriptor) -> None:
        self.source, self.target, self.root = source, target, root
        self._nodes: set[Key] = set()
        # One question to the target for each node: with a registry it is a round trip.
        self._in_target: dict[Key, bool] = {}
        self._admit(root)

    def in_target(self, descriptor: Descriptor) -> bool:
        """Whether the target has it."""
        key = key_of(descriptor)
        if key not in self._in_target:
            self._in_target[key] = self.target.exists(descriptor)
        return self._in_target[key]

    def pushed(self, descriptor: Descriptor) -> None:
        """Note that the target has it by now."""
        self._in_target[key_of(descriptor)] = True

    def has(self, descriptor: Descriptor) -> bool:
        """Whether target or source has it.  To open is to ask: `fetch` raises `NotFound` at once."""
        if descriptor.data is not None or self.in_target(descriptor):
            return True
        try:
            self.source.fetch(descriptor).close()
        except NotFound:
            return False
        return True

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or config, verified; from the target where the source has it not."""
        try:
            return read_blob(self.source, descriptor)
        except NotFound:
            if self.in_target(descriptor):
                return read_blob(self.target, descriptor)
            raise

    def children(self, index: Descriptor, data: bytes, depth: int) -> tuple[Descriptor, ...]:
        """What an index names, `depth` levels down (the root is at 1); `LimitExceeded`, `InvalidContent`."""
        if depth > MAX_NESTING:
            raise LimitExceeded("index is nested too deep", index.digest,
                                f"at most {MAX_NESTING} levels are read")
        found = parse_index(data, index.media_type, index.digest).manifests
        self.admit(found)
        return found

    def admit(self, descriptors: tuple[Descriptor, ...]) -> None:
        """Count them in; `LimitExceeded` beyond `MAX_NODES`, `InvalidContent` for Docker's schema 1."""
        for one in descriptors:
            self._admit(one)

    def leaves(self, *, attestations: bool = False) -> list[tuple[Descriptor, Path]]:
        """The root, or of an index the manifests in it, in order, each with the indexes above it."""
        if is_index(self.root.media_type):
            return [found for found in self._leaves(self.root, (), set()) if attestations or not is_attestation(found[0])]
        return [(self.root, ())]

    def choose(self, wanted: Platform) -> tuple[Descriptor, Path]:
        """The manifest for `wanted` and the indexes above it: the first whose descriptor says so, else the
        first without a platform whose config does.  `NotFound`."""
        leaves = self.leaves()
        for leaf, path in leaves:
            if leaf.platform is not None and matches(wanted, leaf.platform):
                return leaf, path
        for leaf, path in leaves:
            if leaf.platform is None and self._config_matches(leaf, path, wanted):
                return leaf, path
        raise NotFound(f"no manifest for platform {wanted}", self.root.digest)

    def _admit(self, descriptor: Descriptor) -> None:
        if is_schema1(descriptor.media_type):
            raise InvalidContent("manifest has Docker's schema 1", descriptor.digest,
                                 SCHEMA1_HINT)
        self._nodes.add(key_of(descriptor))
        if len(self._nodes) > MAX_NODES:
            raise LimitExceeded("image has too many parts", self.root.digest, f"at most {MAX_NODES} are read")

    def _leaves(self, index: Descriptor, above: Path, seen: set[Key]) -> Iterator[tuple[Descriptor, Path]]:
        path = (*above, index)
        for child in self.children(index, self.document(index), len(path)):
            # Once each: indexes that name one another many times over would multiply.
            if key_of(child) in seen:
                continue
            seen.add(key_of(child))
            if is_manifest(child.media_type):
                yield child, path
            elif is_index(child.media_type) and self.has(child):
                yield from self._leaves(child, path, seen)

    def _config_matches(self, leaf: Descriptor, path: Path, wanted: Platform) -> bool:
        """Whether the config of a manifest is for `wanted`.  Below an index, one that is not there is not."""
        if path and not self.has(leaf):
            return False
        manifest = parse_manifest(self.document(leaf), leaf.media_type, leaf.digest)
        if not is_image(manifest) or (path and not self.has(manifest.config)):
            return False
        return matches(wanted, parse_config(self.document(manifest.config), manifest.config.digest).platform)
