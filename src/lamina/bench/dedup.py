"""How much of each layer each image has already, in other layers of its own: by streaming over recipes.

Memory: 4 bytes a chunk for the rows of each layer, and while one image is looked at, 2 bytes a chunk of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lamina.images.layers import layer_rows
from lamina.images.names import find
from lamina.images.records import read_view
from lamina.store.marks import chunk_ids

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.store import BlobStore
    from lamina.store.index import ChunkIndex
    from lamina.store.schema import BlobRow

Rows = dict[int, npt.NDArray[np.uint32]]  # pack -> ordinals of a layer's chunks there, each once


@dataclass(frozen=True, slots=True)
class ImageLayers:
    """An image: its name, its id, and the digests of its layers in order."""

    name: str
    id: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dedup:
    """`cells[row][column]`: plain bytes of the chunks of layer `row` that image `column` has in layers other than this one.

    `whole[row]`: plain bytes of all distinct chunks of the layer.
    """

    layers: tuple[str, ...]
    images: tuple[ImageLayers, ...]
    whole: tuple[int, ...]
    cells: tuple[tuple[int, ...], ...]


def look(store: ImageStore, names: Sequence[str], most: int) -> Dedup:
    """For the images of these names, and at most so many of their layers, the largest."""
    view = read_view(store.blobs)
    images, blobs = [], {}
    for name in names:
        image = find(view, name).image
        rows = [row for row in layer_rows(store.blobs, image) if row]
        blobs.update({row.digest: row for row in rows})
        images.append(ImageLayers(name, image.id, tuple(row.digest for row in rows)))
    with store.blobs.reading() as reading:
        chunks = {digest: _rows(store.blobs, reading.index, row) for digest, row in blobs.items()}
    largest = sorted(blobs, key=lambda digest: (-blobs[digest].size, digest))[:most]
    shown = [digest for digest in blobs if digest in set(largest)]  # in the order of the images
    columns = [_column(store.blobs, chunks, image.layers, shown) for image in images]
    whole = tuple(_bytes(store.blobs, chunks[digest]) for digest in shown)
    return Dedup(tuple(shown), tuple(images), whole, tuple(zip(*columns, strict=True)))


def _rows(store: BlobStore, index: ChunkIndex, row: BlobRow) -> Rows:
    found: dict[int, list[npt.NDArray[np.uint32]]] = {}
    for ids in islice(chunk_ids(store, index, row), 1, None):  # the first are the recipe's own
        if len(ids):
            packs, ordinals = index.find(ids)
            for number in np.unique(packs):
                found.setdefault(int(number), []).append(ordinals[packs == number])
    return {number: np.unique(np.concatenate(pieces)) for number, pieces in found.items()}


def _column(store: BlobStore, chunks: dict[str, Rows], having: Iterable[str], shown: Sequence[str]) -> list[int]:
    """For one image: of each layer that is shown, the bytes that are there without it."""
    counts: dict[int, npt.NDArray[np.uint16]] = {}
    mine = set(having)
    for digest in mine:
        for number, ordinals in chunks[digest].items():
            if number not in counts:
                counts[number] = np.zeros(len(store.packs.footer(number).ids), np.uint16)
            counts[number][ordinals] += 1
    column = []
    for digest in shown:
        own = int(digest in mine)
        there = {number: ordinals[counts[number][ordinals] > own] for number, ordinals in chunks[digest].items()
                 if number in counts}
        column.append(_bytes(store, there))
    return column


def _bytes(store: BlobStore, rows: Rows) -> int:
    return sum(int(store.packs.footer(number).places["length"][ordinals].sum(dtype=np.int64))
               for number, ordinals in rows.items())
