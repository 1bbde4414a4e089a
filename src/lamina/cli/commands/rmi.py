"""`lamina rmi`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from lamina.cli.say import error, note, plain
from lamina.cli.settings import with_store
from lamina.cli.units import human_size
from lamina.errors import NotFound

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.remove import RemoveResult


def show_events(events: Iterable[tuple[str, str]]) -> None:
    """`Untagged: NAME` and `Deleted: ID`, in the order in which they happened."""
    for event, text in events:
        click.echo(plain(f"{event}: {text}"))


def show_space(result: RemoveResult) -> None:
    """What a dry run would give back, on standard error: standard output has the events alone."""
    note(f"would free {human_size(result.frame_bytes)} in frames that nothing would refer to any more; "
         f"{human_size(result.dead_bytes)} would be dead in frames that stay")


@click.command("rmi")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Force removal of the image.")
@click.option("--no-prune", is_flag=True, help="Do not delete untagged parents.")
@click.option("--dry-run", is_flag=True, help="Only show what would go, and the bytes that gc would free.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], force: bool, no_prune: bool, dry_run: bool) -> None:
    """Remove images."""
    result = store.remove(names, force=force, prune=not no_prune, dry_run=dry_run)
    show_events(result.events)
    if dry_run:
        show_space(result)
    for problem in result.errors:
        error(problem)
    # docker: with --force a name that is not there is told, but is no failure.
    if any(not (force and isinstance(problem, NotFound)) for problem in result.errors):
        raise click.exceptions.Exit(1)
