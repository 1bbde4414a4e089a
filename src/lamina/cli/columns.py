"""Columns by the rules of Go's text/tabwriter, with which docker aligns its tables.

A cell ends with a tab; what follows the last tab of a line is in no column.  A column is a run of neighbouring lines that
have a cell there; it is as wide as its widest cell and the padding, and never narrower than the minimum.
"""

from __future__ import annotations

from collections.abc import Sequence

MINIMUM, PADDING = 10, 3  # docker 20.10: tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)


def align(text: str) -> str:
    """The lines of `text`, their tab-terminated cells filled up with spaces."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _fill(lines, widths, 0, len(lines), 0)
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(cells, wide, strict=False)) + cells[-1]
        for cells, wide in zip(lines, widths, strict=True)
    )


def grid(rows: Sequence[Sequence[str]], right: str) -> str:
    """Lines of columns two spaces apart; `right` has an `r` for each column that is flush right, an `l` for others."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.rjust(width) if side == "r" else cell.ljust(width)
                  for cell, width, side in zip(row, widths, right, strict=True)).rstrip() + "\n"
        for row in rows
    )


def _fill(lines: Sequence[list[str]], widths: list[list[int]], start: int, end: int, column: int) -> None:
    """Set the widths of this column's blocks between the two lines, then of the columns inside each block."""
    line = start
    while line < end:
        if len(lines[line]) - 1 <= column:
            line += 1
            continue
        stop = line
        while stop < end and len(lines[stop]) - 1 > column:
            stop += 1
        widest = max(len(lines[row][column]) for row in range(line, stop))
        width = max(MINIMUM, widest + PADDING)
        for row in range(line, stop):
            widths[row].append(width)
        _fill(lines, widths, line, stop, column + 1)
        line = stop
