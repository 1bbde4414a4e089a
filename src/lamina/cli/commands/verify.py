"""`lamina verify`."""

from __future__ import annotations

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


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@click.option("--format", "form", default="", metavar="table|json|TEMPLATE",
              help="The problems as a table, JSON lines, or by a Go template.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], form: str) -> None:
    """Read everything back, check frames, chunk ids and digests, and name every image that damage touches."""
    with display(quiet=not sys.stderr.isatty()) as progress:
        result = store.verify(names, progress=progress)
    if form:
        found = ({"What": one.what, "Where": one.where, "Images": list(one.images)} for one in result.problems)
        write_rows(found, form, '{{.What}}\t{{.Where}}\t{{join .Images ", "}}', FIELDS)
    else:
        for one in result.problems:
            touched = ", ".join(one.images) or "no image"
            click.echo(plain(f"{one.what}, {one.where}, affects {touched}"))
    note(f"read {human_size(result.bytes_read)}, {result.blobs} blobs, {len(result.problems) or 'no'} "
         f"problem{'' if len(result.problems) == 1 else 's'}")
    if result.problems:
        raise click.exceptions.Exit(1)
