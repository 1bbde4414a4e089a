"""Speed against space: one point for each setting and each peer."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.bench.report.svg import circle, line, picture, text, ticks
from lamina.bench.report.text import percent, speed, table
from lamina.bench.result import Contender

_LEFT, _RIGHT = 11.0, 97.0  # per cent
_TOP, _BOTTOM, _HEIGHT = 30, 320, 364  # pixels
_LINE = 15  # pixels that a label takes
_LETTER = 2.2  # per cent of the width that a letter takes on a telephone

Box = tuple[float, float, float, float]  # left and right in per cent, top and bottom in pixels


def scatter(name: str, contenders: Sequence[Contender], total: int) -> str:
    """To the right is fast, below is small."""
    points = [(one, speed(total, one.figures["in"].seconds.median), one.stored / max(total, 1)) for one in contenders]
    across = ticks(max(speed(total, one.figures["in"].seconds.least) for one in contenders))
    down = ticks(max(y for *_, y in points) * 100)
    parts = _axes(across, down)
    taken: list[Box] = [(x - 2, x + 2, y - 7, y + 7)
                        for x, y in ((_x(fast, across), _y(space * 100, down)) for _, fast, space in points)]
    for one, fast, space in points:
        sample = one.figures["in"].seconds
        x, y = _x(fast, across), _y(space * 100, down)
        tip = f"{one.name}: {fast:,.0f} MB/s in, {percent(space)} of the archives' bytes on disk"
        if sample.spread:
            slow, quick = speed(total, sample.most), speed(total, sample.least)
            parts.append(line(_x(slow, across), y, _x(quick, across), y, "range"))
        parts.append(circle(x, y, 6.5, "in" if one.setting else "peer", tip))
        at, anchor = _free(x, y, len(one.name) * _LETTER, taken)
        if not -_LINE < at - y < 2 * _LINE:  # far from its point
            parts.append(line(x, y, x, at + (4 if at < y else -12), "lead"))
        parts.append(text(x, at, one.name, "label", anchor))
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


def _free(x: float, y: float, width: float, taken: list[Box]) -> tuple[float, str]:
    """Base line and anchor of a label near a point, above or below it, where there is no other and no point."""
    best: tuple[float, str, Box] | None = None
    for step in range(5):
        for at in (y - 11 - step * _LINE, y + 21 + step * _LINE):
            for anchor, left in (("start", x), ("end", x - width)):
                box = (left, left + width, at - _LINE + 3, at + 3)
                if left < 0 or left + width > 100 or not _TOP - 12 < at < _BOTTOM:
                    continue
                best = best or (at, anchor, box)
                if not any(_meet(box, other) for other in taken):
                    taken.append(box)
                    return at, anchor
    at, anchor, box = best or (y - 11, "start", (x, x, y, y))
    taken.append(box)
    return at, anchor


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
