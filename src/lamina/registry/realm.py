"""Where a registry sends us for a token, and whether a password may go there.

The realm of a bearer challenge may be another host: that is the protocol (docker.io's is auth.docker.io).  So it is the one
address that a registry names and that gets the password.  It gets it over https only, or over plain http where the registry
itself is spoken to so.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from lamina.errors import RegistryError
from lamina.registry.hosts import is_link_local, is_loopback

MAX_REALM = 2048

# Stricter than RFC 3986, so that no two parsers can read it in two ways: no user, no backslash, no fragment.
_URL = re.compile(r"(https?)://([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?([/?][!-\"$-\[\]-~]*)?",
                  re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """An http(s) address, taken apart: `host` in lower case and without brackets, `rest` the path and query."""

    scheme: str
    host: str
    port: int
    rest: str = ""

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != _PORTS[self.scheme] else "")

    @property
    def url(self) -> str:
        return self.origin + (self.rest if self.rest.startswith("/") else "/" + self.rest)

    def __str__(self) -> str:
        """Without the query: it may hold what is nobody's business."""
        return self.url.partition("?")[0]


def place(text: str) -> Place | None:
    """The address, or None for what is no plain http(s) URL."""
    found = _URL.fullmatch(text) if len(text) <= MAX_REALM else None
    if found is None:
        return None
    scheme, host, port, rest = found.groups()
    scheme, host = scheme.lower(), host.lower()
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            return None
    else:
        host = host.rstrip(".")
    number = int(port) if port else _PORTS[scheme]
    return Place(scheme, host, number, rest or "") if host and 0 < number < 65536 else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def realm_of(text: str, base: str, domain: str) -> Place:
    """The realm that a registry at `base` names; `RegistryError` for one that is no address, or one inside the machine."""
    found, own = place(text), place(base)
    if found is None:
        raise RegistryError("the registry names no http or https address to get a token from", domain)
    if is_link_local(found.host) and (own is None or own.host != found.host):
        raise RegistryError(f"the registry names a link-local address to get a token from: {found.origin}", domain)
    return found


def may_have_password(realm: Place, base: str) -> bool:
    """Whether a password for the registry at `base` may be sent to the realm."""
    own = place(base)
    if realm.scheme == "https":
        return True
    if own is None:
        return False
    # A registry on https that names its own host on http is no reason to send it in the clear.
    same = own.scheme == "http" and own.host == realm.host
    return same or (is_loopback(own.host) and is_loopback(realm.host))
