"""`lamina import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.files import source
from lamina.cli.progress import display
from lamina.cli.settings import with_store

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("import")
@click.argument("file", metavar="FILE|-")
@click.argument("reference", metavar="[REPOSITORY[:TAG]]", required=False, default="")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help="Apply a Dockerfile instruction to the image; may be repeated.")
@click.option("-m", "--message", default="", help="The comment of the image.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="The platform of the image.")
@with_store
def command(store: ImageStore, file: str, reference: str, changes: tuple[str, ...], message: str, platform: str | None) -> None:
    """Make a one-layer image from the tar of a root file system."""
    with display(quiet=False) as progress:
        image_id = store.import_image(source(file), reference, changes=changes, message=message, platform=platform,
                                      progress=progress)
    click.echo(image_id)
