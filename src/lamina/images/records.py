"""From the catalog's rows to views, and look-ups of single rows where a command needs no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lamina.digest import Digest
from lamina.errors import NotFound
from lamina.images.view import Image, Root, View
from lamina.oci import Descriptor, Platform, is_attestation, is_index, matches, parse_index
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.store import BlobStore
    from lamina.store.schema import ImageRow, RefRow

NAMELESS = "@"


def read_view(store: BlobStore) -> View:
    """Everything, at this moment."""
    images = {row.manifest: _image(row) for row in store.catalog.images()}
    return View((_root(row) for row in store.catalog.refs()), images,
                lambda digest: _members(store, digest), store.document, lambda: _made(store), store.catalog.remembered.digests)


def ref_of(store: BlobStore, name: str) -> Root | None:
    """What a full name leads to."""
    row = store.catalog.ref(name)
    return None if row is None else _root(row)


def refs_to(store: BlobStore, digest: str) -> list[Root]:
    """The names that lead to a manifest or index."""
    return [_root(row) for row in store.catalog.refs_to(digest)]


def root_image_id(store: BlobStore, digest: str, platform: Platform | None = None) -> str:
    """The id of the image that a manifest or index stands for here."""
    view = View((), _Images(store), lambda digest: _members(store, digest), store.document,
                lambda: _made(store))
    if platform is not None:
        for image in view.reached(digest):
            if matches(platform, image.platform):
                return image.id
    return view.image_of(Root("", digest, "", 0, 0, None)).id


def descriptor_of(root: Root) -> Descriptor:
    """What a root leads to."""
    return Descriptor(root.media_type, Digest(root.digest), root.size)


def manifest_descriptor(store: BlobStore, image: Image) -> Descriptor:
    """The manifest of an image."""
    row = store.catalog.blob(image.manifest)
    if row is None:
        raise NotFound("the image's manifest is missing", image.manifest, "run 'lamina verify'")
    return Descriptor(row.media_type, Digest(image.manifest), row.size)


def _made(store: BlobStore) -> set[str]:
    return {row.digest for row in store.catalog.blobs("document") if row.made}


def _members(store: BlobStore, digest: str) -> list[str]:
    """The manifests that an index names, in its order; statements about others are none of them."""
    row = store.catalog.blob(digest)
    if row is None or not is_index(row.media_type):
        return []
    index = parse_index(store.document(digest), row.media_type, digest)
    return [str(one.digest) for one in index.manifests if not is_attestation(one)]


class _Images(Mapping[str, Image]):
    """Image manifests by digest, read when asked for."""

    def __init__(self, store: BlobStore) -> None:
        self._catalog = store.catalog

    def __getitem__(self, digest: str) -> Image:
        row = self._catalog.image(digest)
        if row is None:
            raise KeyError(digest)
        return _image(row)

    def __iter__(self) -> Iterator[str]:
        return (row.manifest for row in self._catalog.images())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _image(row: ImageRow) -> Image:
    return Image(row.config, row.manifest, row.created, Platform(row.os, row.architecture, row.variant),
                 row.diff_ids, row.size, row.whole)


def _root(row: RefRow) -> Root:
    reference = None if row.name.startswith(NAMELESS) else Reference.parse(row.name)
    return Root(row.name, row.digest, row.media_type, row.size, row.time, reference, row.pinned)
