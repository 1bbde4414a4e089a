"""The nouns of the OCI image specification, and Docker's older names for the same things.

Descriptor, manifest and index live here; media types, platforms, image configs and the JSON limits have a
module each and are offered here as well, so that floors above need this one import.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from lamina.digest import Digest
from lamina.errors import InvalidContent, InvalidDigest, UsageError
from lamina.imageconfig import MAX_LAYERS, History, ImageConfig, chain_ids, parse_config
from lamina.jsonlimits import MAX_BYTES, Fields, loads
from lamina.mediatypes import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    SCHEMA1_HINT,
    is_config,
    is_index,
    is_layer,
    is_manifest,
    is_nondistributable,
    is_schema1,
    layer_compression,
)
from lamina.platforms import Platform, matches, serving

__all__ = [
    "DOCKER_CONFIG", "DOCKER_LAYER", "DOCKER_LIST", "DOCKER_MANIFEST", "MAX_BYTES", "MAX_LAYERS",
    "MAX_MANIFESTS", "OCI_CONFIG", "OCI_EMPTY", "OCI_INDEX", "OCI_LAYER", "OCI_MANIFEST", "SCHEMA1_HINT",
    "Descriptor", "History", "ImageConfig", "Index", "Manifest", "Platform",
    "chain_ids", "children", "is_attestation", "is_config", "is_image", "is_index", "is_layer",
    "is_manifest", "is_nondistributable", "is_schema1", "layer_compression", "loads", "make_manifest",
    "matches", "media_type_of", "parse_config", "parse_index", "parse_manifest", "select_platform",
]

MAX_MANIFESTS = 4096

_ATTESTATION_KEY, _ATTESTATION = "vnd.docker.reference.type", "attestation-manifest"
_DESCRIPTOR_FIELDS = frozenset(
    ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is named: media type, digest, size (descriptor.md); `extra` holds unspecified fields."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict, hash=False, compare=False)
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """From an object within a document; `InvalidContent` names the field that is wrong."""
        try:
            digest = Digest(fields.text("digest", required=True))
        except InvalidDigest as error:
            fields.refuse("digest", f"is {error}")
        size = fields.natural("size")
        platform = fields.child("platform")
        return cls(
            media_type=fields.text("mediaType", required=True),
            digest=digest,
            size=size,
            platform=None if platform is None else Platform.from_fields(platform),
            artifact_type=fields.text("artifactType"),
            annotations=fields.text_mapping("annotations"),
            urls=fields.texts("urls"),
            data=_embedded(fields, digest, size),
            extra=fields.rest(_DESCRIPTOR_FIELDS),
        )

    @classmethod
    def from_json(cls, value: object, where: object = "") -> Self:
        """As `from_fields`, of a value of its own."""
        return cls.from_fields(Fields(value, "descriptor", where=where))

    def to_json(self) -> dict[str, Any]:
        """The specification's fields in its order, empty ones left out, then `extra`."""
        fields: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            fields["urls"] = list(self.urls)
        if self.annotations:
            fields["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            fields["data"] = binascii.b2a_base64(self.data, newline=False).decode("ascii")
        if self.platform is not None:
            fields["platform"] = self.platform.to_json()
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        return fields | self.extra


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image or artifact (manifest.md); of an archive's legacy shapes see `make_manifest`."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests under one name, most often one for each platform (image-index.md)."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict, hash=False, compare=False)


def parse_manifest(data: bytes, media_type: str = "", where: object = "") -> Manifest:
    """The view of a manifest.  `media_type` is what its descriptor says; a document that says otherwise, or
    has an index's fields too, is refused (it would be read in two ways by two readers): `InvalidContent`."""
    fields = _document(data, "manifest", where, media_type)
    if fields.has("manifests"):
        fields.refuse("manifests", "stands in a manifest")
    config = fields.child("config")
    if config is None:
        fields.refuse("config", "is missing")
    return Manifest(
        media_type=_checked_media_type(fields, media_type, is_manifest) or OCI_MANIFEST,
        config=Descriptor.from_fields(config),
        layers=tuple(Descriptor.from_fields(layer) for layer in fields.children("layers", MAX_LAYERS)),
        subject=_subject(fields),
        artifact_type=fields.text("artifactType"),
        annotations=fields.text_mapping("annotations"),
    )


def parse_index(data: bytes, media_type: str = "", where: object = "") -> Index:
    """The view of an index or manifest list; refuses as `parse_manifest` does."""
    fields = _document(data, "index", where, media_type)
    for name in ("config", "layers"):
        if fields.has(name):
            fields.refuse(name, "stands in an index")
    return Index(
        media_type=_checked_media_type(fields, media_type, is_index) or OCI_INDEX,
        manifests=tuple(Descriptor.from_fields(one) for one in fields.children("manifests", MAX_MANIFESTS)),
        subject=_subject(fields),
        artifact_type=fields.text("artifactType"),
        annotations=fields.text_mapping("annotations"),
    )


def media_type_of(data: bytes, hint: str = "", where: object = "") -> str:
    """The media type of a manifest or index: its own word, else `hint`, else by its fields."""
    fields = _document(data, "manifest", where, hint)
    own = fields.text("mediaType")
    if own or is_manifest(hint) or is_index(hint):
        return own or hint
    single, several = fields.has("config") or fields.has("layers"), fields.has("manifests")
    if single == several:
        fields.refuse("", "is neither a manifest nor an index" if not single
                      else "is a manifest and an index at once")
    return OCI_MANIFEST if single else OCI_INDEX


def children(media_type: str, data: bytes, where: object = "") -> tuple[Descriptor, ...]:
    """What a manifest (config, then layers) or index names; nothing for other media types."""
    if is_manifest(media_type):
        manifest = parse_manifest(data, media_type, where)
        return (manifest.config, *manifest.layers)
    if is_index(media_type):
        return parse_index(data, media_type, where).manifests
    return ()


def is_image(manifest: Manifest) -> bool:
    """Whether it is an image to run, not an artifact."""
    return is_config(manifest.config.media_type)


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether an index's entry is a statement about another one, as BuildKit writes them."""
    platform = descriptor.platform
    nowhere = platform is not None and platform.os == platform.architecture == "unknown"
    return nowhere or descriptor.annotations.get(_ATTESTATION_KEY) == _ATTESTATION


def select_platform(
    candidates: Iterable[Descriptor], wanted: Platform, *, strict: bool = False
) -> Descriptor | None:
    """The candidate that serves `wanted` best; the first of equals; None when none does.

    By default older variants and 32-bit kin serve too, in containerd's order; `strict` takes `wanted` alone,
    as docker does for a platform that was asked for.  Candidates that name no platform are not considered.
    """
    named = [(one, one.platform) for one in candidates if one.platform is not None]
    for platform in (wanted,) if strict else serving(wanted):
        for one, have in named:
            if matches(platform, have):
                return one
    return None


def make_manifest(config: bytes, layers: Sequence[Descriptor]) -> bytes:
    """The manifest of an image whose archive has none: the same bytes for the same image, each time.

    OCI's media types throughout, whatever the archive called its parts (a Docker config is a valid OCI
    config), and of a layer nothing but type, digest and size.
    """
    named = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": named.to_json(),
        "layers": [_bare_layer(layer).to_json() for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _bare_layer(layer: Descriptor) -> Descriptor:
    compression = layer_compression(layer.media_type)
    if compression is None:
        raise UsageError(f"no layer to make a manifest of: {layer.media_type}", layer.digest)
    return Descriptor(f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER, layer.digest, layer.size)


def _document(data: bytes, what: str, where: object, media_type: str) -> Fields:
    value = loads(data, what, where=where)
    fields = Fields(value, what, where=where)
    version = value.get("schemaVersion", 2)
    if version == 1 or "fsLayers" in value or is_schema1(media_type) or is_schema1(fields.text("mediaType")):
        raise InvalidContent(f"{what} has Docker's schema 1", where, SCHEMA1_HINT)
    if type(version) is not int or version != 2:
        fields.refuse("schemaVersion", "is not 2")
    return fields


def _checked_media_type(fields: Fields, expected: str, right: Callable[[str], bool]) -> str:
    own = fields.text("mediaType")
    if own and expected and own != expected:
        fields.refuse("mediaType", f"is {own[:80]!r}, its descriptor says {expected[:80]!r}")
    media_type = own or expected
    if media_type and not right(media_type):
        fields.refuse("mediaType", f"is {media_type[:80]!r}")
    return media_type


def _subject(fields: Fields) -> Descriptor | None:
    subject = fields.child("subject")
    return None if subject is None else Descriptor.from_fields(subject)


def _embedded(fields: Fields, digest: Digest, size: int) -> bytes | None:
    """`data`: the blob itself, in base64; checked here, so that whoever uses it need not."""
    if not fields.has("data"):
        return None
    try:
        data = binascii.a2b_base64(fields.text("data").encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        fields.refuse("data", "is not base64")
    if len(data) != size or Digest.of(data, digest.algorithm) != digest:
        fields.refuse("data", "is not what size and digest say")
    return data
