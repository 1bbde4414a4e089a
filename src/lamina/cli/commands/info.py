"""`lamina info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.gotemplate import Template
from lamina.cli.say import plain
from lamina.cli.settings import with_store
from lamina.cli.units import human_size

if TYPE_CHECKING:
    from lamina.images import ImageStore


# Names that are no plain words.
_TITLES = {"cpu": "CPU", "id": "ID", "sqlite": "SQLite"}


def lines(facts: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """`Name: value`, one a line, what belongs to another indented by one, as `docker info` does."""
    for name, value in facts.items():
        word = name.removesuffix("_bytes")
        title = " " * depth + _TITLES.get(word, word.replace("_", " ").capitalize())
        if word != name:
            yield f"{title}: {human_size(value)}"
        elif isinstance(value, Mapping):
            yield f"{title}:"
            yield from lines(value, depth + 1)
        elif isinstance(value, (list, tuple)):
            yield f"{title}: {' '.join(map(str, value)) or 'none'}"
        else:
            yield f"{title}: {str(value).lower() if isinstance(value, bool) else value}"


@click.command("info")
@click.option("-f", "--format", "form", default="", metavar="json|TEMPLATE", help="JSON, or a Go template.")
@with_store
def command(store: ImageStore, form: str) -> None:
    """Show where the store is, its format, versions, and the processor features in use."""
    facts = store.info()
    if not form:
        for line in lines(facts):
            click.echo(plain(line))
    elif form == "json":
        click.echo(json.dumps(facts, ensure_ascii=False, default=str))
    else:
        click.echo(Template(form).render(json.loads(json.dumps(facts, default=str))))
