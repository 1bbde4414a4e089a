"""Speed against space: one point for each setting and each peer."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.bench.report.svg import circle, line, picture, text, ticks
from lamina.bench.report.text import percent, speed, table
from lamina.bench.result import Contender

_LEFT, _RIGHT = 11.0, 97.0  # per cent
_TOP, _BOTTOM, _HEIGHT = 22, 300, 344  # pixels
_LINE = 17  # pixels between two labels


def scatter(name: str, contenders: Sequence[Contender], total: int) -> str:
    """To the right is fast, below is small."""
    points = [(one, speed(total, one.figures["in"].seconds.median), one.stored / max(total, 1)) for one in contenders]
    across = ticks(max(x for _, x, _ in points))
    down = ticks(max(y for *_, y in points) * 100)
    parts = _axes(across, down)
    taken: list[tuple[float, float]] = []
    for one, fast, space in sorted(points, key=lambda point: point[2]):
        sample = one.figures["in"].seconds
        x, y = _x(fast, across), _y(space * 100, down)
        tip = f"{one.name}: {fast:,.0f} MB/s in, {percent(space)} of the archives' bytes on disk"
        if sample.spread:
            slow, quick = speed(total, sample.most), speed(total, sample.least)
            parts.append(line(_x(slow, across), y, min(_x(quick, across), 100), y, "range"))
        parts.append(circle(x, y, 6.5, "in" if one.setting else "peer", tip))
        left = x > 62
        at = _free(x, y + 4, taken)
        parts.append(text(x, at, one.name, "label", "end" if left else "start", dx=-12 if left else 12))
    columns = ("Who", "MB/s in", "On disk, share of the archives")
    cells = ((one.name, f"{fast:,.0f}", percent(space)) for one, fast, space in points)
    return picture(name, "Speed against space", _HEIGHT, parts) + table(columns, cells, "Speed against space")


def _axes(across: Sequence[float], down: Sequence[float]) -> list[str]:
    parts = [text(0, 12, "on disk, % of the archives", "value"), text(_RIGHT, _HEIGHT - 4, "MB/s in →", "value", "end"),
             text(_RIGHT, _BOTTOM - 8, "better ↘", "faint", "end")]
    for tick in down:
        y = _y(tick, down)
        parts += [line(_LEFT, y, _RIGHT, y, "grid"), text(_LEFT, y + 4, f"{tick:g}", "value", "end", dx=-6)]
    for tick in across:
        x = _x(tick, across)
        parts += [line(x, _TOP, x, _BOTTOM, "grid"), text(x, _BOTTOM + 18, f"{tick:g}", "value", "middle")]
    return parts


def _x(value: float, marks: Sequence[float]) -> float:
    return _LEFT + (_RIGHT - _LEFT) * value / marks[-1]


def _y(value: float, marks: Sequence[float]) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / marks[-1]


def _free(x: float, y: float, taken: list[tuple[float, float]]) -> float:
    """A base line for a label near y that no other label has."""
    at = y
    for step in range(2 * len(taken) + 1):
        at = y + (step + 1) // 2 * (_LINE if step % 2 else -_LINE)
        if all(abs(at - other) >= _LINE or abs(x - where) > 45 for where, other in taken) and _TOP < at < _BOTTOM:
            break
    taken.append((x, at))
    return at
