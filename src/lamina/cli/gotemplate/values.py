"""Values as Go has them: how they print, what is true, what JSON they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lamina.cli.say import plain_json


class Map(dict[str, Any]):
    """A Go map: keys in order, a missing one is no error.  `Map(None)` is a nil map."""

    __slots__ = ("nil",)

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> None:
        super().__init__(sorted(dict(items or ()).items()))
        self.nil = items is None


class Struct(dict[str, Any]):
    """A Go struct: its fields in order, and `hidden` ones that JSON leaves out, being empty, and a template may ask for."""

    __slots__ = ("hidden",)

    def __init__(self, shown: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        super().__init__(shown)
        self.hidden = hidden


class NilList(list[Any]):
    """A nil slice: empty, `null` in JSON."""

    __slots__ = ()


class Missing:
    """What a map's missing key gives; prints as `<no value>`, is false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


def text(value: object) -> str:
    """What an action prints."""
    if value is None or isinstance(value, Missing):
        return "<no value>"
    return _inner(value)


def _inner(value: object) -> str:
    if value is None or isinstance(value, (bool, Missing)):
        return str(value).lower() if isinstance(value, bool) else "<nil>"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_inner, value)) + "]"
    return str(value)


def _float(value: float) -> str:
    """%v of a float64: shortest form, exponent from 1e+21 on."""
    if abs(value) < 1e21 and value == int(value):
        return str(int(value))
    return repr(value)


def truth(value: object) -> bool:
    """What `if` takes for true: not empty, not zero, not nil."""
    return bool(value)


def kind(value: object) -> str:
    """The basic kind that `eq` compares by."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "other"


def zero_like(items: Mapping[str, Any]) -> object:
    """The zero value of a map's elements, told by one of them; that of strings where there is none."""
    sample = next(iter(items.values()), "")
    return "" if isinstance(sample, str) else type(sample)() if isinstance(sample, (bool, int, float)) else Map({})


def to_json(value: object, *, html: bool = False) -> str:
    """Compact JSON as Go's encoder writes it; with `html` also `<`, `>` and `&` are escaped, as json.Marshal does."""
    out = plain_json(json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")))
    if html:
        out = out.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return out


def _plain(value: object) -> object:
    """The same value with nil maps and nil slices as None."""
    if isinstance(value, (Missing, NilList)) or (isinstance(value, Map) and value.nil):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
