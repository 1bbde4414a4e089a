"""The store's figures over time: lines of JSON in `state/showcase/series`, at most one an hour, for a year.

A line is {"time": seconds since 1970, "pushed", "layers", "chunks", "stored": bytes}.  Lines that make no sense are passed
over, and losing the file costs the picture of the past only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from lamina.registry.server.page.library import Point
from lamina.storage.problems import storage_errors

HOUR: Final = 3600.0
MOST: Final = 366 * 24
_SLACK: Final = 24 * 7  # lines beyond MOST before the file is written anew
_LINE: Final = 300  # bytes; ours have some 130
_BIGGEST: Final = 1 << 62
_NAMES: Final = ("pushed", "layers", "chunks", "stored")


class Series:
    """One file; one process writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], list[Point]] | None = None

    def points(self) -> list[Point]:
        """The oldest first; `StorageError`."""
        with storage_errors("read the page's figures", self._path):
            try:
                found = self._path.stat()
            except FileNotFoundError:
                return []
            key = found.st_mtime_ns, found.st_size
            if self._read is None or self._read[0] != key:
                with self._path.open("rb") as file:
                    file.seek(max(0, found.st_size - _LINE * (MOST + _SLACK)))
                    self._read = key, _parsed(file)[-MOST:]
            return self._read[1]

    def add(self, point: Point) -> bool:
        """Unless the last one is less than an hour old; whether it was added.  `StorageError`."""
        points = self.points()
        if points and 0 <= point.time - points[-1].time < HOUR:
            return False
        line = (json.dumps(asdict(point), separators=(",", ":")) + "\n").encode()
        with storage_errors("write the page's figures", self._path):
            size = self._path.stat().st_size if self._path.exists() else 0
            if len(points) >= MOST or size > len(line) * (MOST + _SLACK):
                self._rewrite([*points[-(MOST - _SLACK):], point])
            else:
                with self._path.open("ab") as file:
                    file.write(b"\n" + line if self._is_torn(size) else line)
        return True

    def _is_torn(self, size: int) -> bool:
        if not size:
            return False
        with self._path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) != b"\n"

    def _rewrite(self, points: Iterable[Point]) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text("".join(json.dumps(asdict(one), separators=(",", ":")) + "\n" for one in points))
        fresh.replace(self._path)


def _parsed(lines: Iterable[bytes]) -> list[Point]:
    found: list[Point] = []
    for line in lines:
        try:
            value = json.loads(line[:_LINE])
            point = Point(float(value["time"]), *(int(value[name]) for name in _NAMES))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            continue
        sound = 0 <= point.time < 1e11 and all(0 <= getattr(point, name) < _BIGGEST for name in _NAMES)
        if sound and (not found or point.time > found[-1].time):
            found.append(point)
    return found
