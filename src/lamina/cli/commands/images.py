"""`lamina images`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lamina.cli.formats import QUIET, write_rows
from lamina.cli.settings import with_store
from lamina.cli.units import ZERO_TIME, go_time, human_size, since

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.listing import ImageSummary

_CREATED = "{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}"
TABLE = f"{{{{.Repository}}}}\t{{{{.Tag}}}}\t{{{{.ID}}}}\t{_CREATED}\t{{{{.Size}}}}"
WITH_DIGEST = TABLE.replace("{{.ID}}", "{{.Digest}}\t{{.ID}}")
HEADING = {
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
}


class ImageRow(Mapping[str, str]):
    """docker's fields of one line, worked out as they are asked for: a table shows five of eleven.

    `shared` and `unique` are bytes, where they have been counted.
    """

    def __init__(self, image: ImageSummary, now: datetime, *, full: bool = False, shared: int | None = None,
                 unique: int | None = None) -> None:
        self._image, self._now, self._full, self._shared, self._unique = image, now, full, shared, unique

    def __getitem__(self, field: str) -> str:
        return _FIELDS[field](self)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)


_FIELDS: dict[str, Callable[[ImageRow], str]] = {
    "Containers": lambda row: "N/A",
    "CreatedAt": lambda row: go_time(row._image.created),
    "CreatedSince": lambda row: "" if row._image.created == ZERO_TIME else since(row._image.created, row._now),
    "Digest": lambda row: row._image.digest or "<none>",
    "ID": lambda row: row._image.image_id if row._full else short_id(row._image.image_id),
    "Repository": lambda row: row._image.repository or "<none>",
    "SharedSize": lambda row: "N/A" if row._shared is None else human_size(row._shared),
    "Size": lambda row: human_size(row._image.size, 3),
    "Tag": lambda row: row._image.tag or "<none>",
    "UniqueSize": lambda row: "N/A" if row._unique is None else human_size(row._unique),
    "VirtualSize": lambda row: human_size(row._image.size),
}


def short_id(digest: str) -> str:
    """The first twelve digits."""
    return digest.partition(":")[2][:12] or digest[:12]


@click.command("images")
@click.argument("name", metavar="[REPOSITORY[:TAG]]", required=False, default="")
@click.option("-a", "--all", "everything", is_flag=True, help="Show untagged intermediate images too.")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs.")
@click.option("--digests", is_flag=True, help="Show digests.")
@click.option("--no-trunc", is_flag=True, help="Don't truncate output.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="FILTER",
              help="dangling=, label=, label!=, before=, since=, until=, pinned= or reference=; may be repeated.")
@click.option("--format", "form", default="table", metavar="table|json|TEMPLATE",
              help="A table, JSON lines, or a Go template ('table TEMPLATE' for columns).")
@with_store
def command(store: ImageStore, name: str, everything: bool, quiet: bool, digests: bool, no_trunc: bool,
            filters: tuple[str, ...], form: str) -> None:
    """List images."""
    images = store.images(all=everything, name=name, filters=filters)
    now = datetime.now(UTC)
    rows = (ImageRow(image, now, full=no_trunc) for image in images)
    if quiet and form == "table":
        form = QUIET
    elif form.startswith("table ") and digests and "{{.Digest}}" not in form:
        form += "\t{{.Digest}}"
    write_rows(rows, form, WITH_DIGEST if digests else TABLE, HEADING)
    partial = sum(not image.whole for image in images)
    if partial and sys.stderr.isatty():
        click.echo(f"{partial} incomplete: parts are missing from what was loaded", err=True)
