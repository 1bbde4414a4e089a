"""What the catalog holds at one moment, as repositories and what each of them leads to.

Made at once from four tables: 5,000 tags over 50,000 blobs take 0.45 s of a core, besides SQLite's, and 43 MiB; so a thread
keeps it (`kept.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lamina.errors import InvalidReference
from lamina.images import times
from lamina.oci import Platform, is_config, is_index, is_manifest
from lamina.reference import Reference
from lamina.registry.server.page.library import Hit, Repository, Tag

if TYPE_CHECKING:
    from lamina.store.catalog import Catalog
    from lamina.store.schema import BlobRow, ImageRow, RefRow

Named = Callable[[Reference], str | None]
DEPTH = 16  # of indexes in indexes that are looked into


class Shelf:
    """`blobs`: what there is by digest, without texts; `images`: by manifest; `holders`: layer -> manifests of images with it;
    `places`: manifest -> (repository, shown name) of all that lead to it; `members`: all that a repository leads to; `reached`:
    all that any name does.

    `pushed`: bytes of all tags, each with all of its content; `layers`, `documents`: of what is reached, each once.
    """

    def __init__(self, catalog: Catalog, named: Named) -> None:
        self.images: dict[str, ImageRow] = {row.manifest: row for row in catalog.images()}
        self.blobs: dict[str, BlobRow] = {row.digest: row for row in catalog.blobs()}
        self._alias = {row.sha256: row.digest for row in self.blobs.values() if row.sha256 != row.digest}
        self._children: dict[str, list[str]] = defaultdict(list)
        for parent, child in catalog.edges():
            self._children[parent].append(self._alias.get(child, child))
        self._closures: dict[str, frozenset[str]] = {}
        self.places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.members: dict[str, frozenset[str]] = {}
        self.repositories: dict[str, Repository] = {}
        refs = catalog.refs()
        self.reached = frozenset().union(*(self.closure(digest) for digest in {ref.digest for ref in refs}))
        for name, own in sorted(_by_repository(refs, named).items()):
            self._shelve(name, own)
        self.holders = self._holders()
        self.pushed = sum(tag.size for one in self.repositories.values() for tag in one.tags if tag.name)
        there = [self.blobs[digest] for digest in self.reached if digest in self.blobs]
        self.documents = sum(row.size for row in there if row.kind == "document")
        self.layers = sum(row.size for row in there) - self.documents
        self._sorted: list[str] | None = None

    def closure(self, digest: str) -> frozenset[str]:
        """All that a digest leads to, and itself."""
        found = self._closures.get(digest)
        if found is None:
            seen, rest = {digest}, [digest]
            while rest:
                for child in self._children.get(rest.pop(), ()):
                    if child not in seen:
                        seen.add(child)
                        rest.append(child)
            found = self._closures[digest] = frozenset(seen)
        return found

    def has(self, repository: str, digest: str) -> bool:
        """Whether a name of the repository leads to it."""
        return self.known_as(digest) in self.members.get(repository, ())

    def known_as(self, digest: str) -> str:
        """By which digest the catalog has what may be named by its sha256, too."""
        return self._alias.get(digest, digest)

    def layers_of(self, manifest: str) -> list[str]:
        """The layers that an image has and that are here."""
        return [child for child in self._children.get(manifest, ()) if manifest in self.holders.get(child, ())]

    def names(self, repository: str, digest: str) -> tuple[str, ...]:
        """The tags of a repository that lead to a manifest, directly or by an index."""
        shelved = self.repositories.get(repository)
        return tuple(tag.name for tag in shelved.tags if tag.name and digest in self.closure(tag.digest)) if shelved else ()

    def find(self, prefix: str, limit: int) -> list[Hit]:
        """Digests that begin so, in their order; a hit for each repository that has it."""
        hits: list[Hit] = []
        for digest in self._starting(prefix):
            row = self.blobs.get(digest)
            if row is None:
                continue
            for name, members in self.members.items():
                if digest in members:
                    hits.append(Hit(_kind(row), digest, name, self._manifest_with(name, digest)))
                    if len(hits) >= limit:
                        return hits
        return hits

    def _starting(self, prefix: str) -> Iterator[str]:
        if self._sorted is None:
            self._sorted = sorted(self.reached)
        algorithms = sorted({one.partition(":")[0] for one in self._sorted})
        starts = [prefix] if ":" in prefix else [f"{name}:{prefix}" for name in algorithms]
        for start in starts:
            at = bisect_left(self._sorted, start)
            while at < len(self._sorted) and self._sorted[at].startswith(start):
                yield self._sorted[at]
                at += 1

    def _manifest_with(self, repository: str, digest: str) -> str:
        row = self.blobs[digest]
        if row.kind == "document" and not is_config(row.media_type):
            return digest
        roots = (tag.digest for tag in self.repositories[repository].tags)
        root = next((one for one in roots if digest in self.closure(one)), digest)
        return next((one for one in sorted(self.closure(root)) if digest in self._children.get(one, ())), root)

    def _shelve(self, name: str, refs: Iterable[tuple[Reference, RefRow]]) -> None:
        tags, members = [], set[str]()
        for reference, ref in refs:
            closure = self.closure(ref.digest)
            images = [self.images[one] for one in sorted(closure) if one in self.images]
            tags.append(Tag(reference.tag, ref.digest, ref.media_type, self._size(closure),
                            tuple(dict.fromkeys(str(_platform(image)) for image in images if image.os not in ("", "unknown"))),
                            max((times.key(image.created)[0] for image in images), default=0), ref.time))
            members |= closure
            shown = f"{name}:{reference.tag}" if reference.tag else f"{name}@{ref.digest[:19]}"
            for one in closure:
                if one in self.images:
                    self.places[one].append((name, shown))
        tags.sort(key=lambda tag: (not tag.name, -tag.pushed, tag.name, tag.digest))
        self.members[name] = frozenset(members)
        self.repositories[name] = Repository(
            name, tuple(tags), sum(1 for one in members if one in self.images), self._size(members),
            max((tag.pushed for tag in tags), default=0))

    def _size(self, digests: Iterable[str]) -> int:
        return sum(row.size for digest in digests if (row := self.blobs.get(digest)))

    def _holders(self) -> dict[str, frozenset[str]]:
        holders: dict[str, set[str]] = defaultdict(set)
        for manifest in self.images:
            if manifest in self.places:
                for child in self._children.get(manifest, ()):
                    if (row := self.blobs.get(child)) is not None and row.kind != "document":
                        holders[child].add(manifest)
        return {layer: frozenset(manifests) for layer, manifests in holders.items()}


def _by_repository(refs: Iterable[RefRow], named: Named) -> dict[str, list[tuple[Reference, RefRow]]]:
    found: dict[str, list[tuple[Reference, RefRow]]] = defaultdict(list)
    for ref in refs:
        if ref.name.startswith("@"):
            continue
        try:
            reference = Reference.parse(ref.name)
        except InvalidReference:
            continue  # of a later version, or damage: `verify` tells
        if (name := named(reference)) is not None:
            found[name].append((reference, ref))
    return found


def _platform(image: ImageRow) -> Platform:
    return Platform(image.os, image.architecture, image.variant)


def _kind(row: BlobRow) -> str:
    if row.kind != "document":
        return row.kind
    if is_index(row.media_type):
        return "index"
    return "manifest" if is_manifest(row.media_type) else "config"
