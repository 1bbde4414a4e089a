"""Which stored image another one was made from.

The parent of an image is the stored image of the same platform whose whole, non-empty list of layers is the
longest proper prefix of its own; for equal lists, the one whose history is a proper prefix; else none.
Among several with the same list, the longest history that is a prefix goes first, then the oldest, then the
smallest id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol


class Stacked(Protocol):
    """What is needed of an image."""

    @property
    def id(self) -> str: ...
    @property
    def diff_ids(self) -> Sequence[str]: ...
    @property
    def kin(self) -> Hashable:
        """The platform, so that equal ones mean the same."""
    @property
    def age(self) -> tuple[int, int]:
        """The moment of creation, to compare."""


History = Sequence[Hashable]


def find_parents(images: Iterable[Stacked], history: Callable[[str], History]) -> dict[str, str]:
    """Image id -> parent's id, for those that have one.

    Lists of layers, and histories, are kept as trees of prefixes: the work is one step for each layer and
    each step of history.  `history` (a config must be parsed for it) is asked for only where several images
    have the same list of layers.
    """
    stacks = _Stacks(history)
    paths = {image.id: (image, stacks.add(image)) for image in images}
    found = {image.id: stacks.parent(image, path) for image, path in paths.values()}
    return {child: parent for child, parent in found.items() if parent is not None}


# The empty history, within a tree of histories.
_EMPTY = -1


class _Tree:
    """Sequences by number: each prefix has one, the empty one of a root has -1."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Hashable, Hashable], int] = {}

    def path(self, root: Hashable, steps: Iterable[Hashable]) -> list[int]:
        """The numbers of the prefixes of `steps`, the shortest first, without the empty one."""
        numbers: list[int] = []
        above = root
        for step in steps:
            # A number stands for its whole prefix, so a step costs one look-up of two values.
            above = self._numbers.setdefault((above, step), len(self._numbers))
            numbers.append(above)
        return numbers


class _Stacks:
    """The images of each list of layers, and of each history within it."""

    def __init__(self, history: Callable[[str], History]) -> None:
        self._history = history
        self._layers, self._steps = _Tree(), _Tree()
        self._images: dict[int, dict[str, Stacked]] = defaultdict(dict)
        self._histories: dict[int, dict[int, Stacked]] = {}
        self._oldest: dict[int, Stacked] = {}
        self._paths: dict[str, list[int]] = {}

    def add(self, image: Stacked) -> list[int]:
        """Enter an image; the numbers of its prefixes."""
        path = self._layers.path(image.kin, image.diff_ids)
        if path:
            self._images[path[-1]][image.id] = image
        return path

    def parent(self, image: Stacked, path: list[int]) -> str | None:
        if not path:
            return None
        if len(self._images[path[-1]]) > 1 and (own := self._steps_of(image)):
            same = self._by_history(path[-1], own[:-1])
            if same is not None:
                return same.id
        for number in reversed(path[:-1]):
            if number in self._images:
                return self._among(image, number).id
        return None

    def _among(self, image: Stacked, number: int) -> Stacked:
        candidates = self._images[number]
        if len(candidates) > 1:
            kin = self._by_history(number, self._steps_of(image))
            if kin is not None:
                return kin
        if number not in self._oldest:
            self._oldest[number] = min(candidates.values(), key=_age)
        return self._oldest[number]

    def _by_history(self, number: int, steps: list[int]) -> Stacked | None:
        """Of the images of a list of layers, the one whose history is the longest prefix."""
        known = self._histories.get(number)
        if known is None:
            known = self._histories[number] = {}
            for image in sorted(self._images[number].values(), key=_age, reverse=True):
                known[(self._steps_of(image) or [_EMPTY])[-1]] = image
        return next((known[step] for step in reversed([_EMPTY, *steps]) if step in known), None)

    def _steps_of(self, image: Stacked) -> list[int]:
        if image.id not in self._paths:
            self._paths[image.id] = self._steps.path(_EMPTY, self._history(image.id))
        return self._paths[image.id]


def _age(image: Stacked) -> tuple[tuple[int, int], str]:
    return image.age, image.id
