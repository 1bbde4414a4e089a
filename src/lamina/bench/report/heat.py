"""The heat map: how much of each layer each image has already."""

from __future__ import annotations

from lamina.bench.dedup import Dedup, ImageLayers
from lamina.bench.report.svg import circle, picture, rect, text
from lamina.bench.report.text import percent, safe, short, size, table

MOST_IMAGES = 30
_LABEL = 27.0  # per cent of the width
_ROW, _HEAD = 26, 22  # pixels
_NUMBERED = 12  # columns that leave room for a number in each cell


def heat(name: str, dedup: Dedup) -> str:
    """Rows are layers, columns images; the darker, the more of the layer lies in other layers of the image."""
    images = dedup.images[:MOST_IMAGES]
    width = (100 - _LABEL) / max(len(images), 1)
    parts = [text(_LABEL + width * (number + 0.5), 14, str(number + 1), "value", "middle") for number in range(len(images))]
    for number, (digest, whole, row) in enumerate(zip(dedup.layers, dedup.whole, dedup.cells, strict=True)):
        y = _HEAD + number * _ROW
        parts.append(text(0, y + 17, short(digest), "name code"))
        for column, (image, count) in enumerate(zip(images, row, strict=False)):
            parts += _cell(_LABEL + width * column, y, width, digest, image, count / max(whole, 1), len(images) <= _NUMBERED)
    columns = ("Layer", "Bytes of chunks", *(f"{number} {image.name}" for number, image in enumerate(images, 1)))
    cells = ((digest, size(whole), *(_words(digest, image, count / max(whole, 1))
                                     for image, count in zip(images, row, strict=False)))
             for digest, whole, row in zip(dedup.layers, dedup.whole, dedup.cells, strict=True))
    label = "How much of each layer each image has already in other layers"
    counts = [f"{len(image.layers)} layer{'' if len(image.layers) == 1 else 's'}" for image in images]
    named = "".join(f"<li>{safe(image.name)} <small>{count}</small></li>" for image, count in zip(images, counts, strict=True))
    return (picture(name, label, _HEAD + len(dedup.layers) * _ROW, parts) + f'<ol class="legend">{named}</ol>'
            + table(columns, cells, "Shared by layer and image"))


def _cell(x: float, y: float, width: float, digest: str, image: ImageLayers, share: float, numbered: bool) -> list[str]:
    own = digest in image.layers
    tip = f"{short(digest)} in {image.name}: {_words(digest, image, share)}"
    gap = min(0.4, width / 8)
    parts = [rect(x + gap / 2, y + 1, width - gap, _ROW - 2, "cell", round_=3),
             rect(x + gap / 2, y + 1, width - gap, _ROW - 2, "heat own" if own else "heat", round_=3, tip=tip, opacity=share)]
    if own:
        parts.append(circle(x + width / 2, y + _ROW / 2, 4, "dot", tip))
    elif numbered:
        parts.append(text(x + width / 2, y + 17, f"{share * 100:.0f}", "on" if share > 0.55 else "off", "middle"))
    return parts


def _words(digest: str, image: ImageLayers, share: float) -> str:
    return f"has this layer; {percent(share)} of it in others, too" if digest in image.layers else f"{percent(share)} of it"
