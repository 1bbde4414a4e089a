"""`/?q=`: repositories, tags and digests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.frame import document, section, table
from lamina.registry.server.page.library import Hit, Library, Repository
from lamina.registry.server.page.words import (
    ago,
    files_url,
    isolated,
    item_url,
    number,
    plural,
    repository_url,
    safe,
    short,
    size,
)

MOST = 50  # of each kind
LONGEST = 200  # characters of a question
_DIGEST = re.compile(r"(?:[a-z0-9+._-]{1,32}:)?[0-9a-f]{4,128}")


def search(library: Library, visible: Sequence[Repository], asked: str, may: Callable[[str], bool]) -> Page:
    """What has the words in its name; a digest by its beginning, at least four digits."""
    wanted = asked.strip()[:LONGEST].lower()
    repositories = [one for one in visible if wanted in one.name.lower()]
    tags = [(one, tag) for one in visible for tag in one.tags if tag.name and _fits(wanted, one.name, tag.name.lower())]
    found = [_repositories(repositories)] if repositories else []
    if tags:
        rows = ([f'<a href="{item_url(one.name, tag.name)}">{isolated(f"{one.name}:{tag.name}", 400)}</a>', size(tag.size),
                 ago(tag.pushed)] for one, tag in tags[:MOST])
        found.append(section("Tags", table("tags", ("Tag", "Size", "Pushed"), rows, (1,)), _told(len(tags)), "found-tags"))
    if _DIGEST.fullmatch(wanted) and (digests := _digests(library, wanted, may)):
        found.append(digests)
    if not found:
        found.append(section("Nothing found", "<p>No repository or tag has that in its name, and no digest begins so.</p>"))
    title = f"<h1>Found for “{isolated(asked, LONGEST)}”</h1>"
    return document(f"Search: {asked}", title + "".join(found), crumbs=[("Repositories", "/")], asked=asked)


def _fits(wanted: str, repository: str, tag: str) -> bool:
    return wanted in tag or (":" in wanted and wanted in f"{repository}:{tag}")


def _repositories(found: Sequence[Repository]) -> str:
    rows = ([f'<a href="{repository_url(one.name)}">{isolated(one.name, 255)}</a>',
             number(sum(1 for tag in one.tags if tag.name)), size(one.size), ago(one.pushed)] for one in found[:MOST])
    return section("Repositories", table("repositories", ("Name", "Tags", "Size", "Pushed"), rows, (1, 2)), _told(len(found)),
                   "found-repositories")


def _digests(library: Library, wanted: str, may: Callable[[str], bool]) -> str:
    hits = [hit for hit in library.find(wanted, 4 * MOST) if may(hit.repository)][:MOST]
    rows = ([f'<a class="digest" href="{_place(hit)}">{safe(short(hit.digest))}</a>', hit.kind,
             f'<a href="{repository_url(hit.repository)}">{isolated(hit.repository, 255)}</a>'] for hit in hits)
    return section("Digests", table("digests", ("Digest", "Kind", "Repository"), rows), name="found-digests") if hits else ""


def _place(hit: Hit) -> str:
    if hit.kind == "layer":
        return files_url(hit.repository, hit.manifest, hit.digest)
    return item_url(hit.repository, hit.manifest)


def _told(count: int) -> str:
    return f"The first {MOST} of {plural(count, 'hit')}." if count > MOST else ""
