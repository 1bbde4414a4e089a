"""Go's `path.Match` and what docker makes of it for image names."""

from __future__ import annotations

import re
from functools import lru_cache

from lamina.errors import UsageError
from lamina.reference import Reference

_STAR = "[^/]*"


def matches(pattern: str, reference: Reference) -> bool:
    """Whether a pattern is met by the familiar reference, or by the familiar name alone."""
    compiled = _compiled(pattern)
    return bool(compiled.fullmatch(reference.familiar()) or compiled.fullmatch(reference.familiar_name))


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    out: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        place += 1
        if character == "*":
            # Stars in a row are one: each further one would multiply the ways to match.
            if out[-1:] != [_STAR]:
                out.append(_STAR)
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            text, place = _class(pattern, place)
            out.append(text)
        else:
            if character == "\\":
                character, place = _character(pattern, place - 1)
            out.append(re.escape(character))
    return re.compile("".join(out), re.DOTALL)


def _class(pattern: str, place: int) -> tuple[str, int]:
    """A class `[a-z]` or `[^a-z]` whose bracket has been read; its expression and the place behind it."""
    negated = pattern.startswith("^", place)
    place += negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", place)):
        low, place = _class_character(pattern, place)
        high = low
        if pattern.startswith("-", place):
            high, place = _class_character(pattern, place + 1)
        # A range that runs backwards matches nothing, as in Go.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inside = "".join(ranges)
    if not inside:
        return (r"[\s\S]" if negated else r"(?!)"), place + 1
    return f"[{'^' if negated else ''}{inside}]", place + 1


def _class_character(pattern: str, place: int) -> tuple[str, int]:
    if place >= len(pattern) or pattern[place] in "-]":
        raise _bad(pattern)
    return _character(pattern, place)


def _character(pattern: str, place: int) -> tuple[str, int]:
    """One character, perhaps behind a backslash."""
    if pattern[place] == "\\":
        place += 1
    if place >= len(pattern):
        raise _bad(pattern)
    return pattern[place], place + 1


def _bad(pattern: str) -> UsageError:
    return UsageError("syntax error in pattern", pattern[:160])
