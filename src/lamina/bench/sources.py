"""What is measured: archives and layouts, and images of the user's store, which are written out once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.archive import open_source
from lamina.archive.opening import archives_in, plain_size
from lamina.errors import InvalidReference, NotFound, UsageError

if TYPE_CHECKING:
    from lamina.images import ImageStore

_SQUEEZED = 6  # what a compressed archive may grow by, for the check of free space


@dataclass(frozen=True, slots=True)
class Source:
    """An archive: what the user called it, where it lies, "docker-archive", "oci" or "compressed", bytes, and images in it.

    `plain`: about how many bytes there are when it has been unpacked.
    """

    name: str
    path: Path
    format: str
    bytes: int
    images: int
    plain: int


def archives(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Paths of archives and layouts, and the words that are no path: names of images."""
    paths: list[Path] = []
    names: list[str] = []
    for word in words:
        if word == "-":
            raise UsageError("standard input cannot be read several times", hint="name a file")
        path = Path(word)
        if path.exists():
            paths += archives_in(path) or [path]
        elif os.sep in word and word.startswith(("/", ".")):
            raise NotFound("no such file or directory", word)
        else:
            names.append(word)
    return paths, names


def describe(path: Path, name: str = "") -> Source:
    """Look at an archive; errors as of opening it."""
    size = plain_size(path)
    if size is None and not path.is_dir():
        bytes_ = path.stat().st_size
        return Source(name or path.name, path, "compressed", bytes_, 1, bytes_ * _SQUEEZED)
    with open_source(path) as source:
        source.complete()
        roots = {root.digest for _, root in source.references()}
        return Source(name or path.name or str(path), path, source.format, size or 0, max(1, len(roots)), size or 0)


def bytes_of(store: ImageStore, names: Sequence[str]) -> int:
    """About how many bytes these images are; `NotFound` says that it is no file either."""
    total = 0
    for name in names:
        with _neither(name):
            total += sum(row.size for row in store.history(name))
    return total


def write_out(store: ImageStore, names: Sequence[str], folder: Path, tell: Callable[[str], None]) -> Iterator[Source]:
    """An archive of each."""
    for number, name in enumerate(names):
        tell(f"writing out {name}")
        path = folder / f"image{number}.tar"
        store.save([name], path)
        yield describe(path, name)


@contextmanager
def _neither(name: str) -> Iterator[None]:
    """`NotFound` and names that are none become one error about what was asked for."""
    try:
        yield
    except (NotFound, InvalidReference) as error:
        raise NotFound("neither a file nor an image of the store", name) from error
