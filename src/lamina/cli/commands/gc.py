"""`lamina gc`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.formats import write_rows
from lamina.cli.progress import display
from lamina.cli.say import warning
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("gc")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON, or a Go template.")
@with_store
def command(store: ImageStore, form: str) -> None:
    """Free what no image refers to, beside readers and writers."""
    with display(quiet=not sys.stderr.isatty()) as progress:
        done = store.gc(progress=progress)
    if form:
        row = {"PacksRemoved": done.packs_removed, "BytesFreed": done.bytes_freed, "BytesCopied": done.bytes_copied}
        write_rows([row], form, "{{.PacksRemoved}}\t{{.BytesFreed}}\t{{.BytesCopied}}",
                   {"PacksRemoved": "PACKS REMOVED", "BytesFreed": "FREED", "BytesCopied": "COPIED"})
        return
    click.echo(f"Total reclaimed space: {human_size(done.bytes_freed)} ({done.packs_removed} packs removed, "
               f"{human_size(done.bytes_copied)} of live frames copied)")
    if done.pending:
        click.echo(f"{human_size(done.pending)} more when those who read now have ended", err=True)
    for problem in done.problems:
        warning(problem)
    if done.problems:
        raise click.exceptions.Exit(1)
