"""What manifests, indexes and configs say, as the page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina import oci
from lamina.errors import InvalidContent, NotFound
from lamina.registry.server.page.library import Image, Index, Layer, Member, Step

if TYPE_CHECKING:
    from lamina.images.showcase.shelf import Shelf
    from lamina.store import BlobStore
    from lamina.store.schema import BlobRow


def read_item(store: BlobStore, shelf: Shelf, repository: str, digest: str) -> Image | Index | None:
    """The manifest or index of a repository; None if it has none such.  `NotFound`, `InvalidContent`, `StoreDamaged`."""
    if not shelf.has(repository, digest) or (row := store.catalog.blob(digest)) is None:
        return None
    names = shelf.names(repository, row.digest)
    if oci.is_index(row.media_type):
        index = oci.parse_index(store.document(row.digest), row.media_type, row.digest)
        members = tuple(_member(shelf, one) for one in index.manifests)
        return Index(row.digest, row.media_type, members, index.annotations, names)
    return _image(store, shelf, row, names) if oci.is_manifest(row.media_type) else None


def _member(shelf: Shelf, one: oci.Descriptor) -> Member:
    platform = str(one.platform) if one.platform and one.platform.os not in ("", "unknown") else ""
    kind = one.artifact_type or "image"
    if oci.is_attestation(one):
        kind = "attestation"
    elif oci.is_index(one.media_type):
        kind = "index"
    here = str(one.digest) in shelf.blobs
    size = sum(shelf.blobs[each].size for each in shelf.closure(one.digest) if each in shelf.blobs) if here else one.size
    return Member(str(one.digest), one.media_type, platform, kind, size, here)


def _image(store: BlobStore, shelf: Shelf, row: BlobRow, names: tuple[str, ...]) -> Image:
    manifest = oci.parse_manifest(store.document(row.digest), row.media_type, row.digest)
    layers = tuple(_layer(shelf, one) for one in manifest.layers)
    size = manifest.config.size + sum(layer.size for layer in layers)
    common = {"digest": row.digest, "media_type": row.media_type, "config_digest": str(manifest.config.digest), "size": size,
              "layers": layers, "annotations": manifest.annotations, "names": names}
    config = _config(store, manifest)
    if config is None:
        artifact = manifest.artifact_type or manifest.config.media_type
        return Image(**common, platform="", artifact=artifact, created="", author="", history=())  # type: ignore[arg-type]
    author = config.raw.get("author")
    return Image(**common, platform=str(config.platform), artifact="", created=config.created,  # type: ignore[arg-type]
                 author=author if isinstance(author, str) else "", history=_history(config), config=config.config)


def _config(store: BlobStore, manifest: oci.Manifest) -> oci.ImageConfig | None:
    """None of an artifact, and where it is not there or makes no sense: the page shows the rest."""
    if not oci.is_image(manifest):
        return None
    try:
        return oci.parse_config(store.document(manifest.config.digest), manifest.config.digest)
    except (NotFound, InvalidContent):
        return None


def _layer(shelf: Shelf, one: oci.Descriptor) -> Layer:
    row = shelf.blobs.get(shelf.known_as(one.digest))
    return Layer(str(one.digest), one.media_type, one.size, row is not None, row.entries if row and row.diff_id else None)


def _history(config: oci.ImageConfig) -> tuple[Step, ...]:
    steps, layer = [], 0
    for step in config.history:
        steps.append(Step(step.created, step.created_by, step.comment, None if step.empty_layer else layer))
        layer += not step.empty_layer
    return tuple(steps)
