"""`lamina tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.settings import with_store

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("tag")
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]")
@click.argument("target", metavar="TARGET_IMAGE[:TAG]")
@with_store
def command(store: ImageStore, source: str, target: str) -> None:
    """Let TARGET_IMAGE lead to SOURCE_IMAGE."""
    store.tag(source, target)
