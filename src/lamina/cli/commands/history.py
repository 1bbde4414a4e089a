"""`lamina history`."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lamina.cli.commands.images import short_id
from lamina.cli.formats import QUIET, write_rows
from lamina.cli.settings import with_store
from lamina.cli.units import human_size, rfc3339, since

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.history import HistoryRow

MISSING = "<missing>"
CREATED_BY_WIDTH = 45
HUMAN = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
EXACT = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
HEADING = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
           "Comment": "COMMENT"}


def history_row(row: HistoryRow, now: datetime, *, human: bool, full: bool) -> dict[str, str]:
    """docker's fields of one line."""
    made_by = row.created_by.replace("\t", " ")
    at = rfc3339(row.created)
    return {
        "Comment": row.comment,
        "CreatedAt": at,
        "CreatedBy": made_by if full else ellipsis(made_by, CREATED_BY_WIDTH),
        "CreatedSince": since(row.created, now) if human else at,
        "ID": row.image_id if full or row.image_id == MISSING else short_id(row.image_id),
        "Size": human_size(row.size, 3) if human else str(row.size),
    }


def ellipsis(text: str, width: int) -> str:
    """The text cut to `width` places of a terminal, the last of them an ellipsis; wide characters take two."""
    places = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if sum(places) <= width:
        return text
    used = 0
    for end, place in enumerate(places):
        used += place
        if used > width - 1:
            return text[:end] + "…"
    return text


@click.command("history")
@click.argument("image")
@click.option("-H", "--human", type=bool, is_flag=False, flag_value=True, default=True, metavar="[true|false]",
              help="Sizes and dates in human readable form (--human=false for exact ones).")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs.")
@click.option("--no-trunc", is_flag=True, help="Don't truncate output.")
@click.option("--format", "form", default="table", metavar="table|json|TEMPLATE",
              help="A table, JSON lines, or a Go template.")
@with_store
def command(store: ImageStore, image: str, human: bool, quiet: bool, no_trunc: bool, form: str) -> None:
    """Show how an image was made, the newest step first."""
    now = datetime.now(UTC)
    rows = (history_row(row, now, human=human, full=no_trunc) for row in store.history(image))
    write_rows(rows, QUIET if quiet and form == "table" else form, HUMAN if human else EXACT, HEADING)
