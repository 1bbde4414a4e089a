"""Patterns of repository names: `*` is a run within one component (none, too), `**` is one or more whole components.

    team/app    itself        team/*    team/app, not team/app/dev        team/**    everything below team, not team itself
    **          everything    */app     app of every team                 **/dev     every dev but one at the top

A pattern knows how specific it is, component by component from the left: a name before `*` before `**`; of two with `*`,
the one with more letters.  Matching takes time linear in pattern times name: neither is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

MAX_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
# Name of the distribution specification, "Pulling manifests".
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_ANY, _STAR = "*", "**"


def is_name(text: str) -> bool:
    """Whether the text is a repository's name at all."""
    return len(text) <= MAX_LENGTH and _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether the text can match a name: its letters are those of names, `**` stands alone, `..` and `//` do not occur."""
    parts = text.split("/")
    return len(text) <= MAX_LENGTH and all(
        part == _STAR or (_STAR not in part and is_name(part.replace("*", "a"))) for part in parts)


@dataclass(frozen=True)
class Pattern:
    """One pattern, of which `is_pattern` is true."""

    text: str

    @cached_property
    def rank(self) -> tuple[tuple[int, int], ...]:
        """The larger, the more specific."""
        return tuple(_rank(part) for part in self.text.split("/"))

    @cached_property
    def _parts(self) -> list[str]:
        expanded: list[str] = []
        for part in self.text.split("/"):
            expanded += [_ANY, _STAR] if part == _STAR else [part]
        return expanded

    def covers(self, name: str) -> bool:
        """Whether a repository's name is meant; never anything that `is_name` is false of."""
        return is_name(name) and _covers(self._parts, name.split("/"), _STAR, _fits)


def _rank(part: str) -> tuple[int, int]:
    if part == _STAR:
        return 0, 0
    return (1 if "*" in part else 2), len(part.replace("*", ""))


def _fits(part: str, component: str) -> bool:
    return part == component or ("*" in part and _covers(part, component, "*", str.__eq__))


def _covers(pattern: Sequence[str], items: Sequence[str], star: str, fits: Callable[[str, str], bool]) -> bool:
    """Whether all items are covered, `star` by any number; only the last star is ever tried again, so there is no blow-up."""
    place = item = retry = 0
    last = -1
    while item < len(items):
        if place < len(pattern) and pattern[place] == star:
            last, retry, place = place, item, place + 1
        elif place < len(pattern) and fits(pattern[place], items[item]):
            place, item = place + 1, item + 1
        elif last >= 0:
            retry += 1
            place, item = last + 1, retry
        else:
            return False
    return all(rest == star for rest in pattern[place:])
