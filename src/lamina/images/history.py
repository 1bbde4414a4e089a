"""`history`: the steps of an image, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lamina.errors import InvalidContent
from lamina.images import times
from lamina.images.view import Image, View

MISSING = "<missing>"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One step.  `image_id`: the stored image that ends with it, or `<missing>`; `size`: bytes that it added."""

    image_id: str
    created: datetime
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()


def history_rows(view: View, image: Image, sizes: Sequence[int]) -> list[HistoryRow]:
    """The rows of an image whose layers have `sizes` bytes of files.

    A row for each step of the config's history; layers that it says nothing of have none, as in docker.
    `InvalidContent`: more steps with a layer than there are layers.
    """
    if image.artifact:
        return []
    steps = view.config(image.id).history
    ids = _ids(view, image, len(steps))
    rows, layer = [], 0
    for number, step in enumerate(steps, 1):
        if not step.empty_layer and layer >= len(sizes):
            raise InvalidContent("too many non-empty layers in History section", image.id)
        size = 0 if step.empty_layer else sizes[layer]
        layer += not step.empty_layer
        image_id = ids.get(number, MISSING)
        entry = view.entries.get(image_id)
        rows.append(HistoryRow(image_id, times.parse(step.created), step.created_by, size, step.comment,
                               tuple(entry.tags) if entry else ()))
    return rows[::-1]


def _ids(view: View, image: Image, length: int) -> dict[int, str]:
    """Number of steps -> id, for the image and those of its ancestors whose history its own begins with."""
    own = view.config(image.id).history
    ids = {length: image.id}
    ancestor = view.parents.get(image.id)
    while ancestor is not None:
        steps = view.config(ancestor).history
        if len(steps) <= len(own) and own[:len(steps)] == steps:
            ids.setdefault(len(steps), ancestor)
        ancestor = view.parents.get(ancestor)
    return ids
