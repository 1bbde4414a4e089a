"""`lamina system df`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lamina.cli.commands.images import HEADING as IMAGE_HEADING
from lamina.cli.commands.images import ImageRow
from lamina.cli.formats import write_rows
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.usage import DiskUsage

TABLE = "{{.Type}}\t{{.Size}}\t{{.Ratio}}\t{{.Reclaimable}}"
HEADING = {"Type": "TYPE", "Size": "SIZE", "Bytes": "BYTES", "Ratio": "RATIO", "Reclaimable": "RECLAIMABLE"}
IMAGES = "\t".join(("{{.Repository}}", "{{.Tag}}", "{{.ID}}", "{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}",
                    "{{.VirtualSize}}", "{{.SharedSize}}", "{{.UniqueSize}}"))


def rows(usage: DiskUsage) -> Iterator[dict[str, object]]:
    """One step of deduplication each: the ratio is that of all images' bytes to what is left of them."""
    total = usage.total
    for name, size in (("Images", total.logical), ("Layers", total.layers), ("Chunks", total.chunks), ("Packs", total.stored)):
        dead = f"{human_size(total.dead)}{f' ({total.dead * 100 // size}%)' if size else ''}"
        yield {
            "Type": name, "Size": human_size(size), "Bytes": size,
            "Ratio": f"{total.logical / size:.2f}x" if size else "-",
            "Reclaimable": dead if name == "Packs" else "-",
        }


def image_rows(usage: DiskUsage) -> Iterator[ImageRow]:
    """docker's fields of each image, shared and unique bytes among them."""
    now = datetime.now(UTC)
    for one in usage.images:
        yield ImageRow(one.summary, now, shared=one.shared, unique=one.unique)


@click.command("df")
@click.option("-v", "--verbose", is_flag=True, help="Each image too, with shared and unique bytes.")
@click.option("--format", "form", default="table", metavar="table|json|TEMPLATE", help="A table, JSON lines, or a Go template.")
@with_store
def command(store: ImageStore, verbose: bool, form: str) -> None:
    """Show what images take: as they are, by distinct layers, by distinct chunks, and on disk."""
    usage = store.df()
    if not verbose:
        write_rows(rows(usage), form, TABLE, HEADING)
        return
    if form == "table":
        write_rows(rows(usage), form, TABLE, HEADING)
        click.echo("\nImages space usage:\n")
    write_rows(image_rows(usage), form, IMAGES, IMAGE_HEADING)
