"""The functions that a template may call: docker's own and the useful ones of text/template."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from lamina.cli.gotemplate.values import MISSING, Map, Missing, kind, text, to_json, zero_like

Call = Callable[..., object]
MAX_PAD = 1000  # spaces that one `pad` may add


class CallError(Exception):
    """The arguments do not suit the function; the message goes into the template's error."""


class Row(dict[str, object]):
    """A row of one of docker's tables: its JSON escapes `<`, `>` and `&`, its keys are in order."""


def _json(value: object) -> str:
    if isinstance(value, Row):
        return to_json(dict(sorted(value.items())), html=True)
    return to_json(value)


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise CallError(f"{name}: expected string, got {text(value)}")
    return value


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CallError(f"{name}: expected integer, got {text(value)}")
    return value


def _index(value: object, *keys: object) -> object:
    for key in keys:
        value = _item(value, key)
    return value


def _item(value: object, key: object) -> object:
    if isinstance(value, dict):
        name = _string(key, "index")
        return value[name] if name in value else zero_like(value) if isinstance(value, Map) else MISSING
    if isinstance(value, (list, tuple)):
        place = _whole(key, "index")
        if not 0 <= place < len(value):
            raise CallError(f"index: index out of range: {place}")
        item: object = value[place]
        return item
    if value is None or isinstance(value, Missing):
        raise CallError("index: index of untyped nil")
    raise CallError(f"index: can't index item of type {kind(value)}")


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, (dict, list, tuple)):
        return len(value)
    raise CallError(f"len: {text(value)} has no length")


def _join(items: object, separator: object) -> str:
    if not isinstance(items, (list, tuple)):
        raise CallError(f"join: expected list of strings, got {text(items)}")
    return _string(separator, "join").join(_string(item, "join") for item in items)


def _split(value: object, separator: object) -> list[str]:
    whole, by = _string(value, "split"), _string(separator, "split")
    return whole.split(by) if by else list(whole)


def _title(value: object) -> str:
    """The first letter of each word in upper case; the others stay."""
    return re.sub(r"(?<![\w'])\w", lambda found: found.group().upper(), _string(value, "title"))


def _truncate(value: object, length: object) -> str:
    end = _whole(length, "truncate")
    if end < 0:
        raise CallError(f"truncate: length {end} is negative")
    return _string(value, "truncate")[:end]


def _pad(value: object, before: object, after: object) -> str:
    left, right = _whole(before, "pad"), _whole(after, "pad")
    if not (0 <= left <= MAX_PAD and 0 <= right <= MAX_PAD):
        raise CallError(f"pad: widths go from 0 to {MAX_PAD}")
    whole = _string(value, "pad")
    return " " * left + whole + " " * right if whole else whole


def _equal(first: object, *others: object) -> bool:
    """Whether the first equals any of the others."""
    if not others:
        raise CallError("eq: missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: object, two: object) -> bool:
    kinds = {kind(one), kind(two)}
    if None in (one, two) and len(kinds) > 1:
        return False
    if len(kinds) > 1 or (kinds == {"other"} and not (one is None or two is None)):
        raise CallError("incompatible types for comparison")
    return one == two


def _differ(one: object, two: object) -> bool:
    return not _same(one, two)


def _ordered(compare: Callable[[Any, Any], Any]) -> Call:
    def call(one: object, two: object) -> bool:
        if kind(one) != kind(two) or kind(one) in ("bool", "other"):
            raise CallError("incompatible types for comparison")
        return bool(compare(one, two))
    return call


def _print(*values: object) -> str:
    """Spaces between two operands of which neither is a string."""
    out = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            out += " "
        out += _shown(value)
    return out


def _println(*values: object) -> str:
    return " ".join(map(_shown, values)) + "\n"


def _shown(value: object) -> str:
    return "<nil>" if value is None else text(value)


def _lower(value: object) -> str:
    return _string(value, "lower").lower()


def _upper(value: object) -> str:
    return _string(value, "upper").upper()


def _negate(value: object) -> bool:
    return not value


# name: (function, fewest arguments, most arguments or -1 for any number)
FUNCTIONS: Mapping[str, tuple[Call, int, int]] = {
    "json": (_json, 1, 1), "index": (_index, 1, -1), "len": (_length, 1, 1),
    "join": (_join, 2, 2), "split": (_split, 2, 2), "title": (_title, 1, 1), "lower": (_lower, 1, 1),
    "upper": (_upper, 1, 1), "truncate": (_truncate, 2, 2), "pad": (_pad, 3, 3),
    "eq": (_equal, 1, -1), "ne": (_differ, 2, 2), "not": (_negate, 1, 1),
    "lt": (_ordered(operator.lt), 2, 2), "le": (_ordered(operator.le), 2, 2),
    "gt": (_ordered(operator.gt), 2, 2), "ge": (_ordered(operator.ge), 2, 2),
    "print": (_print, 0, -1), "println": (_println, 0, -1),
}


def _same_value(value: object, *_: object) -> object:
    return value


# In a table's heading the names of the columns stay as they are.
HEADING: Mapping[str, tuple[Call, int, int]] = {
    **FUNCTIONS, **dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "truncate"), (_same_value, 1, 2)),
}

LAZY = ("and", "or")  # evaluated argument by argument, by the executor
NAMES = frozenset(FUNCTIONS) | frozenset(LAZY)
