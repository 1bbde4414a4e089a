"""Pictures that fit any width: across in per cent, down in pixels, so that text keeps its size on a telephone.

No `style` attribute: the page's policy would refuse it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

from lamina.registry.server.page.words import safe


def picture(name: str, label: str, height: float, parts: Iterable[str], *, role: str = "img") -> str:
    """A picture with an id; `label` tells those who cannot see it what it shows."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" role="{role}" aria-label="{safe(label)}" width="100%" '
            f'height="{height:g}">{"".join(parts)}</svg>')


def rect(x: float, y: float, width: float, height: float, kind: str, *, round_: float = 0, tip: str = "") -> str:
    """x and width in per cent."""
    return (f'<rect class="{kind}" x="{x:.3f}%" y="{y:g}" width="{max(width, 0):.3f}%" height="{height:g}" '
            f'rx="{round_:g}">{_tip(tip)}</rect>')


def line(x: float, y: float, x2: float, y2: float, kind: str) -> str:
    """x in per cent."""
    return f'<line class="{kind}" x1="{x:.3f}%" y1="{y:g}" x2="{x2:.3f}%" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start", dx: float = 0) -> str:
    """x in per cent, `dx` pixels to the right of it; y is the base line."""
    return f'<text class="{kind}" x="{x:.3f}%" y="{y:g}" dx="{dx:g}" text-anchor="{anchor}">{safe(words, 80)}</text>'


def curves(left: str, y: float, height: float, lines: Iterable[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """(kind, points) as lines with their area in a box of 1000 by 1000 that is stretched; kinds are classes."""
    drawn = []
    for kind, points in lines:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if points:
            drawn.append(f'<polygon class="area {kind}" points="{points[0][0]:.1f},1000 {path} {points[-1][0]:.1f},1000"/>'
                         f'<polyline class="curve {kind}" points="{path}"/>')
    return (f'<svg x="{left}" y="{y:g}" width="100%" height="{height:g}" viewBox="0 0 1000 1000" preserveAspectRatio="none" '
            f'overflow="visible">{"".join(drawn)}</svg>')


def ticks(most: float, about: int = 4) -> Sequence[float]:
    """Round numbers from 0 to `most` or just beyond."""
    raw = max(most, 1e-9) / about
    power = 10.0 ** floor(log10(raw))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= raw * 0.999)
    count = int(most / step - 1e-9) + 1
    return [step * number for number in range(count + 1)]


def _tip(words: str) -> str:
    return f"<title>{safe(words)}</title>" if words else ""
