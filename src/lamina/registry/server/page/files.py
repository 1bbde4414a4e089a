"""`/files/NAME@DIGEST?layer=&prefix=&start=`: the members of a layer, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from stat import filemode

from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.frame import document, pager, section, table
from lamina.registry.server.page.library import File, Files, Image, Library
from lamina.registry.server.page.words import (
    files_url,
    from_bytes,
    isolated,
    item_url,
    link,
    moment,
    number,
    plural,
    repository_url,
    safe,
    short,
    size,
)

ROWS = 200
_PREFIX = 1000  # bytes of a prefix that is looked for
_DEPTH = 30  # directories that are linked
# Type flags of a tar -> bits of a mode.
_KINDS = {"1": 0o100000, "2": 0o120000, "3": 0o020000, "4": 0o060000, "5": 0o040000, "6": 0o010000}


def files_page(library: Library, repository: str, image: Image, layer: str, query: Mapping[str, str]) -> Page:
    """The layer is one of the image's."""
    prefix = _as_bytes(query.get("prefix", ""))[:_PREFIX]
    text = query.get("start", "0")
    start = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    found = library.files(layer, prefix, start, ROWS)
    place = next(number for number, one in enumerate(image.layers) if one.digest == layer)
    title = f'<h1>Layer {place + 1} <span class="digest soft">{safe(short(layer))}</span></h1>'
    told = f"{plural(found.total, 'entry')}, {size(image.layers[place].size)}, {safe(image.layers[place].media_type, 100)}"
    lead = f'<p class="lead">{told}</p>'
    crumbs = [("Repositories", "/"), (repository, repository_url(repository)),
              (image.names[0] if image.names else short(image.digest), item_url(repository, image.digest))]
    inside = (_form(repository, image, layer, prefix) + _trail(repository, image, layer, prefix)
              + _listed(repository, image, layer, found))
    on = files_url(repository, image.digest, layer, prefix, found.next) if found.next is not None else ""
    back = files_url(repository, image.digest, layer, prefix) if start else ""
    told = f"from entry {number(start + 1)}" if start else ""
    inside = section("Files", inside + pager(back, on, told), name="files")
    return document(f"Layer {place + 1}", title + lead + inside, crumbs=crumbs)


def _as_bytes(text: str) -> bytes:
    """What it was decoded from: paths need not be UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _trail(repository: str, image: Image, layer: str, prefix: bytes) -> str:
    """Links to the directories above."""
    parts = prefix.split(b"/")[:-1]
    if not parts:
        return ""
    links = [f'<a href="{files_url(repository, image.digest, layer)}">all</a>']
    for count, part in enumerate(parts[:_DEPTH], 1):
        above = b"/".join(parts[:count]) + b"/"
        links.append(f'<a href="{files_url(repository, image.digest, layer, above)}">{isolated(from_bytes(part), 80)}</a>')
    return f'<nav class="trail code" aria-label="Directories">{"".join(links)}</nav>'


def _form(repository: str, image: Image, layer: str, prefix: bytes) -> str:
    path = link(f"/files/{repository}@{image.digest}")
    return (f'<form class="filter" action="{path}"><input type="hidden" name="layer" value="{safe(layer)}">'
            '<input type="search" name="prefix" aria-label="Beginning of the path" placeholder="usr/bin/" '
            f'maxlength="{_PREFIX}" value="{safe(from_bytes(prefix), _PREFIX)}"><button type="submit">Show</button></form>')


def _listed(repository: str, image: Image, layer: str, found: Files) -> str:
    if not found.files:
        return f'<p class="note">{"Nothing begins so." if found.next is None else "Nothing so far: there is more."}</p>'
    return table("files", ("Path", "Mode", "Owner", "Size", "Modified"), _rows(repository, image, layer, found), (3,))


def _rows(repository: str, image: Image, layer: str, found: Files) -> Iterator[list[str]]:
    for one in found.files:
        path = isolated(from_bytes(one.path))
        under = one.path.removeprefix(b"./").removeprefix(b"/")
        if one.kind == "5" and under and len(under) < _PREFIX:
            path = f'<a href="{files_url(repository, image.digest, layer, under.rstrip(b"/") + b"/")}">{path}</a>'
        yield [f'<span class="code">{path}{_link(one)}</span>', f'<span class="code">{_mode(one)}</span>',
               f"{one.uid}:{one.gid}", size(one.size) if one.kind not in _KINDS else "", moment(one.modified)]


def _link(one: File) -> str:
    if not one.link:
        return ""
    return f' <span class="soft">{"→" if one.kind == "2" else "="}</span> {isolated(from_bytes(one.link), 300)}'


def _mode(one: File) -> str:
    return filemode(_KINDS.get(one.kind, 0o100000) | one.mode & 0o7777)
