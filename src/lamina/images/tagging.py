"""Giving names within a session, and what becomes of the image that had the name before.

As in docker, an image that loses its last name stays, without one.  All look-ups are of single rows: the time to
load an image does not grow with their number.
"""

from __future__ import annotations

from lamina.content.verify import read_blob
from lamina.images.records import descriptor_of, ref_of, refs_to, root_image_id
from lamina.images.view import Root
from lamina.oci import Descriptor, is_manifest, parse_manifest
from lamina.reference import Reference
from lamina.store import BlobStore
from lamina.store.session import Session


class Tagger:
    """Collects what a session does to names; `finish` before the commit."""

    def __init__(self, store: BlobStore, session: Session) -> None:
        self._store, self._session = store, session
        self._set: dict[str, Descriptor] = {}
        self._moved: dict[str, Root] = {}
        self._roots: dict[str, Descriptor] = {}

    def name(self, descriptor: Descriptor, reference: Reference) -> Root | None:
        """Let a name lead to `descriptor`; what it led to before, if that was something else."""
        name = str(reference)
        earlier = self._set.get(name)
        before = ref_of(self._store, name) if earlier is None else _root_of(name, earlier)
        self._session.tag(descriptor, name)
        self._set[name] = descriptor
        if earlier is not None and before is not None and earlier.digest != descriptor.digest:
            if self._image_id(earlier) != self._image_id(descriptor):  # two archives of one session give the name
                self.keep(earlier)
            return before
        if before is None or before.digest == descriptor.digest:
            return None
        self._moved[name] = before
        return before

    def keep(self, descriptor: Descriptor) -> None:
        """Keep `descriptor` without a name, unless it has one."""
        self._roots[descriptor.digest] = descriptor

    def finish(self) -> None:
        """Keep what lost its last name; let go of roots without a name for what has one now."""
        named = {descriptor.digest for descriptor in self._set.values()}
        for digest, descriptor in self._roots.items():
            if digest not in named and not self._named(digest):
                self._session.root(descriptor)
        for digest in {root.digest: root for root in self._moved.values()}:
            root = next(one for one in self._moved.values() if one.digest == digest)
            if digest not in named and not self._named(digest) and not self._same_image(root):
                self._session.root(descriptor_of(root))
        for digest in named:
            if ref_of(self._store, f"@{digest}") is not None:
                self._session.drop_root(digest)

    def _named(self, digest: str) -> bool:
        """Whether a name that this session leaves alone leads there."""
        return any(root.reference and root.name not in self._set for root in refs_to(self._store, digest))

    def _same_image(self, root: Root) -> bool:
        """Whether the name's new manifest is of the very image that it had."""
        old = root_image_id(self._store, root.digest)
        return all(old == self._image_id(self._set[name])
                   for name, moved in self._moved.items() if moved.digest == root.digest)

    def _image_id(self, descriptor: Descriptor) -> str:
        """The id of what a name leads to from now on (the catalog may not know it yet); '' for an index."""
        if not is_manifest(descriptor.media_type):
            return ""
        document = read_blob(self._session, descriptor)
        return parse_manifest(document, descriptor.media_type, descriptor.digest).config.digest


def _root_of(name: str, descriptor: Descriptor) -> Root:
    return Root(name, descriptor.digest, descriptor.media_type, descriptor.size, 0, None)
