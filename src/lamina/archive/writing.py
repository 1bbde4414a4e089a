"""Writes images as archives: an OCI layout in a tar, and with docker's `manifest.json` in it a docker-archive.

Both are streams of `copy_graph` into a tar: each distinct blob once, an image's config and layers before its
manifest, documents last.  The same images in the same order give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from lamina.archive.docker import MANIFEST, measure
from lamina.archive.names import CONTAINERD_NAME, REF_NAME, annotations_for, is_bare_tag
from lamina.archive.oci_layout import INDEX, LAYOUT, VERSION, blob_path
from lamina.archive.tarwriter import TarWriter, Writer
from lamina.content import Reader, Source
from lamina.content.copy import CopyResult, Observer, copy_graph
from lamina.content.inflate import SNIFF_SIZE, InflatingReader, read_up_to, sniff
from lamina.content.verify import VerifyingReader, read_blob, verifying
from lamina.digest import Digest
from lamina.errors import NotFound
from lamina.mediatypes import layer_compression
from lamina.oci import (
    OCI_INDEX,
    OCI_LAYER,
    Descriptor,
    Manifest,
    Platform,
    is_attestation,
    is_image,
    is_manifest,
    parse_config,
    parse_manifest,
    select_platform,
)
from lamina.reference import Reference

Roots = Sequence[tuple[Descriptor, Sequence[str]]]

LAYOUT_DOCUMENT = json.dumps({"imageLayoutVersion": VERSION}, separators=(",", ":")).encode("ascii")


def write_oci_archive(
    out: Writer, source: Source, roots: Roots, *, observer: Observer | None = None, referrers: bool = False
) -> list[CopyResult]:
    """Write the graphs of `roots`, each with its names, as an OCI layout in a tar; with `referrers`, these without a name.

    What of an index the source has not whole is left out; see the results.  Errors as of `copy_graph`, and
    `InvalidReference`, `StorageError`.
    """
    tar = TarWriter(out)
    merged = merge(roots)
    results = _write_blobs(_TarTarget(tar), source, merged, observer, referrers)
    hanging = {one.digest: one for result in results for one in result.referrers}
    _write_layout(tar, source, merged, [one for one in hanging.values() if one not in merged])
    tar.finish()
    return results


def write_docker_archive(
    out: Writer,
    source: Source,
    roots: Roots,
    *,
    host: Platform | None = None,
    observer: Observer | None = None,
) -> list[CopyResult]:
    """As `write_oci_archive`, with `manifest.json` and `repositories`, for readers of docker-archives.

    Those know no indexes: of each they get the only image that is whole, or the one for `host` (by default this
    machine).  Nor does docker before version 23 know zstd: such layers lie there plain as well, for `manifest.json`.
    """
    tar = TarWriter(out)
    merged = merge(roots)
    target = _TarTarget(tar)
    results = _write_blobs(target, source, merged, observer)
    host = host or Platform.host()
    images = [_docker_image(source, result, host) for result in results]
    layers = [_docker_layers(target, source, image) if image else [] for image in images]
    _write_layout(tar, source, merged)
    _write_docker(tar, source, merged, images, layers)
    tar.finish()
    return results


def merge(roots: Roots) -> dict[Descriptor, list[str]]:
    """Each root once, with all its names in full, each once; `InvalidReference`."""
    merged: dict[Descriptor, list[str]] = {}
    for root, names in roots:
        known = merged.setdefault(root, [])
        full = [name if is_bare_tag(name) else str(Reference.parse(name)) for name in names if name]
        known += [name for name in dict.fromkeys(full) if name not in known]
    return merged


def index_entries(source: Source, root: Descriptor, names: Iterable[str]) -> list[Descriptor]:
    """What `index.json` has for a root: one descriptor for each name, as docker does since version 25."""
    kept = {key: value for key, value in root.annotations.items() if key not in (CONTAINERD_NAME, REF_NAME)}
    bare = Descriptor(
        root.media_type,
        root.digest,
        root.size,
        platform=root.platform or _platform(source, root),
        artifact_type=root.artifact_type,
    )
    return [replace(bare, annotations=kept | annotations_for(name)) for name in list(names) or [""]]


def index_document(entries: Iterable[Descriptor]) -> bytes:
    """`index.json` (image-layout.md)."""
    return dump({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry.to_json() for entry in entries],
    })


def dump(document: Any) -> bytes:
    """JSON, always the same for the same value."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


