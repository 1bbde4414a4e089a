"""`lamina image prune`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.commands.rmi import show_events, show_space
from lamina.cli.say import note, plain
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore

_DANGLING = "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
_ALL = "WARNING! This will remove all images without at least one container associated to them.\n" \
       "Are you sure you want to continue? [y/N] "


def agreed(warning: str) -> bool:
    """Whether the user says y; the end of input is no."""
    click.echo(warning, nl=False)
    return sys.stdin.readline().strip().lower() == "y"


@click.command("prune")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all unused images, not just dangling ones.")
@click.option("-f", "--force", is_flag=True, help="Do not prompt for confirmation.")
@click.option("--filter", "filters", multiple=True, metavar="FILTER", help="until=, label= or label!=; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only show what would go, and the bytes that gc would free.")
@with_store
def command(store: ImageStore, everything: bool, force: bool, filters: tuple[str, ...], dry_run: bool) -> None:
    """Remove images without a name; those with a pinned one stay."""
    if dry_run:
        result = store.prune(all=everything, filters=filters, dry_run=True)
        show_events(result.events)
        show_space(result)
        return
    if not force and not agreed(_ALL if everything else _DANGLING):
        return
    result = store.prune(all=everything, filters=filters)
    if result.events:
        click.echo("Deleted Images:")
        for event, text in result.events:
            click.echo(plain(f"{event.lower()}: {text}"))
        click.echo()
    click.echo(f"Total reclaimed space: {human_size(result.frame_bytes)}")
    if result.frame_bytes:
        note("`lamina gc` gives the space back to the disk")
