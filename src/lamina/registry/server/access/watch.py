"""Something made of files, made again when their bytes change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

from lamina.errors import LaminaError
from lamina.registry.server.access import files

_T = TypeVar("_T")


class Watched(Generic[_T]):
    """`value` is what `make` made of the files' bytes; `what` names it in messages.

    Bytes are compared, not times and sizes: a file that is rewritten within one tick of the clock, or swapped by a link, is
    seen all the same, and reading some kilobytes each second costs nothing that can be measured.
    """

    def __init__(self, what: str, paths: Sequence[Path], make: Callable[[list[bytes]], _T]) -> None:
        self.what, self._paths, self._make = what, tuple(paths), make
        data = self._read()
        self._seen: object = _mark(data)
        self.value = make(data)

    def refresh(self) -> str:
        """'' where nothing has changed; else what to say: it was read again, or it is wrong, and the former stays."""
        try:
            data = self._read()
        except LaminaError as error:
            return self._news(str(error), f"{error}; the former one stays")
        return self._news(_mark(data), f"{self.what} was read again", data)

    def _news(self, mark: object, news: str, data: list[bytes] | None = None) -> str:
        """Each thing is said once, and so is the same error."""
        if mark == self._seen:
            return ""
        self._seen = mark
        try:
            if data is not None:
                self.value = self._make(data)
        except LaminaError as error:
            return f"{error}; the former one stays"
        return news

    def _read(self) -> list[bytes]:
        return [files.read(path, self.what) for path in self._paths]


def _mark(data: Sequence[bytes]) -> bytes:
    """Of several files without a doubt where one ends; keys are not kept in memory longer than needed."""
    return b"".join(blake2b(one, digest_size=32).digest() for one in data)
