"""What clients may call things: repositories, tags, digests, uploads (distribution specification, "Pulling manifests").

The path is taken as it came over the wire.  Nothing is decoded but `%3A`, which some clients write for the colon of a digest;
any other escape, `..`, an empty part or a byte that is no letter of the grammar makes a name that is none.
"""

from __future__ import annotations

import re

from lamina.digest import ALGORITHMS, Digest
from lamina.errors import InvalidDigest
from lamina.registry.server.refusal import Refusal

MAX_NAME = 255  # characters of a repository's name

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_UPLOAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
# type/subtype of RFC 6838, section 4.2; only `application/`, as a browser would run some of the others.
_MEDIA_TYPE = re.compile(r"application/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


def repository(text: str) -> str:
    """The name of a repository; `NAME_INVALID`."""
    if len(text) > MAX_NAME or _NAME.fullmatch(text) is None:
        raise Refusal("NAME_INVALID", shown(text))
    return text


def is_repository(text: str) -> bool:
    """Whether it could be the name of a repository."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether it could be a tag."""
    return _TAG.fullmatch(text) is not None


def tag(text: str) -> str:
    """A tag to be written; `TAG_INVALID`."""
    if not is_tag(text):
        raise Refusal("TAG_INVALID", shown(text))
    return text


def digest(text: str) -> Digest:
    """A digest of an algorithm that is known; `DIGEST_INVALID`."""
    try:
        return Digest(text)
    except InvalidDigest as error:
        raise Refusal("DIGEST_INVALID", error.what) from None


def algorithm(text: str) -> str:
    """A digest algorithm that can be computed; `DIGEST_INVALID`."""
    if text not in ALGORITHMS:
        raise Refusal("DIGEST_INVALID", f"unknown digest algorithm {shown(text)}")
    return text


def found(text: str) -> str | Digest:
    """The tag or digest that is asked for: what can be neither is not there (`MANIFEST_UNKNOWN`), but a digest that is wrong
    in itself is `DIGEST_INVALID`."""
    if ":" in text:
        return digest(text)
    if not is_tag(text):
        raise Refusal("MANIFEST_UNKNOWN", shown(text))
    return text


def upload(text: str) -> str:
    """The id of an upload; `BLOB_UPLOAD_UNKNOWN`, as for one that nobody has begun."""
    if _UPLOAD.fullmatch(text) is None:
        raise Refusal("BLOB_UPLOAD_UNKNOWN")
    return text


def is_media_type(text: str) -> bool:
    """Whether a manifest may have this media type."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def shown(text: str) -> str:
    """A client's text as it can stand in an answer or a log: short, and nothing in it that acts."""
    return ascii(text[:80])
