"""`lamina copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.progress import COPY
from lamina.cli.say import warning
from lamina.cli.settings import network, with_store
from lamina.cli.transfer_options import Output, transfer_options
from lamina.errors import UsageError

if TYPE_CHECKING:
    from lamina.images import ImageStore


@click.command("copy")
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Only the manifest for this platform, by itself.")
@click.option("--all", "every", is_flag=True, help="All platforms of an index: the default.")
@click.option("-r", "--referrers", is_flag=True, help="What refers to the image, too: signatures, attestations.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@transfer_options
@with_store
def command(store: ImageStore, source: str, destination: str, platform: str | None, every: bool, referrers: bool,
            compression: str, output: Output) -> None:
    """Copy an image from one place to another, all platforms of it, with every digest as it is.

    Places: docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], store:NAME or NAME.
    """
    if every and platform:
        raise UsageError("--all and --platform exclude each other")
    with output.display(COPY) as progress:
        copied = store.copy(source, destination, platform=platform, referrers=referrers, compression=compression,
                            progress=progress, network=network())
    for text in copied.warnings:
        warning(text)
    for digest in copied.referrers:
        output.note(f"Referrer: {digest}")
    output.result(copied.destination, "copied", copied.digest, source=copied.source, digest=copied.digest,
                  pushed=copied.pushed, skipped=copied.skipped, referrers=list(copied.referrers))