class _TarTarget:
    """The blobs of a layout that is being written to a tar: a target that keeps nothing."""

    def __init__(self, tar: TarWriter) -> None:
        self._tar = tar
        self._written: set[Digest] = set()
        self._directories: set[str] = set()

    def exists(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self._written

    def push(self, descriptor: Descriptor, reader: Reader) -> None:
        for directory in ("blobs/", f"blobs/{descriptor.digest.algorithm}/"):
            if directory not in self._directories:
                self._directories.add(directory)
                self._tar.directory(directory)
        self._tar.file(blob_path(descriptor.digest), descriptor.size, verifying(reader, descriptor))
        self._written.add(descriptor.digest)

    def tag(self, descriptor: Descriptor, reference: str) -> None:
        raise NotFound("names are written last, all at once", reference)

    def resolve(self, reference: str) -> Descriptor:
        raise NotFound("what went into the archive is not read back", reference)

    def fetch(self, descriptor: Descriptor) -> Reader:
        raise NotFound("what went into the archive is not read back", descriptor.digest)

    def references(self) -> Iterable[tuple[str, Descriptor]]:
        return ()


def _write_blobs(
    target: _TarTarget, source: Source, roots: Iterable[Descriptor], observer: Observer | None, referrers: bool = False
) -> list[CopyResult]:
    return [copy_graph(source, target, root, observer=observer, referrers=referrers) for root in roots]


def _write_layout(
    tar: TarWriter, source: Source, roots: dict[Descriptor, list[str]], hanging: Iterable[Descriptor] = ()
) -> None:
    entries = [entry for root, names in roots.items() for entry in index_entries(source, root, names)]
    entries += [Descriptor(one.media_type, one.digest, one.size, artifact_type=one.artifact_type) for one in hanging]
    tar.document(INDEX, index_document(entries))
    tar.document(LAYOUT, LAYOUT_DOCUMENT)


def _docker_layers(target: _TarTarget, source: Source, image: Descriptor) -> list[Digest]:
    """The blobs that docker is to read as the layers of an image; plain ones are made of those under zstd."""
    manifest = _manifest(source, image)
    config = parse_config(read_blob(source, manifest.config), manifest.config.digest)
    if len(config.diff_ids) != len(manifest.layers):
        return [layer.digest for layer in manifest.layers]
    return [_write_plain(target, source, layer, diff_id) if _is_zstd(source, layer)
            else layer.digest for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)]


def _is_zstd(source: Source, layer: Descriptor) -> bool:
    """Whether a layer is what its media type says: anyone may write one, and what is no zstd needs no inflating."""
    if layer_compression(layer.media_type) != "zstd":
        return False
    with closing(source.fetch(layer)) as reader:
        return sniff(read_up_to(reader, SNIFF_SIZE)) == "zstd"


def _write_plain(target: _TarTarget, source: Source, layer: Descriptor, diff_id: Digest) -> Digest:
    """Write the plain tar of a layer, checked against its diff id; inflated twice, as its size must stand before it."""
    with closing(_plain(source, layer)) as reader:
        plain = Descriptor(OCI_LAYER, diff_id, measure(reader))
    if not target.exists(plain):
        with closing(_plain(source, layer)) as reader:
            target.push(plain, reader)
    return diff_id


def _plain(source: Source, layer: Descriptor) -> Reader:
    return InflatingReader(VerifyingReader(source.fetch(layer), layer), "zstd", layer.digest)


def _write_docker(
    tar: TarWriter, source: Source, roots: dict[Descriptor, list[str]], images: list[Descriptor | None],
    layers: list[list[Digest]],
) -> None:
    items = []
    repositories: dict[str, dict[str, str]] = {}
    for names, image, digests in zip(roots.values(), images, layers, strict=True):
        if image is None:
            continue
        manifest = _manifest(source, image)
        references = [Reference.parse(name) for name in names if not is_bare_tag(name)]
        tagged = [reference for reference in references if reference.tag]
        items.append({
            "Config": blob_path(manifest.config.digest),
            "RepoTags": [replace(reference, digest=None).familiar() for reference in tagged] or None,
            "Layers": [blob_path(digest) for digest in digests],
        })
        for reference in tagged if digests else ():
            tags = repositories.setdefault(reference.familiar_name, {})
            tags[reference.tag] = digests[-1].hex
    tar.document(MANIFEST, dump(items))
    if repositories:
        tar.document("repositories", dump(repositories))


def _docker_image(source: Source, result: CopyResult, host: Platform) -> Descriptor | None:
    """The one image of a graph that a docker-archive's readers are to see."""
    images = [one for one in result.manifests if not is_attestation(one) and is_image(_manifest(source, one))]
    if len(images) == 1:
        return images[0]
    return select_platform(images, host)


def _manifest(source: Source, descriptor: Descriptor) -> Manifest:
    return parse_manifest(read_blob(source, descriptor), descriptor.media_type, descriptor.digest)


def _platform(source: Source, root: Descriptor) -> Platform | None:
    """What an image is for, by its config."""
    if not is_manifest(root.media_type):
        return None
    manifest = _manifest(source, root)
    if not is_image(manifest):
        return None
    config = parse_config(read_blob(source, manifest.config), manifest.config.digest)
    return config.platform if config.os and config.architecture else None
