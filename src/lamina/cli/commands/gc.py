"""`lamina gc`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.commands.rmi import show_events
from lamina.cli.formats import write_rows
from lamina.cli.progress import display
from lamina.cli.say import warning
from lamina.cli.settings import with_store
from lamina.cli.sizes import Size, Unused
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.budget import Shrunk
    from lamina.store.collect import Collected

HEADING = {"PacksRemoved": "PACKS REMOVED", "BytesFreed": "FREED", "BytesCopied": "COPIED", "UnusedFreed": "UNUSED FREED",
           "Size": "SIZE", "Events": "EVENTS"}


@click.command("gc")
@click.option("--max-unused", type=Unused(), metavar="PERCENT|BYTES",
              help="How much that nothing refers to may be left: a part of each pack, or bytes of all (5%; 0 frees it all).")
@click.option("--max-size", type=Size(), metavar="BYTES",
              help="Let go of the images used the longest ago, but for pinned ones, until the store is no larger (200GB).")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON, or a Go template.")
@with_store
def command(store: ImageStore, max_unused: tuple[float, int | None] | None, max_size: int | None, dry_run: bool, quiet: bool,
            form: str) -> None:
    """Free what no image refers to, beside readers and writers."""
    if max_size is not None and max_unused is not None:
        raise click.UsageError("--max-size frees all that is unused: it goes without --max-unused")
    with display(quiet=quiet or not sys.stderr.isatty()) as progress:
        if max_size is not None:
            shrunk = store.shrink(max_size, dry_run=dry_run, progress=progress)
        else:
            part, count = max_unused or (0.05, None)
            done = store.gc(max_unused=part, max_unused_bytes=count, dry_run=dry_run, progress=progress)
    if max_size is not None:
        _show_shrunk(shrunk, form)
    else:
        _show(done, dry_run, form)


def _row(done: Collected) -> dict[str, object]:
    return {"PacksRemoved": done.packs_removed, "BytesFreed": done.bytes_freed, "BytesCopied": done.bytes_copied,
            "UnusedFreed": done.unused_freed}


def _show(done: Collected, dry_run: bool, form: str) -> None:
    if form:
        write_rows([_row(done)], form, "{{.PacksRemoved}}\t{{.BytesFreed}}\t{{.BytesCopied}}\t{{.UnusedFreed}}", HEADING)
    elif dry_run:
        click.echo(f"Would free {human_size(done.unused_freed)}: {done.unused_freed} bytes that nothing refers to "
                   f"({done.packs_removed} packs removed, {human_size(done.bytes_copied)} of live frames copied)")
    else:
        _tell(done)
    _end(done)


def _tell(done: Collected) -> None:
    click.echo(f"Total reclaimed space: {human_size(done.bytes_freed)} ({done.packs_removed} packs removed, "
               f"{human_size(done.bytes_copied)} of live frames copied)")
    if done.unused_freed:
        click.echo(f"{done.unused_freed} bytes that nothing referred to")
    if done.pending:
        click.echo(f"{human_size(done.pending)} more when those who read now have ended", err=True)


def _end(done: Collected) -> None:
    for problem in done.problems:
        warning(problem)
    if done.problems:
        raise click.exceptions.Exit(1)


def _show_shrunk(shrunk: Shrunk, form: str) -> None:
    """The images that go, the bytes that this frees, what it came to."""
    done = shrunk.collected
    if form:
        row = {"Events": [list(event) for event in shrunk.events], "UnusedFreed": shrunk.unused_freed, "Size": shrunk.size}
        write_rows([row | (_row(done) if done else {})], form, "{{.UnusedFreed}}\t{{.Size}}", HEADING)
    else:
        show_events(shrunk.events)
        click.echo(f"To be freed: {human_size(shrunk.unused_freed)} ({shrunk.unused_freed} bytes)")
        if done is None:
            click.echo(f"Packs then: {human_size(shrunk.size)} at most")
        else:
            _tell(done)
            click.echo(f"Packs now: {human_size(shrunk.size)}")
    if done is not None:
        _end(done)
