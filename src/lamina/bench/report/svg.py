"""Pictures that fit any width: across in per cent, down in pixels, so that text keeps its size on a telephone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

from lamina.bench.report.text import safe


def picture(name: str, label: str, height: float, parts: Iterable[str]) -> str:
    """A picture with an id; `label` tells those who cannot see it what it shows."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" role="img" aria-label="{safe(label)}" width="100%" '
            f'height="{height:g}">{"".join(parts)}</svg>')


def rect(x: float, y: float, width: float, height: float, kind: str, *, round_: float = 0, tip: str = "",
         opacity: float | None = None) -> str:
    """x and width in per cent."""
    shade = f' style="fill-opacity:{opacity:.3f}"' if opacity is not None else ""
    return (f'<rect class="{kind}" x="{x:.3f}%" y="{y:g}" width="{max(width, 0):.3f}%" height="{height:g}" '
            f'rx="{round_:g}"{shade}>{_tip(tip)}</rect>')


def line(x: float, y: float, x2: float, y2: float, kind: str) -> str:
    """x in per cent."""
    return f'<line class="{kind}" x1="{x:.3f}%" y1="{y:g}" x2="{x2:.3f}%" y2="{y2:g}"/>'


def circle(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    """x in per cent."""
    return f'<circle class="{kind}" cx="{x:.3f}%" cy="{y:g}" r="{radius:g}">{_tip(tip)}</circle>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start", dx: float = 0) -> str:
    """x in per cent, `dx` pixels to the right of it; y is the base line."""
    return f'<text class="{kind}" x="{x:.3f}%" y="{y:g}" dx="{dx:g}" text-anchor="{anchor}">{safe(words)}</text>'


def ticks(most: float, about: int = 5) -> Sequence[float]:
    """Round numbers from 0 to beyond `most`."""
    raw = max(most, 1e-9) / about
    power = 10.0 ** floor(log10(raw))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= raw * 0.999)
    count = int(most / step) + 1
    return [step * number for number in range(count + 1)]


def _tip(words: str) -> str:
    return f"<title>{safe(words)}</title>" if words else ""
