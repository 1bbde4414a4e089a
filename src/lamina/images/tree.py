"""`tree`: images under their parents, with what each adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.images.layers import layer_rows, layer_sizes
from lamina.images.listing import ImageSummary, summarize
from lamina.images.records import read_view
from lamina.images.view import Image, View

if TYPE_CHECKING:
    from lamina.store import BlobStore


@dataclass(slots=True)
class TreeNode:
    """An image, what it adds to its parent, and the images made from it, the oldest first.

    `adds_bytes`: bytes of the regular files in the layers that it adds; `new_bytes`: plain bytes of their chunks
    that no layer of its parent has (all chunks, so that tar headers and recipes count, as they do in `df`).
    """

    summary: ImageSummary
    adds_layers: int
    adds_bytes: int
    new_bytes: int
    children: list[TreeNode] = field(default_factory=list)


# For the layers of an image and how many of them its parent has: the bytes that the others bring.
NewBytes = Callable[[Image, int], int]


def grow(view: View, sizes: Callable[[Image], list[int]], new_bytes: NewBytes) -> list[TreeNode]:
    """The images without a parent, the oldest first, and under them all others."""
    nodes: dict[str, TreeNode] = {}
    entries = sorted((entry for entry in view.entries.values() if not entry.image.artifact),
                     key=lambda entry: (entry.image.age, entry.image.id))
    for entry in entries:
        image = entry.image
        parent = view.parents.get(image.id)
        below = len(view.entries[parent].image.diff_ids) if parent else 0
        added = sizes(image)[below:]
        nodes[image.id] = TreeNode(summarize(view, image), len(added), sum(added), new_bytes(image, below))
    top: list[TreeNode] = []
    for image_id, node in nodes.items():
        parent = view.parents.get(image_id)
        (nodes[parent].children if parent else top).append(node)
    return top


def grow_from(store: BlobStore) -> list[TreeNode]:
    """The tree of a store; `new_bytes` by streaming over the recipes of each image's layers, in one reading."""
    from lamina.store.marks import Marks

    with store.reading() as reading:

        # Images that differ in their configs alone are many, and bring the same.
        known: dict[tuple[str, ...], int] = {}

        def new_bytes(image: Image, below: int) -> int:
            rows = layer_rows(store, image)
            key = (str(below), *(row.digest if row else "" for row in rows))
            if key not in known:
                marks = Marks(store)
                for row in filter(None, rows[:below]):
                    marks.add(reading.index, row)
                known[key] = sum(marks.add(reading.index, row) for row in filter(None, rows[below:]))
            return known[key]

        return grow(read_view(store), lambda image: layer_sizes(store, image), new_bytes)
