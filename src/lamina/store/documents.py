"""Manifests and configs on their way in: what they name must be there, and must be what they say."""

from __future__ import annotations

from collections.abc import Callable

from lamina import oci
from lamina.content.referrers import subject_of
from lamina.errors import DigestMismatch, InvalidContent, LimitExceeded, NotFound
from lamina.store.schema import BlobRow, ImageRow

Find = Callable[[str], BlobRow | None]
Text = Callable[[str], bytes]


def check_manifest(descriptor: oci.Descriptor, data: bytes, find: Find, text: Text, *,
                   lenient: bool = False) -> ImageRow | None:
    """Check an image manifest or artifact against its blobs; its row if it is an image.

    `find(digest)` gives what is stored or about to be; `text(digest)` a document's bytes.  A layer that may not be distributed
    may be missing, with `lenient` any layer; then the image is not whole.  `lenient`: one whose config makes no sense, or does
    not fit its layers, is no image, and nothing else is wrong with it: registries keep whatever is well-formed.
    """
    manifest = oci.parse_manifest(data, descriptor.media_type, descriptor.digest)
    whole = True
    for child in (manifest.config, *manifest.layers):
        row = find(child.digest)
        if row is None:
            if not (child.urls or oci.is_nondistributable(child.media_type) or (lenient and child is not manifest.config)):
                raise InvalidContent(f"a manifest names the blob {child.digest}, which is not there", descriptor.digest,
                                     "push what it names first")
            whole = False
        elif row.size != child.size:
            raise InvalidContent(f"a manifest says {child.size} bytes of a blob of {row.size}", child.digest)
    if not oci.is_image(manifest):
        return None
    rows = [find(layer.digest) for layer in manifest.layers]
    try:
        config = oci.parse_config(text(manifest.config.digest), manifest.config.digest)
        _check_diff_ids(manifest, config, rows)
    except (InvalidContent, LimitExceeded, NotFound):
        if lenient:
            return None
        raise
    return ImageRow(
        manifest=descriptor.digest,
        config=manifest.config.digest,
        created=config.created,
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        diff_ids=tuple(config.diff_ids),
        size=sum(row.file_bytes or 0 for row in rows if row is not None),
        whole=whole,
    )


def check_config(descriptor: oci.Descriptor, data: bytes) -> None:
    """Anyone may name anything a config: a layer's bytes must not be kept as one, where a layer is wanted later."""
    if not data.lstrip().startswith(b"{"):
        raise InvalidContent("a config is not a JSON object", descriptor.digest, "get the image again")


def _check_diff_ids(manifest: oci.Manifest, config: oci.ImageConfig, rows: list[BlobRow | None]) -> None:
    """The plain tar of each layer is the one that the config names (config.md, "rootfs")."""
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidContent(f"a config names {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}",
                             manifest.config.digest)
    for layer, diff_id, row in zip(manifest.layers, config.diff_ids, rows, strict=True):
        if row is None or oci.layer_compression(layer.media_type) is None:
            continue  # foreign, encrypted or unknown: a blob like others
        if not row.diff_id:
            raise InvalidContent("a layer cannot be decompressed", layer.digest, "get the image again")
        if row.diff_id.startswith(diff_id.algorithm) and row.diff_id != diff_id:
            raise DigestMismatch(f"the plain tar of a layer is {row.diff_id}, not {diff_id} as the config says", layer.digest,
                                 "get the image again")


def children(descriptor: oci.Descriptor, data: bytes) -> list[str]:
    """Digests that a manifest or index names: what it keeps from collection."""
    named = [child.digest for child in oci.children(descriptor.media_type, data, descriptor.digest)]
    return list(dict.fromkeys(named))


def subject_edges(descriptor: oci.Descriptor, data: bytes) -> list[tuple[str, str]]:
    """The edge from a manifest's or index's subject to itself: it is kept as long as that is, which may come later."""
    subject = subject_of(descriptor.media_type, data, descriptor.digest)
    return [] if subject is None else [(str(subject.digest), str(descriptor.digest))]
