"""JSON from strangers: `loads` with limits on size, depth and count, and `Fields` to read it type by type.

Python's parser is lenient (duplicate keys, NaN, integers of any length) and recurses with the depth of its
input; what it would choke on is refused before it is called.  Floor 1: no I/O.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NoReturn

from lamina.errors import InvalidContent, LimitExceeded

# Registries refuse manifests above 4 MiB (distribution specification, "Pushing Manifests").
MAX_BYTES = 4 << 20
# An image's documents are 6 levels deep at most; Python's parser gives out near 1,000.
MAX_DEPTH = 64
# Values in one document.  4 MiB of `[[],[],…` would be 1.4 million objects and 90 MB; an index of 4,096
# manifests with every optional field is about 100,000.
MAX_VALUES = 1 << 18

INT64_MAX = (1 << 63) - 1

# A string, or what is left of the text after a quote that is never closed.  Possessive, so that hostile input
# costs linear time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1, ord(","): 0}
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class _RefusedError(ValueError):
    """What the hooks of the parser raise; never leaves this module."""


def loads(
    data: bytes,
    what: str,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    *,
    where: object = "",
) -> dict[str, Any]:
    """The JSON object in `data`; `what` and `where` name the document in errors.

    `LimitExceeded`: more than `max_bytes`, nesting beyond `max_depth`, more than `MAX_VALUES` values.
    `InvalidContent`: invalid UTF-8 or lone surrogates, duplicate keys, NaN and infinities, integers beyond 64
    bits, trailing text, anything but an object.
    """
    if len(data) > max_bytes:
        raise LimitExceeded(f"{what} is too large: {len(data)} bytes", where, f"at most {max_bytes} are read")
    _check_structure(data, what, where, max_depth)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_int=_small_int,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
        if _SURROGATE_ESCAPE.search(data):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise InvalidContent(f"{what} is not UTF-8", where) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise InvalidContent(f"{what} is not JSON: {error.msg} at {place}", where) from error
    except _RefusedError as error:
        raise InvalidContent(f"{what} is refused: {error}", where) from error
    if not isinstance(value, dict):
        raise InvalidContent(f"{what} is not a JSON object", where)
    return value


def _check_structure(data: bytes, what: str, where: object, max_depth: int) -> None:
    structure = _STRING.sub(b"", data).translate(None, _NOT_STRUCTURE)
    openings = structure.count(b"[") + structure.count(b"{")
    if openings + structure.count(b",") > MAX_VALUES:
        raise LimitExceeded(f"{what} holds too many values", where, f"at most {MAX_VALUES} are read")
    # The loop costs 50 ns a bracket and is needed only where there are enough of them to be deep.
    if openings > max_depth and max(accumulate(_STEP[token] for token in structure)) > max_depth:
        raise LimitExceeded(f"{what} is nested too deep", where, f"at most {max_depth} levels are read")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"key {twice[:80]!r} is given twice")
    return found


def _small_int(text: str) -> int:
    # By length first: int() of a long text takes quadratic time.
    if len(text) > 20 or not -INT64_MAX - 1 <= (value := int(text)) <= INT64_MAX:
        raise _RefusedError(f"number {text[:24]} is beyond 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError(f"number {text[:24]} is not finite")
    return value


def _no_constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is no JSON value")


def natural(value: object) -> int:
    """The value, if it is an integer in 0 .. 2**63 - 1; ValueError."""
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise ValueError("no natural number of 63 bits")
    return value


def utf8(value: object) -> str:
    """The value, if it is a string that can be written as UTF-8 (lone surrogates cannot); ValueError."""
    if not isinstance(value, str):
        raise ValueError("no string")
    value.encode()
    return value


class Fields:
    """Reads the fields of one JSON object by type; `null` counts as absent, as in Go's decoder.

    `what` names the document, `path` the object within it; every error is `InvalidContent` and names the
    field (`manifest: layers[3].size is not an integer`).
    """

    __slots__ = ("_object", "path", "what", "where")

    def __init__(self, value: object, what: str, path: str = "", where: object = "") -> None:
        self.what, self.path, self.where = what, path, where
        if not isinstance(value, dict):
            self.refuse("", "is not an object")
        self._object: dict[str, Any] = value

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Raise `InvalidContent` that names the field and the problem."""
        path = ".".join(part for part in (self.path, name) if part)
        raise InvalidContent(": ".join(part for part in (self.what, f"{path} {problem}".strip()) if part),
                             self.where)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._object.get(name) is not None

    def get(self, name: str) -> object:
        """The field as it is; None when absent."""
        return self._object.get(name)

    def rest(self, known: frozenset[str]) -> dict[str, Any]:
        """All fields but the known ones."""
        return {name: value for name, value in self._object.items() if name not in known}

    def text(self, name: str, *, required: bool = False) -> str:
        """A string; '' when absent."""
        value = self._object.get(name)
        if value is None:
            value = ""
        if not isinstance(value, str):
            self.refuse(name, "is not a string")
        if required and not value:
            self.refuse(name, "is missing")
        return value

    def natural(self, name: str) -> int:
        """A required integer in 0 .. 2**63 - 1."""
        value = self._object.get(name)
        if value is None:
            self.refuse(name, "is missing")
        if type(value) is not int:
            self.refuse(name, "is not an integer")
        if not 0 <= value <= INT64_MAX:
            self.refuse(name, "is out of range")
        return value

    def flag(self, name: str) -> bool:
        """A boolean; False when absent."""
        value = self._object.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.refuse(name, "is not a boolean")
        return value

    def array(self, name: str, limit: int) -> list[Any]:
        """A list of at most `limit` values; empty when absent."""
        value = self._object.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(name, "is not an array")
        if len(value) > limit:
            path = f"{self.path}.{name}" if self.path else name
            raise LimitExceeded(f"{self.what}: {path} has {len(value)} elements", self.where,
                                f"at most {limit} are read")
        return value

    def texts(self, name: str, limit: int = 4096) -> tuple[str, ...]:
        """A list of strings; empty when absent."""
        values = self.array(name, limit)
        for number, value in enumerate(values):
            if not isinstance(value, str):
                self.refuse(f"{name}[{number}]", "is not a string")
        return tuple(values)

    def mapping(self, name: str) -> dict[str, Any]:
        """An object; empty when absent."""
        value = self._object.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(name, "is not an object")
        return value

    def text_mapping(self, name: str) -> dict[str, str]:
        """An object whose values are strings (null counts as ''); empty when absent."""
        values = self.mapping(name)
        for key, value in values.items():
            if value is not None and not isinstance(value, str):
                self.refuse(f"{name}[{key[:80]!r}]", "is not a string")
        return {key: value or "" for key, value in values.items()}

    def child(self, name: str) -> Fields | None:
        """The object in a field, to be read in turn; None when absent."""
        value = self._object.get(name)
        return None if value is None else Fields(value, self.what, self._join(name), self.where)

    def children(self, name: str, limit: int) -> Iterator[Fields]:
        """The objects in a list, to be read in turn."""
        for number, value in enumerate(self.array(name, limit)):
            yield Fields(value, self.what, self._join(f"{name}[{number}]"), self.where)

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name
