"""Words and numbers for the page.  Whatever comes from outside goes through `safe`: names, labels and paths are hostile."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

MOST: Final = 2048  # characters of a path
LONGEST: Final = 300  # characters of a text that are shown; there are names of some megabytes
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_DAY: Final = 86400
_STEPS: Final = ((365 * _DAY, "year"), (30 * _DAY, "month"), (7 * _DAY, "week"), (_DAY, "day"), (3600, "hour"), (60, "minute"))


def safe(text: object, longest: int = LONGEST) -> str:
    r"""Text for HTML and for attributes: markup escaped, what cannot be seen or turns the writing as `\x1b`, cut short."""
    plain = text if isinstance(text, str) else str(text)
    if len(plain) > longest:
        plain = plain[:longest] + "…"
    if not plain.isprintable():
        plain = "".join(one if one.isprintable() else _visible(one) for one in plain)
    return html.escape(plain)


def isolated(text: object, longest: int = LONGEST) -> str:
    """As `safe`, and writing from right to left stays within it."""
    return f"<bdi>{safe(text, longest)}</bdi>"


def from_bytes(raw: bytes, longest: int = LONGEST) -> str:
    r"""A path as text, what is no UTF-8 as `\xff`; cut short before it is decoded."""
    short = raw[: longest * 4]
    return short.decode("utf-8", "backslashreplace") + ("…" if len(short) < len(raw) else "")


def size(count: float) -> str:
    """Powers of 1000 and three digits, as the commands print it: `1.05GB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}{_UNITS[-1]}"


def number(count: int) -> str:
    """`12,345`."""
    return f"{count:,}"


def plural(count: int, word: str) -> str:
    """`1 tag`, `2 tags`, `2 repositories`."""
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number(count)} {word if count == 1 else many}"


def ratio(whole: float, part: float) -> str:
    """`7.2×`; a dash where there is nothing."""
    return f"{whole / part:.3g}×" if whole and part else "–"


def percent(share: float) -> str:
    """Without a place that would only be noise."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def moment(seconds: float) -> str:
    """`2026-11-26 12:42 UTC`; '' if it is unknown or beyond all calendars."""
    if not 0 < seconds < 253402300800:
        return ""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def ago(seconds: float, now: float | None = None) -> str:
    """`3 days ago`, with the moment as a tip, in HTML."""
    told = moment(seconds)
    if not told:
        return '<span class="soft">unknown</span>'
    past = (time.time() if now is None else now) - seconds
    count, unit = next(((int(past // step), unit) for step, unit in _STEPS if past >= step), (0, ""))
    words = f"{plural(count, unit)} ago" if unit else "just now"
    machine = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return f'<time datetime="{machine}" title="{told}">{words}</time>'


def short(digest: str) -> str:
    """Algorithm left out where it is sha256, twelve digits."""
    algorithm, _, digits = digest.partition(":")
    return digits[:12] if algorithm == "sha256" else f"{algorithm}:{digits[:12]}"


def repository_url(name: str, page: int = 1) -> str:
    """Where a repository is shown, for an attribute."""
    return link(f"/r/{name}", {"page": str(page)} if page > 1 else {})


def item_url(repository: str, reference: str) -> str:
    """Where a tag or digest is shown."""
    return link(f"/r/{repository}{'@' if ':' in reference else ':'}{reference}")


def files_url(repository: str, manifest: str, layer: str, prefix: bytes = b"", start: int = 0) -> str:
    """Where files of a layer are shown."""
    query: dict[str, str | bytes] = {"layer": layer}
    if prefix:
        query["prefix"] = prefix
    if start:
        query["start"] = str(start)
    return link(f"/files/{repository}@{manifest}", query)


def link(path: str, query: Mapping[str, str | bytes] | None = None) -> str:
    """A path on this server, for an attribute; texts may hold anything.  `#` for one that is too long to be asked for."""
    if len(path) > MOST:
        return "#"
    tail = f"?{urlencode(query, errors='replace')}" if query else ""
    return html.escape(quote(path, safe="/:@", errors="replace") + tail)


def _visible(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
