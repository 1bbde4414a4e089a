"""`lamina pull`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from lamina.cli.progress import Relay, display
from lamina.cli.say import error, plain, warning
from lamina.cli.settings import network, with_store
from lamina.content.progress import Silent
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.pull import Pulling, PullResult


class Teller:
    """Says in docker's words what is pulled; a display stands between a beginning and its end."""

    def __init__(self, *, quiet: bool, all_tags: bool) -> None:
        self.relay = Relay()
        self._quiet, self._all_tags = quiet, all_tags
        self._shown = ExitStack()

    def __call__(self, event: Pulling | PullResult) -> None:
        from lamina.images.pull import Pulling

        if isinstance(event, Pulling):
            self._begin(event)
        else:
            self.close()
            self._end(event)

    def close(self) -> None:
        """Take the display away."""
        self.relay.shown = Silent()
        self._shown.close()

    def _begin(self, event: Pulling) -> None:
        if event.by_default and not self._quiet:
            click.echo(f"Using default tag: {event.word}")
        if not self._quiet:
            click.echo(plain(f"{event.word}: Pulling from {event.repository}"))
        self.relay.shown = self._shown.enter_context(display(quiet=self._quiet))

    def _end(self, result: PullResult) -> None:
        for text in result.warnings:
            warning(text)
        if result.error is not None:
            error(result.error)
            return
        if not self._quiet:
            click.echo(f"Digest: {result.digest}")
            for digest in result.referrers:
                click.echo(f"Referrer: {digest}")
        if not self._all_tags:
            self.status(result.reference, result.name, newer=result.newer)

    def status(self, reference: str, name: str, *, newer: bool) -> None:
        """The last lines."""
        if not self._quiet:
            click.echo(plain(f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {reference}"))
        click.echo(plain(name))

    def repositories(self, results: Sequence[PullResult]) -> None:
        """The last lines of each repository of which all tags were pulled."""
        found: dict[Reference, bool] = {}
        for result in results:
            if result.error is None:
                repository = Reference.parse(result.name.rpartition(":")[0], default_tag="")
                found[repository] = found.get(repository, False) or result.newer
        for repository, newer in found.items():
            self.status(repository.familiar(), str(repository), newer=newer)


@click.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME[:TAG|@DIGEST]...")
@click.option("-a", "--all-tags", is_flag=True, help="All tags of each repository.")
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]|all", help="Of an index the image for this platform, or all.")
@click.option("-r", "--referrers", is_flag=True, help="What refers to the image, too: signatures, attestations.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@with_store
def command(store: ImageStore, names: tuple[str, ...], all_tags: bool, quiet: bool, platform: str | None, referrers: bool,
            compression: str) -> None:
    """Pull images from registries; what is here already is not sent again."""
    teller = Teller(quiet=quiet, all_tags=all_tags)
    try:
        results = store.pull(names, all_tags=all_tags, platform=platform, compression=compression, referrers=referrers,
                             progress=teller.relay, listener=teller, network=network())
    finally:
        teller.close()
    if all_tags:
        teller.repositories(results)
    if any(result.error for result in results):
        raise click.exceptions.Exit(1)
