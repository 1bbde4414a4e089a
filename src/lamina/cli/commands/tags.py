"""`lamina tags`."""

from __future__ import annotations

import click

from lamina.cli.formats import write_rows
from lamina.cli.say import plain
from lamina.cli.settings import network

FIELDS = {"Repository": "REPOSITORY", "Tag": "TAG"}


@click.command("tags")
@click.argument("repository", metavar="REPOSITORY")
@click.option("--format", "form", default="", metavar="json|TEMPLATE", help="JSON lines, or a Go template.")
def command(repository: str, form: str) -> None:
    """List the tags of a repository, in the order in which its registry gives them."""
    from lamina.images.remotes import tags

    found = tags(repository, network=network())
    if form:
        write_rows(({"Repository": repository, "Tag": tag} for tag in found), form, "{{.Repository}}\t{{.Tag}}", FIELDS)
        return
    for tag in found:
        click.echo(plain(tag))
