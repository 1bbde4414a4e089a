"""Which page answers which path.

    /                                    repositories and the store; ?q= searches, ?sort= and ?page=
    /r/NAME                              tags; ?page=
    /r/NAME:TAG, /r/NAME@DIGEST          an image or index (/r/NAME/TAG leads there, where nothing has that whole name)
    /files/NAME@DIGEST?layer=            files of a layer; &prefix=, &start=
    /-/style.css, /-/page.js, ...        what belongs to the page
    /-/live.json                         figures for its script

Whatever one may not see is answered as what is not there.  Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from lamina.errors import LaminaError, NotFound
from lamina.registry.server.page.answer import Page, asset, json_page, moved
from lamina.registry.server.page.files import files_page
from lamina.registry.server.page.frame import problem
from lamina.registry.server.page.home import home
from lamina.registry.server.page.item import item_page
from lamina.registry.server.page.library import Busy, Image, Library
from lamina.registry.server.page.repository import repository_page
from lamina.registry.server.page.search import search
from lamina.registry.server.page.words import MOST, link

May = Callable[[str], bool]


def respond(library: Library, path: str, query: Mapping[str, str], may: May) -> Page:
    """The answer to a GET of a path that is decoded; blocks, so it is called from a thread.

    `query`: the last value of each name, decoded with `surrogateescape`.  `may(repository)`: whether the visitor may see it.
    """
    try:
        return _found(library, path, query, may) if len(path) <= MOST else _nothing()
    except NotFound:
        return _nothing()
    except Busy as error:
        answer = problem(503, "One moment", f"{error.what[:1].upper()}{error.what[1:]}: try again in a few seconds.")
        answer.headers["Retry-After"] = "3"
        return answer
    except LaminaError:  # what is wrong with the store is for the log, and not for whoever looks at a page
        return problem(500, "This cannot be shown", "The store could not be read; the log of the server says more.")


def _found(library: Library, path: str, query: Mapping[str, str], may: May) -> Page:
    if path == "/":
        visible = [one for one in library.repositories() if may(one.name)]
        asked = query.get("q", "")
        return search(library, visible, asked, may) if asked.strip() else home(library, visible, query)
    room, _, rest = path[1:].partition("/")
    if room == "r" and rest:
        return _shown(library, rest, query, may)
    if room == "files" and rest:
        return _files(library, rest, query, may)
    if room == "-":
        return _live(library, may) if rest == "live.json" else asset(rest) or _nothing()
    return _nothing()


def _shown(library: Library, rest: str, query: Mapping[str, str], may: May) -> Page:
    repository, reference = split(rest)
    if not reference:
        one = library.repository(repository) if may(repository) else None
        if one is not None:
            return repository_page(one, query)
        return _by_slash(library, repository, may)
    item = library.item(repository, reference) if may(repository) else None
    return _nothing() if item is None else item_page(library, repository, reference, item, may)


def _by_slash(library: Library, rest: str, may: May) -> Page:
    """`NAME/TAG`, as people may type it."""
    repository, _, reference = rest.rpartition("/")
    if repository and may(repository) and library.item(repository, reference) is not None:
        return moved(link(f"/r/{repository}:{reference}"))
    return _nothing()


def _files(library: Library, rest: str, query: Mapping[str, str], may: May) -> Page:
    repository, reference = split(rest)
    layer = query.get("layer", "")
    item = library.item(repository, reference) if reference and may(repository) else None
    if not isinstance(item, Image) or layer not in {one.digest for one in item.layers}:
        return _nothing()
    return files_page(library, repository, item, layer, query)


def _live(library: Library, may: May) -> Page:
    if not any(may(one.name) for one in library.repositories()):
        return _nothing()
    return json_page(asdict(library.traffic()))


def split(text: str) -> tuple[str, str]:
    """Repository and tag or digest, '' where there is none; a colon before the last slash is a port's."""
    name, at, digest = text.partition("@")
    if at:
        return name, digest
    head, slash, last = text.rpartition("/")
    repository, _, tag = last.partition(":")
    return head + slash + repository, tag


def _nothing() -> Page:
    return problem(404, "Nothing here", "There is nothing of that name, or it is not for you to see.")
