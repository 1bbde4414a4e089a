"""Words and numbers for the page.  Whatever comes from an archive goes through `safe`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_LONGEST = 300  # characters of a name; an archive's may be megabytes


def safe(text: object) -> str:
    """Text for HTML and for attributes: markup escaped, and what a browser would not show as it is replaced."""
    plain = str(text)
    if len(plain) > _LONGEST:
        plain = plain[:_LONGEST] + "…"
    return html.escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in plain))


def size(count: float) -> str:
    """Three digits and a unit: `1.05 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def speed(count: float, seconds: float) -> float:
    """Megabytes a second."""
    return count / 1e6 / max(seconds, 1e-9)


def seconds(value: float) -> str:
    """`0.034 s`, `2.41 s`, `312 s`."""
    return f"{value:.3f} s" if value < 0.1 else f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def percent(share: float) -> str:
    """Without a place that would only be noise."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def short(digest: str) -> str:
    """Twelve digits."""
    return digest.partition(":")[2][:12] or digest[:12]


def table(heading: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> str:
    """A table that is folded up beneath its picture; the first column names the row, numbers are flush right."""
    head = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in heading)
    body = "".join(
        f'<tr><th scope="row">{safe(row[0])}</th>' + "".join(f"<td>{safe(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows)
    return (f"<details><summary>{safe(caption)}, as a table</summary><div class=\"scroll\"><table>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>")
