"""`lamina verify`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.formats import write_rows
from lamina.cli.progress import display
from lamina.cli.say import note, plain
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore

FIELDS = {"What": "PROBLEM", "Where": "WHERE", "Images": "IMAGES"}


class _Share(click.ParamType[float]):
    """`5%`, as a share."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)%", str(value), re.ASCII)
        if match is None or not 0 < float(match[1]) <= 100:
            self.fail(f"{value!r} is no share like 5% or 0.5%", param, ctx)
        return float(match[1]) / 100


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@click.option("--sample", type=_Share(), metavar="PERCENT",
              help="Read only so much of the contents, chosen at random; all footers, recipes and names are checked.")
@click.option("--seed", type=click.IntRange(min=0), metavar="NUMBER", help="Choose the same sample again.")
@click.option("--since", default="", metavar="TIME",
              help="Read only what was written after a time, in the last 7d or 12h, or after the last whole run (last).")
@click.option("--stored", is_flag=True,
              help="Hold the bytes on disk against their checksums only: finds every flipped bit, decompresses nothing.")
@click.option("--rehash", is_flag=True,
              help="Hash all blobs again, also those that an earlier run has proved to follow from their chunks; for a store "
                   "from elsewhere, whose proofs are not yours.")
@click.option("--resume", is_flag=True, help="Go on with the run that was interrupted.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--format", "form", default="", metavar="table|json|TEMPLATE",
              help="The problems as a table, JSON lines, or by a Go template.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], sample: float | None, seed: int | None, since: str, stored: bool,
            rehash: bool, resume: bool, quiet: bool, form: str) -> None:
    """Check every frame, every chunk, and the digests that no run has proved yet; name every image that damage touches."""
    try:
        with display(quiet=quiet or not sys.stderr.isatty()) as progress:
            result = store.verify(names, progress=progress, sample=sample, since=since, seed=seed, resume=resume,
                                  stored=stored, rehash=rehash)
    except KeyboardInterrupt:
        if not names:
            note("go on with lamina verify --resume")
        raise
    if form:
        found = ({"What": one.what, "Where": one.where, "Images": list(one.images)} for one in result.problems)
        write_rows(found, form, '{{.What}}\t{{.Where}}\t{{join .Images ", "}}', FIELDS)
    else:
        for one in result.problems:
            touched = ", ".join(one.images) or "no image"
            click.echo(plain(f"{one.what}, {one.where}, affects {touched}"))
    for text in result.notes:
        note(text)
    if result.seed is not None:
        note(f"the sample has {human_size(result.stored)} of the packs; it was chosen with --seed {result.seed}")
    read = f"{human_size(result.stored)} of packs" if stored else f"{human_size(result.bytes_read)}, {result.blobs} blobs"
    note(f"read {read}, {len(result.problems) or 'no'} problem{'' if len(result.problems) == 1 else 's'}")
    if result.problems:
        raise click.exceptions.Exit(1)
