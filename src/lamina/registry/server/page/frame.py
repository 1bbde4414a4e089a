"""What all pages have around them, and the parts that they are built of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lamina.registry.server.page.answer import Page, asset_url, html_page
from lamina.registry.server.page.words import safe

Crumb = tuple[str, str]  # words, address as of `words.link`


def document(title: str, inside: str, *, crumbs: Sequence[Crumb] = (), asked: str = "", status: int = 200) -> Page:
    """A page of HTML; `asked` is what the search field says."""
    trail = "".join(f'<li><a href="{address}">{safe(words, 120)}</a></li>' for words, address in crumbs)
    steps = f'<nav class="crumbs" aria-label="Where this is"><ol>{trail}</ol></nav>' if trail else ""
    return html_page(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{safe(title, 120)} · Lamina</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" type="image/svg+xml" href="{asset_url("icon.svg")}">'
        f'<link rel="stylesheet" href="{asset_url("style.css")}"><script src="{asset_url("page.js")}" defer></script></head>'
        '<body><a class="skip" href="#main">Skip to content</a><header class="top"><div class="bar">'
        f'<a class="brand" href="/"><img src="{asset_url("icon.svg")}" width="28" height="28" alt="">Lamina</a>'
        '<form class="search" action="/" role="search"><input type="search" name="q" aria-label="Search" '
        f'placeholder="Repository, tag or digest" maxlength="200" value="{safe(asked, 200)}">'
        '<button type="submit">Search</button></form></div></header>'
        f'<main id="main" tabindex="-1">{steps}{inside}</main></body></html>', status)


def section(title: str, inside: str, note: str = "", name: str = "") -> str:
    """A card; `note` is HTML, `name` its id."""
    told = f'<p class="note">{note}</p>' if note else ""
    mark = f' id="{name}"' if name else ""
    return f"<section{mark}><h2>{safe(title)}</h2>{told}{inside}</section>"


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """(figure, what it is, more about it), all HTML."""
    return '<dl class="tiles">' + "".join(
        f'<div class="tile"><dt>{what}</dt><dd><b>{figure}</b><small>{more}</small></dd></div>'
        for figure, what, more in figures) + "</dl>"


def table(name: str, heading: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Cells are HTML, the first one of a row names it; `numbers` are columns that are flush right.

    On a telephone each row is a card of its own, so that nothing has to be scrolled sideways; the roles keep it a table there.
    """
    right = set(numbers)
    kinds = [' class="n"' if column in right else "" for column in range(len(heading))]
    head = "".join(f'<th role="columnheader" scope="col"{kind}>{safe(words)}</th>'
                   for words, kind in zip(heading, kinds, strict=True))
    body = "".join('<tr role="row">' + "".join(_cell(words, cell, kind, first=not column) for column, (words, cell, kind)
                                               in enumerate(zip(heading, row, kinds, strict=True))) + "</tr>" for row in rows)
    return (f'<table role="table" class="{name}"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
            f'<tbody role="rowgroup">{body}</tbody></table>')


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, in HTML; those that are '' are left out."""
    return '<dl class="facts">' + "".join(f"<dt>{safe(name)}</dt><dd>{cell}</dd>" for name, cell in rows if cell) + "</dl>"


def pager(before: str, after: str, words: str) -> str:
    """Addresses of the pages beside this one, '' where there is none."""
    if not before and not after:
        return ""
    back = f'<a rel="prev" href="{before}">← Back</a>' if before else "<span></span>"
    on = f'<a rel="next" href="{after}">More →</a>' if after else "<span></span>"
    return f'<nav class="pager" aria-label="Pages">{back}<span class="soft">{words}</span>{on}</nav>'


def problem(status: int, title: str, words: str) -> Page:
    """A page that says why there is none."""
    return document(title, f'<section class="problem"><h1>{safe(title)}</h1><p>{safe(words)}</p>'
                           '<p><a href="/">All repositories</a></p></section>', status=status)


def _cell(words: str, cell: str, kind: str, *, first: bool) -> str:
    if first:
        return f'<th role="rowheader" scope="row"{kind}>{cell}</th>'
    return f'<td role="cell" data-label="{safe(words)}"{kind}>{cell}</td>'
