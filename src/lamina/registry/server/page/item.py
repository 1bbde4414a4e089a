"""`/r/NAME:TAG` and `/r/NAME@DIGEST`: an image with its layers, or the manifests of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lamina.registry.server.page import pictures
from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.frame import document, facts, section, table
from lamina.registry.server.page.library import Image, Index, Layer, Library, Sharing
from lamina.registry.server.page.settings import settings
from lamina.registry.server.page.words import (
    ago,
    files_url,
    isolated,
    item_url,
    number,
    percent,
    plural,
    repository_url,
    safe,
    short,
    size,
)

OTHERS = 12  # images that are shown with a bar
LAYERS = 500  # of an image that are listed
STEPS = 500  # of a history
_KEYS = ('<ul class="keys"><li><span class="key shared"></span>other images have it, too</li>'
         '<li><span class="key own"></span>this image alone</li></ul>')


def item_page(library: Library, repository: str, reference: str, one: Image | Index, may: Callable[[str], bool]) -> Page:
    """What a tag or digest leads to."""
    shown = isolated(short(reference) if ":" in reference else reference, 128)
    name = safe(repository.rpartition("/")[2], 255)
    title = f'<h1><bdi>{name}</bdi><span class="soft">{"@" if ":" in reference else ":"}</span>{shown}</h1>'
    crumbs = [("Repositories", "/"), (repository, repository_url(repository))]
    inside = _index(repository, one) if isinstance(one, Index) else _image(library, repository, one, may)
    return document(f"{repository} {reference}", title + _chips(repository, one) + inside, crumbs=crumbs)


def _chips(repository: str, one: Image | Index) -> str:
    words = [plural(len(one.members), "manifest")] if isinstance(one, Index) else [
        one.platform or "artifact", size(one.size), plural(len(one.layers), "layer")]
    tags = [f'<a href="{item_url(repository, name)}">{safe(name, 128)}</a>' for name in one.names[:20]]
    return '<ul class="chips">' + "".join(f'<li class="chip">{cell}</li>' for cell in [*map(safe, words), *tags]) + "</ul>"


def _index(repository: str, one: Index) -> str:
    rows = ([f'<a href="{item_url(repository, member.digest)}">{safe(member.platform or member.kind, 80)}</a>' if member.here
             else safe(member.platform or member.kind, 80), safe(member.kind, 80),
             f'<span class="digest" title="{safe(member.digest)}">{safe(short(member.digest))}</span>', size(member.size),
             "here" if member.here else "not here"] for member in one.members[:LAYERS])
    listed = table("members", ("Platform", "Kind", "Digest", "Size", "Stored"), rows, (3,))
    return section("Platforms", listed, name="members") + _about(one, [])


def _image(library: Library, repository: str, one: Image, may: Callable[[str], bool]) -> str:
    sharing = library.sharing(one.digest, may) if not one.artifact else None
    rows = [("Config", f'<span class="code">{safe(one.config_digest)}</span>'), ("Artifact", safe(one.artifact)),
            ("Created", safe(one.created, 60)), ("Author", isolated(one.author))]
    return (_layers(repository, one, sharing) + _sharing(one, sharing) + settings(one.config) + _history(repository, one)
            + _about(one, [row for row in rows if row[1] != "<bdi></bdi>"]))


def _layers(repository: str, one: Image, sharing: Sharing | None) -> str:
    if not one.layers:
        return section("Layers", '<p class="note">It has none.</p>')
    drawn = pictures.strip(one, repository, sharing) + (_KEYS if sharing else "")
    note = "As wide as they are large, the lowest at the left." + (
        "" if sharing or one.artifact else " What is shared is being counted.")
    more = f'<p class="note">The first {LAYERS} of {number(len(one.layers))}.</p>' if len(one.layers) > LAYERS else ""
    made = {step.layer: step.created_by or step.comment for step in one.history if step.layer is not None}
    rows = (_layer(repository, one, place, layer, sharing, made.get(place, ""))
            for place, layer in enumerate(one.layers[:LAYERS]))
    heading = ("Layer", "Size", "Shared", "Own", "Files", "Made by")
    return section("Layers", drawn + table("layers", heading, rows, (1, 2, 3, 4)) + more, note, "layer-list")


def _layer(repository: str, one: Image, place: int, layer: Layer, sharing: Sharing | None, made: str) -> list[str]:
    own, shared = sharing.layers.get(layer.digest, (0, 0)) if sharing else (0, 0)
    told = [size(shared), size(own)] if own + shared else ["", ""]
    files = number(layer.entries) if layer.entries else "" if layer.here else "not here"
    if layer.entries:
        files = f'<a href="{files_url(repository, one.digest, layer.digest)}">{files}</a>'
    words = f'<span class="code">{isolated(made, 160)}</span>' if made else safe(layer.media_type, 80) if one.artifact else ""
    tip = f"{safe(layer.digest)}&#10;{safe(layer.media_type)}"
    return [f'<span class="once">{place + 1} <span class="digest soft" title="{tip}">'
            f"{safe(short(layer.digest))}</span></span>", size(layer.size), *told, files, words]


def _sharing(one: Image, sharing: Sharing | None) -> str:
    if sharing is None:
        return ""
    whole = sharing.own + sharing.shared
    note = (f"{size(sharing.shared)} of {size(whole)} ({percent(sharing.shared / max(whole, 1))}) of its chunks are in other "
            f"images, too; {size(sharing.own)} in this one alone. Plain bytes, with the recipes; counted {ago(sharing.counted)}"
            + (", as far as that was not too much." if sharing.partial else "."))
    shown = sharing.others[:OTHERS]
    more = len(sharing.others) - len(shown) + sharing.more
    told = f'<p class="note">And {plural(more, "more image")}.</p>' if more else ""
    drawn = pictures.others(one, sharing, shown) if shown else ""
    return section("Shared with", drawn + told, note, "shared-with")


def _history(repository: str, one: Image) -> str:
    def rows() -> Iterator[list[str]]:
        for step in one.history[::-1][:STEPS]:
            made = ""
            if step.layer is not None and step.layer < len(one.layers):
                layer = one.layers[step.layer]
                there = f'<a href="{files_url(repository, one.digest, layer.digest)}">{step.layer + 1}</a>'
                made = f'<span class="once">{there if layer.entries else step.layer + 1} · {size(layer.size)}</span>'
            words = step.created_by or step.comment
            yield [f'<span class="code">{isolated(words, 2000)}</span>' if words else '<span class="soft">–</span>', made,
                   f'<span class="once">{safe(step.created[:19].replace("T", " "), 40)}</span>']

    if not one.history:
        return ""
    return section("History", table("history", ("Step", "Layer", "Created"), rows()), "The newest first.", "history")


def _about(one: Image | Index, rows: list[tuple[str, str]]) -> str:
    own = [("Digest", f'<span class="code">{safe(one.digest)}</span>'), ("Media type", safe(one.media_type)), *rows]
    return section("Manifest", facts(own) + _mapping("Annotations", one.annotations), name="manifest")


def _mapping(title: str, values: Mapping[str, str]) -> str:
    if not values:
        return ""
    rows = ((name, isolated(value, 1000)) for name, value in list(values.items())[:LAYERS])
    return f"<h3>{title}</h3>" + facts((name[:120], cell) for name, cell in rows)
