"""Bars: what each stage costs, how fast each layer goes, how long each contender takes."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.bench.report.svg import line, picture, rect, text
from lamina.bench.report.text import percent, seconds, short, size, speed, table
from lamina.bench.result import Contender, LayerRow, StageRow

MOST = 40  # layers
_ROW, _PAIR = 38, 50  # pixels of a row: of one bar, of two


def stages(name: str, rows: Sequence[StageRow], title: str) -> str:
    """One bar a stage, as long as its processor seconds a GB."""
    most = max((row.per_gb for row in rows), default=0) or 1
    parts = []
    for number, row in enumerate(rows):
        y = number * _ROW
        tip = (f"{row.name}: {row.per_gb:.2f} processor seconds a GB, {percent(row.share)} of all; "
               f"{seconds(row.cpu)} of processor, {seconds(row.wall)} of wall time, {size(row.bytes)}")
        parts += [text(0, y + 13, row.name, "name"),
                  text(100, y + 13, f"{row.per_gb:.2f} s/GB · {percent(row.share)}", "value", "end"),
                  rect(0, y + 19, 100, 10, "track", round_=5),
                  rect(0, y + 19, 100 * row.per_gb / most, 10, "in", round_=5, tip=tip)]
    columns = ("Stage", "CPU s/GB", "Share", "CPU s", "Wall s", "Bytes")
    cells = ((row.name, f"{row.per_gb:.3f}", percent(row.share), f"{row.cpu:.3f}", f"{row.wall:.3f}", size(row.bytes))
             for row in rows)
    return picture(name, title, len(rows) * _ROW, parts) + table(columns, cells, title)


def layers(name: str, rows: Sequence[LayerRow]) -> str:
    """Two bars a layer, in and out; the largest layers."""
    shown = sorted(rows, key=lambda row: -row.bytes)[:MOST]
    most = max((max(_in(row), _out(row)) for row in shown), default=0) or 1
    parts = []
    for number, row in enumerate(shown):
        y = number * _PAIR
        digest = short(row.digest)
        parts += [text(0, y + 13, digest, "name code"), text(0, y + 13, size(row.bytes), "value", dx=100),
                  text(100, y + 13, f"{_in(row):,.0f} in · {_out(row):,.0f} out MB/s", "value", "end"),
                  rect(0, y + 19, 100 * _in(row) / most, 9, "in", round_=4, tip=_told(row)),
                  rect(0, y + 30, 100 * _out(row) / most, 9, "out", round_=4,
                       tip=f"{digest} out: {_out(row):,.0f} MB/s, {seconds(row.out_seconds)}, alone, read and checked")]
    columns = ("Layer", "Bytes", "New", "Files", "In MB/s", "Out MB/s", "Stages by processor time")
    cells = ((row.digest, size(row.bytes), percent(row.new / max(row.bytes, 1)), row.entries, f"{_in(row):,.0f}",
              f"{_out(row):,.0f}", _costs(row)) for row in shown)
    title = "Speed of each layer, in and out"
    return picture(name, title, len(shown) * _PAIR, parts) + table(columns, cells, title)


def times(name: str, contenders: Sequence[Contender], figure: str, title: str) -> str:
    """One bar a contender, as long as its median, with a whisker from the least to the most."""
    rows = [(one, one.figures[figure]) for one in contenders if figure in one.figures]
    most = max((found.seconds.most for _, found in rows), default=0) or 1
    parts, cells = [], []
    for number, (one, found) in enumerate(rows):
        y, sample = number * _ROW, found.seconds
        who = one.name if one.setting else f"{one.name} {one.version}"
        what = one.what_in if figure == "in" else one.what_out
        ratio = found.ratio
        against = f" · {ratio.median:.2f}×" if ratio else ""
        mark = {"same": " ≈", "once": " ?"}.get(ratio.verdict, "") if ratio else ""
        parts += [text(0, y + 13, who, "name"), text(100, y + 13, seconds(sample.median) + against + mark, "value", "end"),
                  rect(0, y + 19, 100, 10, "track", round_=5),
                  rect(0, y + 19, 100 * sample.median / most, 10, "in" if one.setting else "peer", round_=5,
                       tip=f"{who}, {what}: {seconds(sample.median)}, from {seconds(sample.least)} to {seconds(sample.most)}")]
        if sample.spread:
            parts.append(line(100 * sample.least / most, y + 24, 100 * sample.most / most, y + 24, "whisker"))
        cells.append((who, what, f"{sample.median:.2f}", f"{sample.least:.2f}–{sample.most:.2f}",
                      f"{ratio.median:.2f} ({ratio.least:.2f}–{ratio.most:.2f})" if ratio else "1",
                      ratio.verdict if ratio else "", size(one.stored)))
    columns = ("Who", "What", "Seconds", "Range", "Times as long", "Verdict", "On disk")
    return picture(name, title, len(rows) * _ROW, parts) + table(columns, cells, title)


def _told(row: LayerRow) -> str:
    return (f"{short(row.digest)} in: {_in(row):,.0f} MB/s, {seconds(row.seconds)}; {row.entries} files, "
            f"{percent(row.new / max(row.bytes, 1))} new; {_costs(row)}")


def _costs(row: LayerRow) -> str:
    return ", ".join(f"{stage.name} {percent(stage.share)}" for stage in sorted(row.stages, key=lambda stage: -stage.cpu))


def _in(row: LayerRow) -> float:
    return speed(row.bytes, row.seconds) if row.seconds else 0.0


def _out(row: LayerRow) -> float:
    return speed(row.bytes, row.out_seconds) if row.out_seconds else 0.0
