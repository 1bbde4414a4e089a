"""`lamina pull`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lamina.cli.progress import PULL
from lamina.cli.say import plain, warning
from lamina.cli.settings import network, with_store
from lamina.cli.teller import Teller
from lamina.cli.transfer_options import Output, transfer_options
from lamina.reference import Reference

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.pull import Pulling, PullResult

NEWER, CURRENT = "pulled", "up to date"


class PullTeller(Teller):
    """Says in docker's words what is pulled; a display stands between a beginning and its end."""

    def __init__(self, output: Output, *, all_tags: bool) -> None:
        super().__init__(output, PULL)
        self._all_tags = all_tags

    def __call__(self, event: Pulling | PullResult) -> None:
        from lamina.images.pull import Pulling

        if isinstance(event, Pulling):
            self._begin(event)
        else:
            self.close()
            self._end(event)

    def _begin(self, event: Pulling) -> None:
        if event.by_default:
            self.say(f"Using default tag: {event.word}")
        self.say(f"{event.word}: Pulling from {event.repository}")
        self.show()

    def _end(self, result: PullResult) -> None:
        for text in result.warnings:
            warning(text)
        if result.error is not None:
            self._output.failed(result.error, result.name)
            return
        self.say(f"Digest: {result.digest}")
        for digest in result.referrers:
            self.say(f"Referrer: {digest}")
        if not self._all_tags:
            self._status(result.reference, newer=result.newer)
        line = "" if self._all_tags else result.name
        self._output.result(result.name, NEWER if result.newer else CURRENT, line, digest=result.digest,
                            image_id=result.image_id, referrers=list(result.referrers))

    def repositories(self, results: Sequence[PullResult]) -> None:
        """The last lines of each repository of which all tags were pulled."""
        found: dict[Reference, bool] = {}
        for result in results:
            if result.error is None:
                repository = Reference.parse(result.name.rpartition(":")[0], default_tag="")
                found[repository] = found.get(repository, False) or result.newer
        for repository, newer in found.items():
            self._status(repository.familiar(), newer=newer)
            if not self._output.events:
                click.echo(plain(str(repository)))

    def _status(self, reference: str, *, newer: bool) -> None:
        self.say(f"Status: {'Downloaded newer image' if newer else 'Image is up to date'} for {reference}")


@click.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME[:TAG|@DIGEST]...")
@click.option("-a", "--all-tags", is_flag=True, help="All tags of each repository.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]|all", help="Of an index the image for this platform, or all.")
@click.option("-r", "--referrers", is_flag=True, help="What refers to the image, too: signatures, attestations.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@transfer_options
@with_store
def command(store: ImageStore, names: tuple[str, ...], all_tags: bool, platform: str | None, referrers: bool,
            compression: str, output: Output) -> None:
    """Pull images from registries; what is here already is not sent again."""
    teller = PullTeller(output, all_tags=all_tags)
    try:
        results = store.pull(names, all_tags=all_tags, platform=platform, compression=compression, referrers=referrers,
                             progress=teller.relay, listener=teller, network=network())
    finally:
        teller.close()
    if all_tags:
        teller.repositories(results)
    if any(result.error for result in results):
        raise click.exceptions.Exit(1)
