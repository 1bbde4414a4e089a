"""Settings that are compared, and the words in which they are asked for.

    compression=none+zstd:1+zstd:3,chunk-size=16+64,threads=1+2

Names are joined by commas, the values of one by `+`; every combination is measured.  Asked for several times, the values
of a name add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

from lamina.errors import UsageError
from lamina.store.tuning import Tuning

CHUNK_SIZES = tuple(1 << power for power in range(4, 11))  # KiB
MOST_THREADS = 64
MOST_SETTINGS = 32  # a slip of the pen should not take a day
_LARGEST = 1 << 20  # bytes of a chunk: it must fit into a frame, and into a reader's window
_HINT = "as in compression=none+zstd:1+zstd:3,chunk-size=16+64,threads=1+2"


@dataclass(frozen=True, slots=True)
class Setting:
    """How a store is written: compression, KiB of the average chunk, threads (0: as many as suit the machine)."""

    compression: str = "zstd:1"
    chunk_size: int = 64
    threads: int = 0

    def __str__(self) -> str:
        words = [self.compression]
        if self.chunk_size != 64:
            words.append(f"{self.chunk_size} KiB")
        if self.threads:
            words.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        return ", ".join(words)

    def tuning(self) -> Tuning:
        """The same for a session: chunks from a quarter of the average to four times it, but at most 1 MiB."""
        average = self.chunk_size << 10
        return Tuning(self.threads, self.threads, (average // 4, average, min(4 * average, _LARGEST)))


def parse_sweep(words: Iterable[str]) -> list[Setting]:
    """All combinations, in order; none for no words.  `UsageError`."""
    values: dict[str, list[str | int]] = {}
    for word in words:
        for part in word.split(","):
            name, equals, listed = part.strip().partition("=")
            if not equals or name not in _READERS:
                raise UsageError(f"cannot read {part.strip()!r} in --sweep", hint=_HINT)
            into = values.setdefault(name, [])
            into += (one for one in map(_READERS[name], listed.split("+")) if one not in into)
    if not values:
        return []
    names = [name.replace("-", "_") for name in values]
    settings = [Setting(**dict(zip(names, chosen, strict=True))) for chosen in product(*values.values())]  # type: ignore[arg-type]
    if len(settings) > MOST_SETTINGS:
        raise UsageError(f"{len(settings)} settings to compare, more than {MOST_SETTINGS}", hint="leave some values out")
    return settings


def _compression(text: str) -> str:
    from lamina.store.codec import Compression

    Compression.parse(text)
    return "zstd:1" if text == "zstd" else text


def _chunk_size(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) in CHUNK_SIZES and len(text) < 6:
        return int(text)
    raise UsageError(f"cannot use the chunk size {text!r}", hint=f"use one of {', '.join(map(str, CHUNK_SIZES))} (KiB)")


def _threads(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_THREADS:
        return int(text)
    raise UsageError(f"cannot use {text!r} threads", hint=f"use 1 to {MOST_THREADS}")


_READERS: dict[str, Callable[[str], str | int]] = {
    "compression": _compression, "chunk-size": _chunk_size, "threads": _threads,
}
