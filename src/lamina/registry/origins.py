"""URLs, and whose they are: an origin is scheme, host and port (RFC 6454), and credentials belong to one.

The parser is the one that connects (urllib3's), so that what is compared and what is spoken to are the same host.
"""

from __future__ import annotations

from typing import NamedTuple

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from lamina.errors import RegistryError

_PORTS = {"http": 80, "https": 443}
_MAX_URL = 16384


class Origin(NamedTuple):
    """Scheme, host (lower case, IPv6 in brackets) and port of a URL."""

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """The host without the brackets of IPv6."""
        return self.host.strip("[]")

    def __str__(self) -> str:
        """`host[:port]`, the port only where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


def parse(url: str) -> Url:
    """The parts of an absolute http(s) URL; `RegistryError` for anything else, and for one with a password in it."""
    if len(url) > _MAX_URL:
        raise RegistryError("the registry names a URL that is too long", f"{len(url)} characters")
    if any(character <= " " or character == "\x7f" for character in url):
        raise RegistryError("the registry names a URL with control characters or spaces")
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError) as error:
        raise RegistryError("the registry names a URL that makes no sense", shown(url)) from error
    if parts.scheme not in _PORTS or not parts.host:
        raise RegistryError("the registry names a URL that is not http or https", shown(url))
    if parts.auth is not None:
        raise RegistryError("the registry names a URL with a user name in it", shown(url))
    return parts


def origin_of(url: str) -> Origin:
    """Whose URL it is; `RegistryError` as `parse`."""
    parts = parse(url)
    assert parts.scheme and parts.host  # parse has seen to it
    return Origin(parts.scheme, parts.host.lower(), parts.port or _PORTS[parts.scheme])


def shown(url: str) -> str:
    """The URL as it may be shown: no query (it may be signed), no user or password, printable, not long."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, slashes, rest = bare.partition("://")
    if slashes:
        bare = f"{scheme}://{rest.rpartition('@')[2]}"  # A password may hold a slash, though it must not.
    bare = "".join(character if character.isprintable() else "?" for character in bare)
    return bare if len(bare) <= 200 else bare[:200] + "…"
