"""`lamina mirror`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lamina.cli.columns import grid
from lamina.cli.progress import COPY
from lamina.cli.say import plain, warning
from lamina.cli.settings import network, with_store
from lamina.cli.teller import Teller
from lamina.cli.transfer_options import Output, transfer_options

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.mirror import Mirrored
    from lamina.images.mirrorfile import Entry

HEADING = ("FROM", "TO", "COPIED", "UP TO DATE", "SKIPPED", "REMOVED", "FAILED", "STATUS")


class MirrorTeller(Teller):
    """Says what becomes of each entry as it ends; a display stands meanwhile."""

    def __init__(self, output: Output) -> None:
        super().__init__(output, COPY)

    def __call__(self, event: Entry | Mirrored) -> None:
        from lamina.images.mirror import Mirrored

        if isinstance(event, Mirrored):
            self.close()
            self._end(event)
        else:
            self._output.note(f"{event.source.familiar_name} to {event.place}")
            self.show()

    def _end(self, result: Mirrored) -> None:
        for text in result.warnings:
            warning(text)
        for tag, problem in result.failed.items():
            self._output.failed(problem, f"{result.source}:{tag}")
        if result.error is not None:
            self._output.failed(result.error, result.source)
        if self._output.events:
            self._output.result(result.destination, status(result), source=result.source, copied=result.copied,
                                current=result.current, skipped=result.skipped, removed=result.removed,
                                failed=sorted(result.failed))


def status(result: Mirrored) -> str:
    """One word for an entry."""
    return "failed" if not result.ok else "changed" if result.copied or result.removed else "up to date"


def table(results: Sequence[Mirrored]) -> str:
    """A row for each entry, in numbers of tags."""
    rows: list[tuple[str, ...]] = [HEADING]
    for one in results:
        counts = (len(each) for each in (one.copied, one.current, one.skipped, one.removed, one.failed))
        rows.append((plain(one.source), plain(one.destination), *map(str, counts), status(one)))
    return grid(rows, "llrrrrrl")


@click.command("mirror")
@click.argument("file", metavar="FILE|-")
@click.option("--dry-run", is_flag=True, help="Say what would be copied and removed, and change nothing.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@transfer_options
@with_store
def command(store: ImageStore, file: str, dry_run: bool, compression: str, output: Output) -> None:
    """Keep repositories in step with others, as a YAML file says: in the store, or in another registry.

    FILE is a list of: from, to (a repository, or the store), tags, exclude (patterns), platforms, referrers, prune.
    """
    teller = MirrorTeller(output)
    try:
        results = store.mirror(file, dry_run=dry_run, compression=compression, progress=teller.relay, listener=teller,
                               network=network())
    finally:
        teller.close()
    if not output.events and not output.quiet:
        click.echo(table(results), nl=False)
        if dry_run:
            for one in results:
                for verb, tags in (("copy", one.copied), ("remove", one.removed)):
                    for tag in tags:
                        click.echo(plain(f"would {verb} {one.destination}:{tag}"))
    if not all(one.ok for one in results):
        raise click.exceptions.Exit(1)
