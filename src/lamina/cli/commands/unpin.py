"""`lamina unpin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.settings import with_store

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("unpin")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_store
def command(store: ImageStore, names: tuple[str, ...]) -> None:
    """Let go of pinned names."""
    for name in store.pin(names, pinned=False):
        click.echo(name)
