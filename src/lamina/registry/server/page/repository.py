"""`/r/NAME`: the tags of a repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.frame import document, section, table
from lamina.registry.server.page.home import page_of, turn
from lamina.registry.server.page.library import Repository, Tag
from lamina.registry.server.page.words import ago, isolated, item_url, plural, safe, short, size

ROWS = 100  # tags of a page
_PLATFORMS = 6  # of a tag that are named


def repository_page(one: Repository, query: Mapping[str, str]) -> Page:
    """Tags, the last given first, then what is there by its digest alone."""
    first = page_of(query, len(one.tags), ROWS)
    inside = table("tags", ("Tag", "Digest", "Platforms", "Size", "Created", "Pushed"),
                   _rows(one, one.tags[first : first + ROWS]), (3,))
    named = sum(1 for tag in one.tags if tag.name)
    lead = f"{plural(named, 'tag')}, {plural(one.images, 'image')}, {size(one.size)} in all; pushed {ago(one.pushed)}"
    return document(one.name, f'<h1>{isolated(one.name, 255)}</h1><p class="lead">{lead}</p>'
                    + section("Tags", inside + turn(f"/r/{one.name}", {}, first, ROWS, len(one.tags)), name="tags"),
                    crumbs=[("Repositories", "/")])


def platforms(names: tuple[str, ...]) -> str:
    """The first of them as chips."""
    more = [f"and {len(names) - _PLATFORMS} more"] if len(names) > _PLATFORMS else []
    return " ".join(f'<span class="chip">{safe(name, 60)}</span>' for name in [*names[:_PLATFORMS], *more])


def _rows(one: Repository, tags: tuple[Tag, ...]) -> Iterator[list[str]]:
    for tag in tags:
        words = isolated(tag.name, 128) if tag.name else '<span class="soft">untagged</span>'
        digest, exact = safe(short(tag.digest)), item_url(one.name, tag.digest)
        yield [f'<a href="{item_url(one.name, tag.name or tag.digest)}">{words}</a>',
               f'<a class="digest" href="{exact}" title="{safe(tag.digest)}">{digest}</a>',
               platforms(tag.platforms), size(tag.size), ago(tag.created), ago(tag.pushed)]
