"""Where a registry may send us: an address is followed only if nothing can come of it but the bytes that were asked for."""

from __future__ import annotations

from urllib.parse import urljoin

from lamina.errors import RegistryError
from lamina.registry.hosts import is_link_local, is_loopback
from lamina.registry.origins import Origin, origin_of, shown

# Those whose Location is to be asked instead; 304 and 300 are none.
STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_HOPS = 10


def resolve(location: str, url: str, own: Origin) -> str:
    """The absolute URL that `location` (a redirect's, an upload's, a next page's) means at `url`; `RegistryError` if it
    must not be followed from the registry `own`."""
    if any(character <= " " or character == "\x7f" for character in location):
        raise RegistryError("the registry leads to a URL with control characters or spaces", shown(location))
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise RegistryError("the registry leads to a URL that makes no sense", shown(location)) from error
    check(target, url, own)
    return target


def check(target: str, url: str, own: Origin) -> None:
    """Whether `target` may be asked, coming from `url`.

    Never another scheme than http and https; http only from http, unless the registry itself is plain and on loopback;
    link-local addresses and metadata services only where they are the registry itself.
    """
    origin = origin_of(target)
    if origin == own:
        return
    test_set_up = own.scheme == "http" and is_loopback(own.name)
    if origin.scheme == "http" and origin_of(url).scheme == "https" and not test_set_up:
        raise RegistryError("the registry leads from https to plain http: not followed", shown(target))
    if is_link_local(origin.name):
        raise RegistryError("the registry leads to a link-local address: not followed", shown(target))


class Trail:
    """The redirects of one request."""

    def __init__(self, url: str) -> None:
        self._seen = {url}

    def step(self, url: str) -> None:
        """One more; `RegistryError` for a loop, and after too many."""
        if url in self._seen:
            raise RegistryError("the registry redirects in a circle", shown(url))
        if len(self._seen) > MAX_HOPS:
            raise RegistryError(f"the registry redirects more than {MAX_HOPS} times", shown(url))
        self._seen.add(url)
