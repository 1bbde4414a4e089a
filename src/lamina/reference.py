"""Image names by Docker's reference grammar: `[domain/]path[:tag][@digest]`.

The grammar and its normalisation are those of the `distribution/reference` package; the words of the errors
are docker's, because scripts match them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from lamina.digest import Digest
from lamina.errors import InvalidDigest, InvalidReference

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 255

_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
# Name, tag and the longest digest together stay below this; longer text is not worth matching.
_MAX_TEXT = 1024

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"({_DOMAIN})/({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_WHOLE_TAG = re.compile(_TAG)
_HEX_ID = re.compile(r"[0-9a-f]{1,64}")
_FULL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in full; `tag` is '' and `digest` None where not given.  With both, the digest counts."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_tag: str = DEFAULT_TAG) -> Self:
        """The reference that docker would read; `default_tag` is set where neither tag nor digest is given
        ('' leaves it open).  Raises `InvalidReference`."""
        if _FULL_ID.fullmatch(text):
            raise InvalidReference(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
        domain, rest = _split_domain(text)
        if any(character.isupper() for character in rest.partition(":")[0]):
            raise InvalidReference("invalid reference format: repository name must be lowercase", text[:160])
        found = _REFERENCE.fullmatch(f"{domain}/{rest}") if len(text) <= _MAX_TEXT else None
        if found is None:
            raise InvalidReference("invalid reference format", text[:160])
        domain, path, tag, digest = found.groups()
        if len(domain) + 1 + len(path) > MAX_NAME:
            raise InvalidReference(f"repository name must not be more than {MAX_NAME} characters", text[:160])
        return cls(domain, path, tag or ("" if digest else default_tag), _digest(digest, text))

    @property
    def name(self) -> str:
        """Domain and path, in full."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as docker shows it: without docker.io and its `library/`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    def familiar(self) -> str:
        """The reference as docker shows it: `nginx:latest`."""
        return self.familiar_name + self._suffix()

    def with_tag(self, tag: str) -> Self:
        """The same name and digest with another tag; `InvalidReference`."""
        if not _WHOLE_TAG.fullmatch(tag):
            raise InvalidReference("invalid tag format", tag[:160])
        return replace(self, tag=tag)

    def with_digest(self, digest: Digest) -> Self:
        """The same name and tag with a digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_tag(text: str) -> bool:
    """Whether the text could be a tag."""
    return _WHOLE_TAG.fullmatch(text) is not None


def is_hex_id(text: str) -> bool:
    """Whether the text could be an image id or the start of one (1–64 hex digits, no `sha256:`)."""
    return _HEX_ID.fullmatch(text) is not None


def _split_domain(text: str) -> tuple[str, str]:
    """Domain and the rest.  A first component is a domain if it has a dot, a port or an upper-case letter, or
    is `localhost`; nothing else tells it from a user's name."""
    first, slash, rest = text.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, rest = (first, rest) if is_domain else (DEFAULT_DOMAIN, text)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return domain, rest


def _digest(text: str | None, reference: str) -> Digest | None:
    if text is None:
        return None
    try:
        return Digest(text)
    except InvalidDigest as error:
        raise InvalidReference("invalid reference format", reference[:160], error.what) from error
