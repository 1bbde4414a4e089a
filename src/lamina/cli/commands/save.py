"""`lamina save`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.files import target
from lamina.cli.progress import display
from lamina.cli.say import note
from lamina.cli.settings import with_store
from lamina.cli.units import human_size, rate
from lamina.errors import UsageError

if TYPE_CHECKING:
    from lamina.images import ImageStore

FORMATS = ("docker-archive", "oci-archive", "oci-dir")


@click.command("save")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", default="", metavar="FILE", help="Write to a file, instead of standard output.")
@click.option("--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True, help="What to write.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Only the image for this platform.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no last line.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], output: str, form: str, platform: str | None, quiet: bool) -> None:
    """Save images to an archive, byte for byte as they came."""
    if form == "oci-dir" and output in ("", "-"):
        raise UsageError("a layout is a directory", hint="name it with -o")
    # Without -o a terminal is likely to have another use than progress: the archive goes to a pipe or file.
    with display(quiet=quiet or not output) as progress:
        result = store.save(names, target(output), format=form, platform=platform, progress=progress)
    if output and not quiet:
        note(f"saved {human_size(result.bytes)}, {rate(result.bytes, result.seconds)}")
