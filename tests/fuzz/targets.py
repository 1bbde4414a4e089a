"""The table of fuzz targets.

Nothing here needs the fuzzer: the plain suite runs every seed (test_seeds.py), `.ci/fuzz` looks for more (drive.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Protocol

NAMES = ("tar", "json", "recipe", "pack", "index", "archive", "registry")


class Target(Protocol):
    """What a module of this directory, `fuzz_NAME`, has."""

    WORDS: tuple[bytes, ...]

    def run(self, data: bytes) -> None:
        """Try one input; AssertionError, or whatever the product should not have raised."""

    def seeds(self) -> Iterator[bytes]:
        """Inputs to begin with."""


def target(name: str) -> Target:
    """One of `NAMES`."""
    return import_module(f"fuzz.fuzz_{name}")  # type: ignore[return-value]
