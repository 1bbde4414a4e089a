"""`lamina backup`."""

from __future__ import annotations

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
    from lamina.store.backup import BackedUp


@click.command("backup")
@click.argument("directory", metavar="DIR", type=click.Path(readable=False))
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON, or a Go template.")
@with_store
def command(store: ImageStore, directory: str, quiet: bool, form: str) -> None:
    """Copy the store into DIR, beside readers and writers: what DIR has of before is not copied again.

    DIR is a store, too, with the same images: `lamina --store DIR verify`.  A backup that does not end leaves DIR as it
    was; the next one goes on from there.
    """
    with display(quiet=quiet or not sys.stderr.isatty()) as progress:
        done = store.backup(directory, progress=progress)
    if form:
        _write(done, form)
    else:
        _tell(done)
    for problem in done.problems:
        warning(problem)
    if done.problems:
        note("the copy stays at its last whole view: run lamina repair, then this again")
        raise click.exceptions.Exit(1)


def _tell(done: BackedUp) -> None:
    rate = f", {human_size(done.bytes_copied / done.seconds)}/s" if done.bytes_copied and done.seconds else ""
    click.echo(f"{done.packs_copied} packs ({human_size(done.bytes_copied)}) copied, {done.packs_removed} packs "
               f"({human_size(done.bytes_removed)}) removed, {done.packs} packs ({human_size(done.bytes)}) in all, "
               f"{done.seconds:.1f} s{rate}")


def _write(done: BackedUp, form: str) -> None:
    row = {"PacksCopied": done.packs_copied, "BytesCopied": done.bytes_copied, "PacksRemoved": done.packs_removed,
           "BytesRemoved": done.bytes_removed, "Packs": done.packs, "Bytes": done.bytes, "Whole": done.whole,
           "Seconds": round(done.seconds, 3)}
    heading = {"PacksCopied": "PACKS COPIED", "BytesCopied": "BYTES COPIED", "PacksRemoved": "PACKS REMOVED",
               "BytesRemoved": "BYTES REMOVED", "Packs": "PACKS", "Bytes": "BYTES", "Whole": "WHOLE", "Seconds": "SECONDS"}
    write_rows([row], form, "\t".join(f"{{{{.{name}}}}}" for name in row), heading)
