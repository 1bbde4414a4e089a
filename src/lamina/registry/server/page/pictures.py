"""The page's pictures: what is left of what was pushed, how that went over time, an image's layers, whom it shares with."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lamina.registry.server.page.library import Image, Layer, Other, Point, Sharing, Store
from lamina.registry.server.page.svg import curves, line, picture, rect, text, ticks
from lamina.registry.server.page.words import files_url, isolated, item_url, percent, ratio, short, size

_ROW = 44  # pixels of a bar with its words
_COLUMNS = 200  # points of a curve
_STRIPS = 60  # layers that are told apart


def steps(store: Store) -> str:
    """One bar for each step from what was pushed to what lies on disk."""
    rows = [("Pushed", store.pushed, "each tag with all of its content", "pushed"),
            ("Layers", store.layers, "each layer once", "layers"),
            ("Chunks", store.chunks, "each chunk once", "chunks"),
            ("On disk", store.stored, "compressed, with all that belongs to it", "stored")]
    most = max(store.pushed, store.layers, store.chunks or 0, store.stored, 1)
    parts = []
    for place, (name, count, more, kind) in enumerate(rows):
        y = place * _ROW
        told = "being counted" if count is None else size(count)
        times = f" · {ratio(store.pushed, count)}" if place and count else ""
        parts += [text(0, y + 15, name, "name"),
                  text(100, y + 15, told + times, "value", "end"),
                  rect(0, y + 22, 100, 12, "track", round_=6),
                  rect(0, y + 22, 100 * (count or 0) / most, 12, kind, round_=6, tip=f"{name}, {more}: {told}")]
    return picture("steps", "What is left of what was pushed: " + ", ".join(
        f"{name} {'not counted yet' if count is None else size(count)}" for name, count, _, _ in rows), 4 * _ROW, parts)


def past(points: Sequence[Point]) -> str:
    """Pushed bytes against bytes on disk, since the first point."""
    shown = points[:: max(1, -(-len(points) // _COLUMNS))]
    if shown[-1] is not points[-1]:
        shown = [*shown, points[-1]]
    first, last = shown[0].time, max(shown[-1].time, shown[0].time + 1)
    scale = ticks(max(max(one.pushed, one.stored) for one in shown))
    top, height = 10, 190

    def curve(name: str) -> list[tuple[float, float]]:
        return [(1000 * (one.time - first) / (last - first), 1000 - 1000 * getattr(one, name) / scale[-1]) for one in shown]

    parts = [part for tick in scale for part in _grid(top + height * (1 - tick / scale[-1]), size(tick))]
    parts.insert(0, curves("0", top, height, [(name, curve(name)) for name in ("pushed", "layers", "stored")]))
    days = [time.strftime("%Y-%m-%d", time.gmtime(one)) for one in (first, last)]
    ends = days if days[0] != days[1] else [time.strftime("%H:%M UTC", time.gmtime(one)) for one in (first, last)]
    parts += [text(0, top + height + 20, ends[0], "faint"), text(100, top + height + 20, ends[1], "faint", "end")]
    return picture("past", f"Pushed bytes and bytes on disk from {days[0]} to {days[1]}", top + height + 28, parts)


def _grid(y: float, words: str) -> list[str]:
    return [line(0, y, 100, y, "grid"), text(0, y - 4, words, "faint halo")]


def strip(image: Image, repository: str, sharing: Sharing | None) -> str:
    """The layers side by side, the lowest first, as wide as they are large, each divided into what others have and what not."""
    shown, rest = image.layers[:_STRIPS], image.layers[_STRIPS:]
    widths = [max(layer.size, 1) for layer in shown] + ([max(sum(layer.size for layer in rest), 1)] if rest else [])
    least = sum(widths) / 150
    widths = [max(width, int(least)) for width in widths]
    whole, x, parts = sum(widths) or 1, 0.0, []
    for place, layer in enumerate(shown):
        width = 100 * widths[place] / whole
        inside = _split(x, width, place, layer, sharing)
        parts.append(f'<a href="{files_url(repository, image.digest, layer.digest)}">{inside}</a>' if layer.entries else inside)
        x += width
    if rest:
        parts.append(rect(x, 4, 100 - x, 44, "unknown", tip=f"{len(rest)} more layers, {size(sum(one.size for one in rest))}"))
    label = f"{len(image.layers)} layers of {size(image.size)}, as wide as they are large"
    return picture("layers", label, 52, parts, role="group")


def _split(x: float, width: float, place: int, layer: Layer, sharing: Sharing | None) -> str:
    """A gap of a pixel or so stays between layers."""
    gap = min(0.15, width / 8)
    own, shared = sharing.layers.get(layer.digest, (0, 0)) if sharing else (0, 0)
    inner, tip = width - gap, f"Layer {place + 1}, {short(layer.digest)}: {size(layer.size)}"
    if not layer.here:
        drawn = rect(x, 4, inner, 44, "absent", tip=f"{tip}, not here")
    elif not own + shared:
        drawn = rect(x, 4, inner, 44, "unknown", tip=tip)
    else:
        part = inner * shared / (own + shared)
        tip += f"; shared {size(shared)}, its own {size(own)}"
        drawn = rect(x, 4, part, 44, "shared", tip=tip) + rect(x + part, 4, inner - part, 44, "own", tip=tip)
    return drawn + (text(x, 31, str(place + 1), "on", dx=9) if width > 8 else "")


def others(image: Image, sharing: Sharing, shown: Sequence[Other]) -> str:
    """A bar for each other image: how much of this one it has, too."""
    whole = max(sharing.own + sharing.shared, 1)
    parts = []
    for place, other in enumerate(shown):
        y, share = place * _ROW, min(other.shared / whole, 1)
        told = f"{size(other.shared)} · {percent(share)}"
        parts += [f'<foreignObject x="0" y="{y}" width="64%" height="22">{_named(other)}</foreignObject>',
                  text(100, y + 15, told, "value", "end"), rect(0, y + 22, 100, 12, "track", round_=6),
                  rect(0, y + 22, 100 * share, 12, "shared", round_=6, tip=f"{other.name} has {told} of this image")]
    label = f"What other images have of the {size(whole)} of this one"
    return picture("sharing", label, len(shown) * _ROW, parts, role="group")


def _named(other: Other) -> str:
    return (f'<div xmlns="http://www.w3.org/1999/xhtml" class="cut"><a href="{item_url(other.repository, other.digest)}">'
            f"{isolated(other.name, 120)}</a></div>")
