"""The layers of stored images, by their blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.errors import NotFound
from lamina.oci import is_nondistributable, parse_manifest

if TYPE_CHECKING:
    from lamina.images.view import Image
    from lamina.store import BlobStore
    from lamina.store.schema import BlobRow


def layer_rows(store: BlobStore, image: Image) -> list[BlobRow | None]:
    """What is known of an image's layers, the lowest first; None for one that lies elsewhere.  An artifact has none."""
    if image.artifact:
        return []
    rows = []
    for layer in parse_manifest(store.document(image.manifest), where=image.manifest).layers:
        row = store.catalog.blob(layer.digest)
        if row is None and not (layer.urls or is_nondistributable(layer.media_type)):
            raise NotFound("a layer of the image is missing", layer.digest, "run 'lamina verify'")
        rows.append(row)
    return rows


def layer_sizes(store: BlobStore, image: Image) -> list[int]:
    """Bytes of the regular files of each layer, hardlinks once; of what is no readable tar or lies elsewhere, 0."""
    return [row.file_bytes or 0 if row else 0 for row in layer_rows(store, image)]
