"""`copy_graph`: load, save, pull, push and mirror are this one walk, leaves first, tag last."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from lamina.content import Source, Target
from lamina.content.graph import MAX_NODES, Graph, Key, key_of
from lamina.content.referrers import MAX_DEPTH, is_document, referrers_of, subject_of
from lamina.content.verify import BytesReader
from lamina.errors import NotFound
from lamina.oci import (
    Descriptor,
    Platform,
    is_attestation,
    is_index,
    is_manifest,
    is_nondistributable,
    parse_manifest,
)


class Observer(Protocol):
    """Told of each blob and manifest: `skipped`, or `started` and then `done`; of bytes, ask the target."""

    def started(self, descriptor: Descriptor) -> None: ...
    def skipped(self, descriptor: Descriptor) -> None: ...
    def done(self, descriptor: Descriptor) -> None: ...


@dataclass(slots=True)
class CopyResult:
    """What became of a graph.

    `pushed`, `skipped`: how many blobs and documents went over, and how many the target had.
    `manifests`: those that are whole in the target now, each once, in the order of the walk.
    `missing`: what the source lacks, with the manifest or index that names it (for the root: the root); a
    manifest that is not whole was left out.
    `foreign`: non-distributable layers that lie elsewhere and were left there, with their manifest.
    `referrers`: those that are whole in the target now, but for what stands in `manifests` already.
    """

    root: Descriptor
    pushed: int = 0
    skipped: int = 0
    manifests: list[Descriptor] = field(default_factory=list)
    missing: list[tuple[Descriptor, Descriptor]] = field(default_factory=list)
    foreign: list[tuple[Descriptor, Descriptor]] = field(default_factory=list)
    referrers: list[Descriptor] = field(default_factory=list)


def copy_graph(
    source: Source,
    target: Target,
    root: Descriptor,
    *,
    platform: Platform | None = None,
    observer: Observer | None = None,
    tag: str = "",
    referrers: bool = False,
) -> CopyResult:
    """Copy `root` and all that it leads to, leaves first, byte for byte; then let `tag` lead to it, if given.

    What the target has is not copied.  Of an index, manifests that the source has not whole are left out and
    reported; the index itself stays as it is.  With `platform` only that platform's manifest is copied (the
    first that matches exactly; one whose descriptor names no platform is judged by its config), and the
    indexes above it.  With `referrers` the source is asked what has the root, or a manifest that is whole, as its
    `subject`; each of these is copied as a graph of its own, and asked for in turn, `MAX_DEPTH` deep.  One that is not
    whole is left out and reported, one that does not name its subject is passed over.

    `NotFound`: the root is missing, or anything that a root manifest names, or that the manifest of
    `platform` names; no manifest is for `platform`; no manifest of an index is whole.  `InvalidContent` (size
    and digest mismatches among them): content that is wrong.  `LimitExceeded`: documents above 4 MiB, and the
    limits of `lamina.content.graph`.  What was pushed before an error stays in the target without a name.
    """
    walk = _Walk(Graph(source, target, root), observer or _Nobody())
    if platform is not None:
        walk.copy_platform(platform)
    elif is_index(root.media_type):
        walk.copy_root_index()
    else:
        walk.copy_root_alone()
    if referrers:
        walk.copy_referrers()
    if tag:
        target.tag(root, tag)
    return walk.result


class _Nobody:
    """The observer that does not care."""

    def started(self, descriptor: Descriptor) -> None:
        pass

    def skipped(self, descriptor: Descriptor) -> None:
        pass

    def done(self, descriptor: Descriptor) -> None:
        pass


class _Walk:
    """One copy.  In memory are the documents on the path from the root, and no other content."""

    def __init__(self, graph: Graph, observer: Observer) -> None:
        self._graph, self._observer = graph, observer
        self.result = CopyResult(graph.root)
        # Nodes that were dealt with, and whether they are whole in the target.
        self._seen: dict[Key, bool] = {}

    def copy_platform(self, wanted: Platform) -> None:
        manifest, path = self._graph.choose(wanted)
        self._demand(self._copy_manifest(manifest, path[-1] if path else manifest))
        for index in reversed(path):
            self._push_document(index, self._graph.document(index))

    def copy_root_index(self) -> None:
        root = self._graph.root
        data = self._graph.document(root)
        self._copy_children(root, data, 1)
        whole = any(not is_attestation(one) for one in self.result.manifests)
        self._demand(whole or not self.result.missing)
        self._push_document(root, data)

    def copy_root_alone(self) -> None:
        root = self._graph.root
        copy = self._copy_manifest if is_manifest(root.media_type) else self._copy_blob
        self._demand(copy(root, root))

    def copy_referrers(self) -> None:
        """Of what has been copied, and of those copied here, level by level."""
        root = self._graph.root
        subjects = [*([root] if is_index(root.media_type) else []), *self.result.manifests]
        manifests = len(self.result.manifests)
        self._seen[key_of(root)] = True
        for _ in range(MAX_DEPTH):
            subjects = [one for subject in subjects for one in self._copy_referrers_of(subject)]
        del self.result.manifests[manifests:]

    def _copy_referrers_of(self, subject: Descriptor) -> list[Descriptor]:
        """Those that are new and whole in the target now."""
        copied: list[Descriptor] = []
        listing: set[Key] = set()
        # A source may list one of them for ever.
        for listed in islice(referrers_of(self._graph.source, subject), MAX_NODES):
            one = Descriptor(listed.media_type, listed.digest, listed.size)
            if not is_document(one.media_type) or key_of(one) in self._seen or key_of(one) in listing:
                continue
            listing.add(key_of(one))
            self._graph.admit((one,))
            if self._copy_referrer(one, subject):
                self.result.referrers.append(listed)
                copied.append(one)
        return copied

    def _copy_referrer(self, one: Descriptor, subject: Descriptor) -> bool:
        if self._graph.has(one):
            said = subject_of(one.media_type, self._graph.document(one), one.digest)
            if said is None or said.digest != subject.digest:
                return False
        if is_manifest(one.media_type):
            return self._copy_manifest(one, subject)
        lost = len(self.result.missing)
        self._copy_index(one, subject, 1)
        return len(self.result.missing) == lost

    def _demand(self, whole: bool) -> None:
        if whole:
            return
        lost, parent = self.result.missing[0]
        what = "manifest" if is_manifest(lost.media_type) or is_index(lost.media_type) else "blob"
        place = "" if lost is parent else f"named by {parent.digest}"
        raise NotFound(f"{what} {lost.digest} is missing", place, "the source is not complete")

    def _copy_children(self, index: Descriptor, data: bytes, depth: int) -> None:
        for child in self._graph.children(index, data, depth):
            if is_manifest(child.media_type):
                self._copy_manifest(child, index)
            elif is_index(child.media_type):
                self._copy_index(child, index, depth + 1)
            else:
                self._copy_blob(child, index)

    def _copy_index(self, index: Descriptor, parent: Descriptor, depth: int) -> None:
        if key_of(index) in self._seen:
            return
        self._seen[key_of(index)] = True
        if not self._graph.has(index):
            self.result.missing.append((index, parent))
            return
        data = self._graph.document(index)
        self._copy_children(index, data, depth)
        self._push_document(index, data)

    def _copy_manifest(self, descriptor: Descriptor, parent: Descriptor) -> bool:
        """Whether it is whole in the target now; what is missing is reported."""
        key = key_of(descriptor)
        if key in self._seen:
            return self._seen[key]
        self._seen[key] = False
        if not self._graph.has(descriptor):
            self.result.missing.append((descriptor, parent))
            return False
        data = self._graph.document(descriptor)
        manifest = parse_manifest(data, descriptor.media_type, descriptor.digest)
        if not self._copy_blobs(descriptor, (manifest.config, *manifest.layers)):
            return False
        self._push_document(descriptor, data)
        self.result.manifests.append(descriptor)
        self._seen[key] = True
        return True

    def _copy_blobs(self, manifest: Descriptor, blobs: tuple[Descriptor, ...]) -> bool:
        """All of them or, where one is missing, none: they are looked for before the first is pushed."""
        self._graph.admit(blobs)
        wanted, whole = [], True
        for blob in dict.fromkeys(blobs):
            if self._graph.has(blob):
                wanted.append(blob)
            elif blob.urls and is_nondistributable(blob.media_type):
                self.result.foreign.append((blob, manifest))
            else:
                self.result.missing.append((blob, manifest))
                whole = False
        return whole and all(self._copy_blob(blob, manifest) for blob in wanted)

    def _copy_blob(self, blob: Descriptor, parent: Descriptor) -> bool:
        """As `_copy_manifest`, for what names nothing."""
        key = key_of(blob)
        if key in self._seen:
            return self._seen[key]
        self._seen[key] = True
        if self._skip(blob):
            return True
        try:
            reader = BytesReader(blob.data) if blob.data is not None else self._graph.source.fetch(blob)
        except NotFound:
            self.result.missing.append((blob, parent))
            self._seen[key] = False
            return False
        try:
            self._observer.started(blob)
            self._graph.target.push(blob, reader)
        finally:
            reader.close()
        self._finish(blob)
        return True

    def _push_document(self, descriptor: Descriptor, data: bytes) -> None:
        if not self._skip(descriptor):
            self._observer.started(descriptor)
            self._graph.target.push(descriptor, BytesReader(data))
            self._finish(descriptor)

    def _skip(self, descriptor: Descriptor) -> bool:
        if not self._graph.in_target(descriptor):
            return False
        self.result.skipped += 1
        self._observer.skipped(descriptor)
        return True

    def _finish(self, descriptor: Descriptor) -> None:
        self._graph.pushed(descriptor)
        self.result.pushed += 1
        self._observer.done(descriptor)
