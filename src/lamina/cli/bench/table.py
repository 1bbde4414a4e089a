"""The tables of a bench: the machine, the stages, the layers, what is shared, and who is how fast."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import TYPE_CHECKING

from lamina.cli.columns import grid
from lamina.cli.say import plain
from lamina.cli.units import human_size, rate

if TYPE_CHECKING:
    from lamina.bench.result import Contender, Figure, LayerRow, Result, StageRow
    from lamina.bench.spread import Ratio

_BAR = 20        # characters of a whole bar
_LAYERS = 40     # rows of layers
_IMAGES = 8      # columns of images
_WHAT = {"in": "in", "again": "in again", "out": "out"}


def lines(result: Result) -> Iterator[str]:
    """All of it, line by line, nothing hostile in it."""
    parts = [_about(result), _in(result), _out(result), _layers(result),
             _shared(result), _compared(result)]
    for part in parts:
        if part:
            yield from (plain(line) for line in part.rstrip("\n").split("\n"))
            yield ""


def _about(result: Result) -> str:
    facts, versions = result.machine, result.versions
    cpu, disk = facts["cpu"], facts["disk"]
    where = f" on {disk['device']}" if disk["device"] else ""
    virtual = " (virtual)" if cpu["virtual"] else ""
    cores, memory = _count(cpu["cores"], "core"), human_size(facts["memory_bytes"], 3)
    rows = [f"Machine: {cpu['model']}, {cores}{virtual}, {memory} of memory, {facts['kernel']}, "
            f"{disk['file_system'] or 'unknown disk'}{where}",
            f"Features: {' '.join(cpu['features']) or 'none'}; taken: "
            + ", ".join(starmap("{} {}".format, cpu["selected"].items())),
            "Versions: " + ", ".join(starmap("{} {}".format, versions.items())),
            f"Measured: {human_size(result.bytes)} in {_count(len(result.inputs), 'archive')}, {_count(result.runs, 'run')}, "
            "medians"]
    rows += (f"  {one.name}  {human_size(one.bytes)}  {one.format}" for one in result.inputs)
    return "\n".join(rows)


def _stages(title: str, rows: Sequence[StageRow], total: int, more: str = "") -> str:
    if not rows:
        return ""
    cpu = sum(row.cpu for row in rows)
    table = [("STAGE", "CPU s", "WALL s", "BYTES", "CPU s/GB", "SHARE", "")]
    table += ((row.name, f"{row.cpu:.2f}", f"{row.wall:.2f}", human_size(row.bytes), f"{row.per_gb:.2f}", f"{row.share:.0%}",
               _bar(row.share)) for row in rows)
    size = human_size(total)
    head = f"{title}, stage by stage ({cpu:.2f} s of processor time for {size} of distinct layers{more})\n"
    return head + grid(table, "lrrrrrl")


def _in(result: Result) -> str:
    whole = result.contenders[0].figures["in"].cpu
    more = f"; the whole command takes {whole.median:.2f} s, with its start" if whole else ""
    return _stages("Into the store", result.stages_in, result.read, more)


def _out(result: Result) -> str:
    total = sum(layer.bytes for layer in result.layers)
    return _stages("Out again", result.stages_out, total)


def _layers(result: Result) -> str:
    if not result.layers:
        return ""
    shown = sorted(result.layers, key=lambda row: -row.bytes)[:_LAYERS]
    table: list[tuple[str, ...]] = [("LAYER", "BYTES", "NEW", "FILES", "IN", "OUT", "MOST TIME IN")]
    table += (_layer(row) for row in shown)
    rest = len(result.layers) - len(shown)
    more = f"and {_count(rest, 'smaller layer')}\n" if rest else ""
    return "Layer by layer (in: side by side with others; out: alone, read and checked)\n" + grid(table, "lrrrrrl") + more


def _layer(row: LayerRow) -> tuple[str, ...]:
    slowest = sorted(row.stages, key=lambda stage: -stage.cpu)[:2]
    return (row.digest.partition(":")[2][:12], human_size(row.bytes), f"{row.new / max(row.bytes, 1):.0%}", f"{row.entries}",
            rate(row.bytes, row.seconds), rate(row.bytes, row.out_seconds) if row.out_seconds else "-",
            ", ".join(f"{stage.name} {stage.share:.0%}" for stage in slowest))


def _shared(result: Result) -> str:
    dedup = result.dedup
    if dedup is None or not dedup.layers or len(dedup.images) < 2:
        return ""
    images = dedup.images[:_IMAGES]
    table = [("LAYER", *(str(number) for number, _ in enumerate(images, 1)))]
    for digest, whole, row in zip(dedup.layers, dedup.whole, dedup.cells, strict=True):
        cells = ("layer" if digest in image.layers else f"{count / max(whole, 1):.0%}"
                 for image, count in zip(images, row, strict=False))
        table.append((digest.partition(":")[2][:12], *cells))
    named = "".join(f"  {number}  {image.name}\n" for number, image in enumerate(images, 1))
    more = f"and {_count(len(dedup.images) - _IMAGES, 'image')} more, in the report\n" if len(dedup.images) > _IMAGES else ""
    return ("How much of each layer each image has already, in other layers (`layer`: it has this one)\n"
            + grid(table, "l" + "r" * len(images)) + named + more)


def _compared(result: Result) -> str:
    table: list[tuple[str, ...]] = [("WHO", "WHAT", "SECONDS", "RANGE", "SPEED", "ON DISK", "TIMES AS LONG", "")]
    for name in ("in", "again", "out"):
        if name != "in":
            table.append(("",) * len(table[0]))
        for one in result.contenders:
            if name in one.figures:
                table.append(_contender(one, name, one.figures[name], result.bytes))
    base = result.contenders[0].name
    return (f"Who takes how long (whole commands; `times as long` as {base}, run by run; "
            "≈: the difference is smaller than the spread)\n" + grid(table, "llrlrrll"))


def _contender(one: Contender, name: str, figure: Figure, total: int) -> tuple[str, ...]:
    seconds = figure.seconds
    what = _WHAT[name] if one.setting else one.what_in if name == "in" else one.what_out
    who = one.name if one.setting else f"{one.name} {one.version}"
    stored = human_size(one.stored) if name == "in" else ""
    return (who, what, f"{seconds.median:.2f}", f"{seconds.least:.2f}–{seconds.most:.2f}", rate(total, seconds.median), stored,
            *_ratio(figure.ratio))


def _ratio(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None:
        return "1", ""
    sign = {"same": "≈", "once": "?"}.get(ratio.verdict, "")
    return f"{ratio.median:.2f} ({ratio.least:.2f}–{ratio.most:.2f})", sign or ratio.verdict


def _bar(share: float) -> str:
    full = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    return full * round(share * _BAR)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
