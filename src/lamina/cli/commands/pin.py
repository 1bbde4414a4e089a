"""`lamina pin`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.formats import write_rows
from lamina.cli.settings import with_store

if TYPE_CHECKING:
    from lamina.images import ImageStore

TABLE = "{{.Name}}\t{{.ID}}"
HEADING = {"Name": "NAME", "ID": "IMAGE ID", "Digest": "DIGEST"}


@click.command("pin")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--format", "form", default="table", metavar="table|json|TEMPLATE",
              help="How to list pinned names: a table, JSON lines, or a Go template.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], form: str) -> None:
    """Let neither `gc --max-size` nor `image prune` take names away; without NAME, list those that are pinned."""
    if names:
        for name in store.pin(names):
            click.echo(name)
        return
    rows = ({"Name": f"{one.repository}@{one.digest}" if one.tag == "<none>" else f"{one.repository}:{one.tag}",
             "ID": one.image_id.partition(":")[2][:12] if form == "table" else one.image_id, "Digest": one.digest}
            for one in store.pinned())
    write_rows(rows, form, TABLE, HEADING)
