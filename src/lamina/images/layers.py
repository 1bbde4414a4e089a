"""The layers of stored images, by their blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.errors import NotFound
from lamina.oci import parse_manifest

if TYPE_CHECKING:
    from lamina.images.view import Image
    from lamina.store import BlobStore


def layer_digests(store: BlobStore, image: Image) -> list[str]:
    """The digests of an image's layers, the lowest first."""
    manifest = parse_manifest(store.document(image.manifest), where=image.manifest)
    return [str(layer.digest) for layer in manifest.layers]


def layer_sizes(store: BlobStore, image: Image) -> list[int]:
    """Bytes of the regular files of each layer, hardlinks once; of what is no readable tar, 0."""
    sizes = []
    for digest in layer_digests(store, image):
        row = store.catalog.blob(digest)
        if row is None:
            raise NotFound("a layer of the image is missing", digest, "run 'lamina verify'")
        sizes.append(row.file_bytes or 0)
    return sizes
