"""Where an answer sends us on: the Location of an upload, the next page of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from lamina.errors import LimitExceeded, RegistryError
from lamina.registry.documents import Headers
from lamina.registry.origins import Origin, origin_of
from lamina.registry.redirects import resolve

MAX_PAGES = 10_000
# Pages that bring nothing, one after another: some registries filter after they have cut the pages.
MAX_EMPTY = 16

_MAX_LINK = 16_384  # characters of a header that are looked at

T = TypeVar("T")

_LINK = re.compile(r"<([^<>\s]*)>([^,<>]*)")
_NEXT = re.compile(r""";\s*rel\s*=\s*"?next"?\s*(?:;|$)""", re.IGNORECASE)


class Page(Protocol):
    """What `Response` has of one page."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Headers: ...


def located(url: str, location: str, own: Origin, where: object) -> str:
    """The absolute URL of a Location given in the answer of `url`, by the registry `own`; it may be relative, and of
    another origin.  `RegistryError` where there is none, or it must not be followed (`redirects`)."""
    if not location:
        raise RegistryError("the registry does not say where to go on", where)
    return resolve(location, url, own)


def next_page(response: Page, where: object) -> str | None:
    """The URL of the next page (`Link: <…>; rel="next"`); `RegistryError` if it is of another origin."""
    for found in _LINK.finditer(response.headers.get("Link", "")[:_MAX_LINK]):
        if _NEXT.search(found[2]):
            own = origin_of(response.url)
            url = located(response.url, found[1], own, where)
            if origin_of(url) != own:
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
