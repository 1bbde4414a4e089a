"""The page, part by part.  It is well-formed XML, too, so that any parser can check it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap

from lamina.bench.report import bars
from lamina.bench.report.heat import MOST_IMAGES, heat
from lamina.bench.report.scatter import scatter
from lamina.bench.report.style import CSS
from lamina.bench.report.text import percent, safe, seconds, size, speed
from lamina.bench.result import Result

# Nothing may be fetched or run, whatever an archive's names try.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(result: Result) -> str:
    """The whole file."""
    body = "\n".join(part for part in _parts(result) if part)
    return (f'<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head><meta charset="utf-8"/>'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
            '<meta name="color-scheme" content="light dark"/>'
            f"<title>lamina bench: {safe(size(result.bytes))}</title><style>{CSS}</style></head>\n<body><main>\n{body}\n"
            "</main></body></html>\n")


def _parts(result: Result) -> Iterator[str]:
    yield _head(result)
    yield _tiles(result)
    yield _warnings(result)
    yield _stages(result)
    yield _contenders(result)
    yield _layers(result)
    yield _shared(result)
    yield _machine(result)


def _head(result: Result) -> str:
    names = ", ".join(safe(one.name) for one in result.inputs[:6]) + (" …" if len(result.inputs) > 6 else "")
    runs = f"{result.runs} run{'' if result.runs == 1 else 's'}, medians"
    return f'<h1>lamina bench</h1>\n<p class="lead">{names} · {safe(size(result.bytes))} · {runs}</p>'


def _tiles(result: Result) -> str:
    base = result.contenders[0]
    figures = base.figures
    stored = base.stored / max(result.bytes, 1)
    medians = {name: figure.seconds.median for name, figure in figures.items()}
    tiles = [*((f"{speed(result.bytes, medians[name]):,.0f} MB/s", f"{name}, {seconds(medians[name])}")
               for name in ("in", "out")),
             (seconds(medians["again"]), "the same once more"),
             (percent(stored), f"on disk, {size(base.stored)}")]
    inside = "".join(f'<div class="tile"><b>{safe(value)}</b><span>{safe(words)}</span></div>' for value, words in tiles)
    return f'<div class="tiles">{inside}</div>'


def _warnings(result: Result) -> str:
    told = [*result.warnings, *(f"{name} was not measured: {reason}" for name, reason in (*result.skipped, *result.failed))]
    return f'<ul class="warnings">{"".join(f"<li>{safe(one)}</li>" for one in told)}</ul>' if told else ""


def _stages(result: Result) -> str:
    way_in = _column("In", bars.stages("chart-stages-in", result.stages_in, "Stages of the way in"))
    way_out = ""
    if result.stages_out:
        way_out = _column("Out", bars.stages("chart-stages-out", result.stages_out, "Stages of the way out"))
    note = ("Processor seconds a GB, stage by stage. Stages overlap on several cores, so that their sum is more than the time "
            "that passes.")
    return _section("Where the time goes", note, f'<div class="two">{way_in}{way_out}</div>')


def _contenders(result: Result) -> str:
    base = safe(result.contenders[0].name)
    way_in = _column("In", bars.times("chart-times-in", result.contenders, "in", "Time to take everything in"))
    way_out = _column("Out", bars.times("chart-times-out", result.contenders, "out", "Time to give everything back"))
    keys = '<p class="note keys"><span><i class="key in"></i>Lamina</span><span><i class="key peer"></i>others</span></p>'
    point = scatter("chart-scatter", result.contenders, result.bytes)
    note = (f"Whole commands, with their start. × is the time against {base}, run by run; ≈ means that the difference is "
            "smaller than the spread of the runs (the thin line). Lamina, restic and borg have synced all to disk when "
            "they end; the others have not.")
    there = ("One point for each setting and each program: to the right is faster, below is smaller. Lines are the spread of "
             "the runs.")
    return (_section("Who takes how long", note, keys + f'<div class="two">{way_in}{way_out}</div>')
            + _section("Speed against space", there, keys + point))


def _layers(result: Result) -> str:
    if not result.layers:
        return ""
    more = len(result.layers) - bars.MOST
    rest = f" The {bars.MOST} largest of {len(result.layers)}." if more > 0 else ""
    keys = '<p class="note keys"><span><i class="key in"></i>in</span><span><i class="key out"></i>out</span></p>'
    return _section("Layer by layer", f"In: side by side with other layers. Out: alone, read back and checked.{rest}",
                    keys + bars.layers("chart-layers", result.layers))


def _shared(result: Result) -> str:
    dedup = result.dedup
    if dedup is None or not dedup.layers:
        return ""
    more = f" The first {MOST_IMAGES} of {len(dedup.images)} images." if len(dedup.images) > MOST_IMAGES else ""
    note = ("For each layer (rows) the share in per cent of its bytes that each image (columns) has in its other layers; a dot "
            f"where the image has this very layer.{more}")
    return _section("What is shared", note, heat("chart-dedup", dedup))


def _machine(result: Result) -> str:
    facts = result.machine
    cpu, disk = facts["cpu"], facts["disk"]
    kind = {True: "rotational", False: "solid state", None: ""}[disk["rotational"]]
    rows = {
        "Processor": f"{cpu['model']}, {cpu['cores']} cores{', virtual' if cpu['virtual'] else ''}",
        "Features": " ".join(cpu["features"]) or "none",
        "Kernels take": ", ".join(starmap("{} {}".format, cpu["selected"].items())),
        "Memory": size(facts["memory_bytes"]),
        "System": f"{facts['kernel']}, {facts['system']}",
        "Disk": " ".join(part for part in (disk["file_system"], f"on {disk['device']}" if disk["device"] else "", disk["model"],
                                           f"({kind}, as it says)" if kind else "") if part),
        "Load before": f"{facts['load_average']:.2f}",
        "Versions": ", ".join(starmap("{} {}".format, result.versions.items())),
        "Measured": ", ".join(f"{one.name} ({one.format}, {size(one.bytes)})" for one in result.inputs[:20]),
    }
    inside = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in rows.items())
    return _section("The machine", "", f"<dl>{inside}</dl>")


def _section(title: str, note: str, inside: str) -> str:
    told = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{safe(title)}</h2>{told}{inside}</section>"


def _column(title: str, inside: str) -> str:
    return f"<div><h3 class=\"note\">{safe(title)}</h3>{inside}</div>"
