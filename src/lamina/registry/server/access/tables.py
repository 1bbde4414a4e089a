"""One table of the configuration, read key by key: each key is known and of its kind, or an error names file and key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from lamina.errors import InvalidContent
from lamina.registry.server.access import values

_T = TypeVar("_T")
MAX_TEXT = 4096
MAX_LIST = 1000


def nearest(word: str, known: Sequence[str]) -> str:
    """What to do about an unknown word: `did you mean 'x'?`, or the list of known ones."""
    close = get_close_matches(word[:80], known, 1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"


class Table:
    """`name` is the table's own, with its dots.  What has been read is what is known: `finish` refuses the rest."""

    def __init__(self, content: object, file: Path, name: str = "") -> None:
        self.file, self.name = file, name
        self._asked: list[str] = []
        if not isinstance(content, dict):
            raise InvalidContent(f"{name} is no table", file, f"write [{name}], and its keys below")
        self._content: dict[str, Any] = content

    def refuse(self, key: str, problem: str, hint: str = "") -> NoReturn:
        """Raise `InvalidContent` that names file and key."""
        raise InvalidContent(f"{self._full(key)} {problem}", self.file, hint)

    def finish(self) -> None:
        """Everything that matters has been read: what is left over is unknown, and most often misspelt."""
        for key in self._content:
            if key not in self._asked:
                raise InvalidContent(f"unknown key {self._full(key)[:160]!r}", self.file, nearest(key, self._asked))

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked.append(key)
        return key in self._content

    def is_false(self, key: str) -> bool:
        """Whether a key that may be something else is `false`."""
        return self._content.get(key) is False

    def keys(self) -> list[str]:
        """Every key of a table whose keys are names of the operator's."""
        self._asked += self._content
        return list(self._content)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._content[key] if self.has(key) else default
        return value if isinstance(value, bool) else self.refuse(key, "is neither true nor false")

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """An integer of that range."""
        value = self._content[key] if self.has(key) else default
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"is no whole number from {low} to {high}")
        return value

    def number(self, key: str, default: float, high: float) -> float:
        """A number from 0 to `high`."""
        value = self._content[key] if self.has(key) else default
        if type(value) not in {int, float} or not 0 <= value <= high:  # NaN is no such number, either.
            self.refuse(key, f"is no number from 0 to {high:g}")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default the key has to be there."""
        if not self.has(key):
            return default if default is not None else self.refuse(key, "is missing")
        value = self._content[key]
        if not isinstance(value, str) or not value or len(value) > MAX_TEXT or not value.isprintable():
            self.refuse(key, f"is no text of 1 to {MAX_TEXT} printable characters")
        return value

    def parsed(self, key: str, parse: Callable[[str], _T | None], default: _T | None, kind: str) -> _T:
        """A text that `parse` understands; `kind` says what it has to be, with an example."""
        if default is not None and not self.has(key):
            return default
        found = parse(self.text(key))
        return found if found is not None else self.refuse(key, f"is no {kind}")

    def size(self, key: str, default: int, low: int = 0, high: int = 1 << 62) -> int:
        """Bytes, as a text with a unit or as a number."""
        if not self.has(key):
            return default
        if type(self._content[key]) is int:
            return self.whole(key, default, low, high)
        found = self.parsed(key, values.size, None, 'size like "200GB" or "512MiB"')
        return found if low <= found <= high else self.refuse(key, f"is no size from {low} to {high} bytes")

    def seconds(self, key: str, default: float, low: float, high: float) -> float:
        """A time, as a text with a unit."""
        if not self.has(key):
            return default
        found = self.parsed(key, values.seconds, None, 'time like "90s", "15m", "6h" or "7d"')
        return found if low <= found <= high else self.refuse(key, f"is no time from {low:g} to {high:g} seconds")

    def path(self, key: str) -> Path:
        """A file's path; a relative one starts at the directory of the configuration."""
        return self.file.absolute().parent / self.text(key)

    def texts(self, key: str, known: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts, each of the `known` ones where there are any; empty where the key is not there."""
        value = self._content[key] if self.has(key) else []
        if not isinstance(value, list) or len(value) > MAX_LIST or not all(isinstance(one, str) and one for one in value):
            self.refuse(key, f"is no list of at most {MAX_LIST} texts", 'write ["one", "two"]')
        for one in value:
            if not one.isprintable() or len(one) > MAX_TEXT:
                self.refuse(key, "holds a text that is too long or not printable")
            if known and one not in known:
                self.refuse(key, f"holds the unknown {one[:80]!r}", nearest(one, known))
        return tuple(value)

    def table(self, key: str) -> Table | None:
        """A table inside of this one; None where it is not there."""
        return Table(self._content[key], self.file, self._full(key)) if self.has(key) else None

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of a list (`[[key]]`)."""
        value = self._content[key] if self.has(key) else []
        if not isinstance(value, list) or len(value) > MAX_LIST:
            self.refuse(key, f"is no list of at most {MAX_LIST} tables", f"write [[{self._full(key)}]], and its keys below")
        for number, one in enumerate(value, 1):
            yield Table(one, self.file, f"{self._full(key)}[{number}]")

    def _full(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key
