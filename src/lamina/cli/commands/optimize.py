"""`lamina optimize`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.formats import write_rows
from lamina.cli.progress import display
from lamina.cli.say import note, warning
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.store.optimize import Optimized

_SECONDS = {"s": 1, "m": 60, "h": 3600}


class _Time(click.ParamType[float]):
    """`90s`, `10m`, `1.5h`, in seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", str(value), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is no time like 90s, 10m or 1h", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


@click.command("optimize")
@click.option("--level", type=click.IntRange(1, 22), default=9, show_default=True, help="The level of zstd.")
@click.option("--budget", type=_Time(), metavar="TIME", help="Begin nothing more after 90s, 10m or 1h.")
@click.option("--memory", type=click.IntRange(min=64), default=300, show_default=True, metavar="MIB",
              help="From 512 and from 1024 on larger frames: smaller, and slower to read in parts.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON, or a Go template.")
@with_store
def command(store: ImageStore, level: int, budget: float | None, memory: int, quiet: bool, form: str) -> None:
    """Store what is in use anew, smaller, beside readers and writers.

    May be ended at any time; what is done stays.  What was done before is not done again, but for a higher level.
    """
    with display(quiet=quiet or not sys.stderr.isatty()) as progress:
        done = store.optimize(level=level, budget=budget, memory=memory, progress=progress)
    if form:
        _write(done, form)
    else:
        _tell(done)
    for problem in done.problems:
        warning(problem)
    if done.problems:
        raise click.exceptions.Exit(1)


def _tell(done: Optimized) -> None:
    share = f" ({done.after / done.before:.0%})" if done.before else ""
    click.echo(f"{human_size(done.before)} before, {human_size(done.after)} after{share}, {human_size(done.dead)} of dead "
               f"chunks left behind, {done.packs} packs in {done.seconds:.1f} s")
    if done.left:
        note(f"{human_size(done.left)} of packs are left to do: run it again")
    if done.pending:
        note(f"{human_size(done.pending)} more go from the disk when those who read now have ended")


def _write(done: Optimized, form: str) -> None:
    row = {"Before": done.before, "After": done.after, "Dead": done.dead, "Packs": done.packs, "Left": done.left,
           "Pending": done.pending, "Seconds": round(done.seconds, 3)}
    heading = {"Before": "BEFORE", "After": "AFTER", "Dead": "DEAD", "Packs": "PACKS", "Left": "LEFT", "Pending": "PENDING",
               "Seconds": "SECONDS"}
    write_rows([row], form, "\t".join(f"{{{{.{name}}}}}" for name in row), heading)
