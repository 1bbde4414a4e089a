"""Whether what is pushed as a manifest is one, and only one: whoever reads it later must see what was checked here."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.errors import InvalidContent, LimitExceeded
from lamina.jsonlimits import Fields, loads
from lamina.oci import Descriptor, is_index, is_manifest, is_schema1, media_type_of, parse_index, parse_manifest
from lamina.registry.server import names
from lamina.registry.server.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Checked:
    """The media type to keep a document under, and its subject."""

    media_type: str
    subject: Descriptor | None = None


def check(data: bytes, content_type: str) -> Checked:
    """Hold a document against the Content-Type that it came with; `MANIFEST_INVALID`.

    It must be JSON within limits, its own `mediaType` (if any) the same as the Content-Type (if any), and its fields those of
    one kind.  Of media types that are not known the fields are not looked at.
    """
    announced = content_type.partition(";")[0].strip().lower()
    try:
        return _check(data, announced)
    except (InvalidContent, LimitExceeded) as error:
        raise Refusal("MANIFEST_INVALID", error.what) from error


def _check(data: bytes, announced: str) -> Checked:
    value = loads(data, "manifest")
    own = Fields(value, "manifest").text("mediaType")
    if own and announced and own != announced:
        raise InvalidContent(f"mediaType is {names.shown(own)}, Content-Type {names.shown(announced)}")
    media_type = own or announced or media_type_of(data)
    if not names.is_media_type(media_type):
        raise InvalidContent(f"media type {names.shown(media_type)} is none for a manifest")
    if is_schema1(media_type) or "fsLayers" in value:
        raise InvalidContent("manifest has Docker's schema 1")
    if is_manifest(media_type):
        return Checked(media_type, parse_manifest(data, media_type).subject)
    if is_index(media_type):
        return Checked(media_type, parse_index(data, media_type).subject)
    if "manifests" in value and ("layers" in value or "config" in value):
        raise InvalidContent("manifest is a manifest and an index at once")
    return Checked(media_type)
