"""`lamina push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli.progress import PUSH
from lamina.cli.say import warning
from lamina.cli.settings import network, with_store
from lamina.cli.teller import Teller
from lamina.cli.transfer_options import Output, transfer_options

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.push import Pushing, PushResult

PUSHED, CURRENT = "pushed", "up to date"


class PushTeller(Teller):
    """Says in docker's words what is pushed; a display stands between a beginning and its end."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, PUSH)

    def __call__(self, event: Pushing | PushResult) -> None:
        from lamina.images.push import Pushing

        self.close()
        if isinstance(event, Pushing):
            if event.by_default:
                self.say(f"Using default tag: {event.by_default}")
            self.say(f"The push refers to repository [{event.repository}]")
        else:
            self._end(event)
        # Of several tags each has its own: another may follow.
        self.show()

    def _end(self, result: PushResult) -> None:
        for text in result.warnings:
            warning(text)
        if result.error is not None:
            self._output.failed(result.error, result.name)
            return
        for digest in result.referrers:
            self.say(f"Referrer: {digest}")
        line = result.name if self._output.quiet else f"{result.tag}: digest: {result.digest} size: {result.size}"
        self._output.result(result.name, CURRENT if result.current else PUSHED, line, digest=result.digest,
                            media_type=result.media_type, size=result.size, sent=result.sent,
                            referrers=list(result.referrers))


@click.command("push")
@click.argument("names", nargs=-1, required=True, metavar="NAME[:TAG]...")
@click.option("-a", "--all-tags", is_flag=True, help="All tags of each repository.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an index the manifest for this platform, by itself.")
@click.option("-r", "--referrers", is_flag=True, help="What refers to the image, too: signatures, attestations.")
@click.option("--compression", default="gzip", show_default=True, metavar="gzip[:N]|zstd[:N]|none",
              help="How plain layers are compressed.")
@click.option("-f", "--force", is_flag=True, help="Ask for each layer, whatever is remembered of an earlier push.")
@transfer_options
@with_store
def command(store: ImageStore, names: tuple[str, ...], all_tags: bool, platform: str | None, referrers: bool,
            compression: str, force: bool, output: Output) -> None:
    """Push images to registries; what is there already is not sent again."""
    teller = PushTeller(output)
    try:
        results = store.push(names, all_tags=all_tags, platform=platform, compression=compression, referrers=referrers,
                             force=force, progress=teller.relay, listener=teller, network=network())
    finally:
        teller.close()
    if any(result.error for result in results):
        raise click.exceptions.Exit(1)
