"""Where an answer sends us on: the Location of an upload, the next page of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from lamina.errors import LimitExceeded, RegistryError
from lamina.registry.documents import Headers

MAX_URL = 8192
MAX_PAGES = 10_000
# Pages that bring nothing, one after another: some registries filter after they have cut the pages.
MAX_EMPTY = 16

T = TypeVar("T")

_LINK = re.compile(r"<([^<>\s]*)>([^,<>]*)")
_NEXT = re.compile(r""";\s*rel\s*=\s*"?next"?\s*(?:;|$)""", re.IGNORECASE)


class Page(Protocol):
    """What `Response` has of one page."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Headers: ...


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; `ValueError` for a port that is none."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(scheme)


def located(base: str, location: str, where: object) -> str:
    """The absolute URL of a Location given in the answer of `base`.

    It may be relative, and of another origin; `RegistryError` unless it is http(s), and https where `base` is.
    """
    try:
        if not location or len(location) > MAX_URL or not location.isprintable():
            raise ValueError
        url = urljoin(base, location)
        scheme, host, _ = origin(url)
        if scheme not in ("http", "https") or not host or (scheme == "http" and origin(base)[0] == "https"):
            raise ValueError
    except ValueError:
        raise RegistryError("the registry sends us on to a place that is none", where) from None
    return url


def next_page(response: Page, where: object) -> str | None:
    """The URL of the next page (`Link: <…>; rel="next"`); `RegistryError` if it is of another origin."""
    for found in _LINK.finditer(response.headers.get("Link", "")[: 2 * MAX_URL]):
        if _NEXT.search(found[2]):
            url = located(response.url, found[1], where)
            if origin(url) != origin(response.url):
                raise RegistryError("the registry's next page is at another origin", where)
            return url
    return None


def pages(
    first: str, ask: Callable[[str], tuple[list[T], str | None]], what: str, where: object, limit: int
) -> Iterator[T]:
    """Everything on all pages, from the URL `first` on; `ask` gives a page's content and the URL of the next.

    `LimitExceeded`: more than `limit` in all, or `MAX_PAGES`.  `RegistryError`: pages that go round, or bring nothing.
    """
    seen: set[int] = set()  # hashes: ten thousand URLs of 8 KiB are 80 MB
    url: str | None = first
    count = empty = 0
    while url is not None:
        if hash(url) in seen or empty > MAX_EMPTY:
            raise RegistryError(f"the registry's list of {what} has no end", where)
        seen.add(hash(url))
        if len(seen) > MAX_PAGES:
            raise LimitExceeded(f"list of {what} has too many pages", where, f"at most {MAX_PAGES} are read")
        found, url = ask(url)
        empty = 0 if found else empty + 1
        for one in found:
            count += 1
            if count > limit:
                raise LimitExceeded(f"list of {what} is too long", where, f"at most {limit} are read")
            yield one
