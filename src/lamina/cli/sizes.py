"""Options that are sizes."""

from __future__ import annotations

import re

import click

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?(?:([kmgtp])(i?)b?|b)?", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?) ?%", re.ASCII)
_POWERS = "kmgtp"


def parse_size(text: str) -> int | None:
    """`200GB`, `1.5 g` in powers of 1000, `512MiB` of 1024, mere bytes; None for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    unit = (1024 if match[3] else 1000) ** (_POWERS.index(match[2].lower()) + 1) if match[2] else 1
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


class Size(click.ParamType[int]):
    """Bytes, with a unit as docker writes them."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        size = parse_size(str(value))
        if size is None:
            self.fail(f"{value!r} is no size like 200GB or 512MiB", param, ctx)
        return size


class Unused(click.ParamType[tuple[float, int | None]]):
    """A part (`5%`), or bytes: (part, bytes or None)."""

    name = "unused"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, int | None]:
        if isinstance(value, tuple):
            return value
        if percent := _PERCENT.fullmatch(str(value).strip()):
            return float(percent[1]) / 100, None
        size = parse_size(str(value))
        if size is None:
            self.fail(f"{value!r} is neither a percentage like 5% nor a size like 200MB", param, ctx)
        return 0.0, size
