"""Manifests and indexes as a registry serves them: what was asked for, what it says that it is, what it is.

A document is named three times over: by the Content-Type of the answer, by its own `mediaType`, by its fields.  Where
they differ in kind, two readers would see two images, and it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from lamina.digest import Digest
from lamina.errors import DigestMismatch, InvalidContent, InvalidDigest, LimitExceeded, RegistryError
from lamina.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1_HINT,
    Descriptor,
    is_index,
    is_manifest,
    is_schema1,
    media_type_of,
    parse_index,
    parse_manifest,
)

# Schema 1 comes last: a registry that has nothing else says so by it, and not by a 404 that tells nothing.
ACCEPT = ", ".join((
    OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1",
    "application/vnd.docker.distribution.manifest.v1+json;q=0.1",
))

Headers = Mapping[str, str]


def content_type(headers: Headers) -> str:
    """The media type of an answer, without its parameters; '' where there is none."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def content_length(headers: Headers) -> int | None:
    """What the answer says of its length, if it does, in digits."""
    text = headers.get("Content-Length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def content_digest(headers: Headers, where: object) -> Digest | None:
    """`Docker-Content-Digest`; `RegistryError` where it is there and no digest."""
    text = headers.get("Docker-Content-Digest", "").strip()
    if not text:
        return None
    try:
        return Digest(text)
    except InvalidDigest:
        raise RegistryError("the registry names a digest that is none", where) from None


def check_head(headers: Headers, where: object) -> None:
    """Refuse by its head alone what is no manifest: HTML, schema 1, more than 4 MiB."""
    kind, length = content_type(headers), content_length(headers)
    if kind == "text/html":
        raise RegistryError("what answers is not a registry: it sends HTML", where, "check the name of the registry")
    if is_schema1(kind):
        raise InvalidContent("manifest has Docker's schema 1", where, SCHEMA1_HINT)
    if length is not None and length > MAX_BYTES:
        raise LimitExceeded(f"manifest of {length} bytes is too large", where, f"at most {MAX_BYTES} are read")


def from_head(headers: Headers, where: object) -> Descriptor | None:
    """The descriptor of a manifest by the answer to HEAD; None where it does not say all."""
    check_head(headers, where)
    kind, length, digest = content_type(headers), content_length(headers), content_digest(headers, where)
    if length is None or digest is None or not (is_manifest(kind) or is_index(kind)):
        return None
    return Descriptor(kind, digest, length)


def describe(data: bytes, headers: Headers, reference: str, where: object) -> Descriptor:
    """The descriptor of a manifest that was served for `reference`, a tag or a digest.

    Its digest is computed: `DigestMismatch` where the reference or the registry's own word is another.
    `InvalidContent` where type and content are of two kinds, or of none that is known.
    """
    check_head(headers, where)
    media_type = _media_type(data, content_type(headers), where)
    said = content_digest(headers, where)
    asked = Digest(reference) if ":" in reference else None
    named = asked or said
    digest = Digest.of(data, named.algorithm if named else "sha256")
    for wanted, by in ((asked, "it was asked for"), (said, "the registry says")):
        if wanted is not None and wanted != (digest if wanted.algorithm == digest.algorithm
                                             else Digest.of(data, wanted.algorithm)):
            raise DigestMismatch(f"manifest has digest {digest}", where, f"{by} {wanted}")
    return Descriptor(media_type, digest, len(data))


def same(digest: Digest, headers: Headers, where: object) -> None:
    """Hold what a registry says to have taken against what it was given; `DigestMismatch`.

    Another algorithm's digest cannot be compared without the bytes, and passes.
    """
    said = content_digest(headers, where)
    if said is not None and said.algorithm == digest.algorithm and said != digest:
        raise DigestMismatch(f"the registry stored {said}", where, f"it was given {digest}")


def _media_type(data: bytes, served: str, where: object) -> str:
    known = served if is_manifest(served) or is_index(served) else ""
    media_type = media_type_of(data, known, where)
    if known and (is_index(known), is_manifest(known)) != (is_index(media_type), is_manifest(media_type)):
        raise InvalidContent(f"the registry serves {_kind(media_type)} as {_kind(known)}", where)
    if is_manifest(media_type):
        parse_manifest(data, media_type, where)
    elif is_index(media_type):
        parse_index(data, media_type, where)
    else:
        raise InvalidContent(f"manifest has the unknown type {media_type[:80]!r}", where)
    return media_type


def _kind(media_type: str) -> str:
    if is_index(media_type):
        return "an index"
    return "a manifest" if is_manifest(media_type) else repr(media_type[:80])
