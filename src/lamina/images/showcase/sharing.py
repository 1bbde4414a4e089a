"""Which chunks images have in common: counted by streaming over all recipes, and kept in a file for all processes.

The counting is bounded: who pushes layers so that each chunk has owners of its own gets figures of a part of the store, which
say so.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from lamina.errors import NotFound, StoreDamaged
from lamina.registry.server.page.library import Other, Sharing

if TYPE_CHECKING:
    from lamina.images.showcase.shelf import Shelf
    from lamina.store import BlobStore

SETS = 50_000  # different sets of layers that have a chunk in common
PAIRS = 2_000_000  # layers in all of these, images in all sets of images
LONGEST = 600.0  # seconds
OTHERS = 200  # of one image that are told
_STEPS = 1_000_000  # in one question


@dataclass(slots=True)
class Counted:
    """`chunks`: plain bytes of all distinct chunks, and of documents.  `sets`: images (as numbers of `images`), and the plain
    bytes of the distinct chunks that exactly they have; `layers`: of each layer, (number of a set, bytes).  `time`: when."""

    time: float
    chunks: int
    images: list[str] = field(default_factory=list)
    sets: list[tuple[list[int], int]] = field(default_factory=list)
    layers: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    partial: bool = False

    def encode(self) -> bytes:
        """Compact JSON."""
        value = {name: getattr(self, name) for name in ("time", "chunks", "images", "sets", "layers", "partial")}
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse; ValueError for anything else."""
        try:
            value: dict[str, Any] = json.loads(data)
            count = len(value["images"])
            sets = [([int(one) for one in images], int(size)) for images, size in value["sets"]]
            layers = {str(name): [(int(number), int(size)) for number, size in rows] for name, rows in value["layers"].items()}
            if any(not 0 <= one < count for images, _ in sets for one in images) or any(
                    not 0 <= number < len(sets) for rows in layers.values() for number, _ in rows):
                raise ValueError("a number leads nowhere")
            return cls(float(value["time"]), int(value["chunks"]), [str(one) for one in value["images"]], sets, layers,
                       bool(value["partial"]))
        except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError("not what was counted") from error


def count(store: BlobStore, shelf: Shelf, stop: Callable[[], bool] = lambda: False, longest: float = LONGEST) -> Counted:
    """All that any name leads to; of blobs that are damaged or just collected, nothing.  What it has when `stop` says so."""
    from lamina.store.marks import Labels

    labels, until, partial, told = Labels(store), time.monotonic() + longest, False, 0
    with store.reading() as reading:
        for row in store.catalog.blobs():
            if row.kind == "document" or row.digest not in shelf.reached:
                continue
            before = len(labels.sets)
            try:
                labels.add(reading.index, row, (row.digest,))
            except (StoreDamaged, NotFound):
                continue
            told += sum(map(len, labels.sets[before:]))
            if partial := len(labels.sets) > SETS or told > PAIRS or stop() or time.monotonic() > until:
                break
    return _gathered(labels.bytes_by_set(), shelf.holders, shelf.documents, partial)


def _gathered(by_layers: list[tuple[frozenset[str], int]], holders: Mapping[str, frozenset[str]], documents: int,
              partial: bool) -> Counted:
    """From sets of layers to sets of images, of which there are fewer."""
    bytes_of: Counter[frozenset[str]] = Counter()
    layers: dict[str, Counter[frozenset[str]]] = defaultdict(Counter)
    total, steps = documents, 0
    for having, size in by_layers:
        total += size
        images = frozenset().union(*(holders.get(layer, frozenset()) for layer in having))
        steps += len(images) + len(having)
        if not images or not size:
            continue
        if steps > 2 * PAIRS:
            partial = True
            continue
        bytes_of[images] += size
        for layer in having:
            layers[layer][images] += size
    names = sorted({image for images in bytes_of for image in images})
    number = {image: place for place, image in enumerate(names)}
    order = {images: place for place, images in enumerate(bytes_of)}
    sets = [(sorted(number[one] for one in images), size) for images, size in bytes_of.items()]
    split = {layer: [(order[images], size) for images, size in rows.items()] for layer, rows in layers.items()}
    return Counted(time.time(), total, names, sets, split, partial)


def sharing_of(counted: Counted, shelf: Shelf, manifest: str, may: Callable[[str], bool]) -> Sharing | None:
    """What an image has in common with images in repositories that one may see; None if it came after the counting."""
    if manifest not in counted.images:
        return None
    me = counted.images.index(manifest)
    shown = _Shown(counted, shelf, may)
    shared: Counter[int] = Counter()
    sizes, alone, steps = [0, 0], set[int](), 0
    for number, (images, size) in enumerate(counted.sets):
        if me not in images:
            continue
        others = [one for one in images if one != me and shown[one] is not None]
        sizes[bool(others)] += size
        if not others:
            alone.add(number)
        if (steps := steps + len(others)) <= _STEPS:
            for one in others:
                shared[one] += size
    best = []
    for one, size in shared.most_common(OTHERS):
        if (place := shown[one]) is not None:
            best.append(Other(place[0], place[1], counted.images[one], size))
    layers = {layer: _split(counted.layers.get(layer, ()), alone) for layer in shelf.layers_of(manifest)}
    return Sharing(sizes[0], sizes[1], layers, tuple(best), len(shared) - len(best), counted.time,
                   counted.partial or steps > _STEPS)


def _split(rows: Iterable[tuple[int, int]], alone: set[int]) -> tuple[int, int]:
    own = shared = 0
    for number, size in rows:
        own, shared = (own + size, shared) if number in alone else (own, shared + size)
    return own, shared


class _Shown(dict[int, tuple[str, str] | None]):
    """Number of an image -> the first place of it that one may see."""

    def __init__(self, counted: Counted, shelf: Shelf, may: Callable[[str], bool]) -> None:
        super().__init__()
        self._counted, self._shelf, self._may = counted, shelf, may

    def __missing__(self, number: int) -> tuple[str, str] | None:
        places = self._shelf.places.get(self._counted.images[number], ())
        found = self[number] = next((place for place in places if self._may(place[0])), None)
        return found
