"""`lamina load`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli.files import source
from lamina.cli.progress import Relay, display
from lamina.cli.say import error, note, plain, warning
from lamina.cli.settings import with_store
from lamina.cli.units import human_size, rate
from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.load import Incomplete, LoadResult
    from lamina.store.stats import SessionStats


WARNINGS = 100  # of each kind that are shown of one archive; a hostile one has a quarter of a million


@dataclass(slots=True)
class Totals:
    """What all files of one command came to, in bytes and seconds."""

    read: int = 0
    new: int = 0
    stored: int = 0
    known: int = 0
    seconds: float = 0.0

    def add(self, stats: SessionStats) -> None:
        self.read += stats.read
        self.new += stats.new
        self.stored += stats.stored
        self.known += stats.known
        self.seconds += stats.seconds

    def line(self) -> str:
        """read, new, deduplicated, ratio (of all bytes to those written), MB/s of what was read."""
        whole = self.read + self.known
        ratio = f"{whole / self.stored:.2f}x" if self.stored else "nothing written"
        return (f"read {human_size(self.read)}, new {human_size(self.new)}, "
                f"deduplicated {human_size(max(0, whole - self.new))}, ratio {ratio}, {rate(self.read, self.seconds)}")


def show(result: LoadResult) -> None:
    """One line for each image, warnings on standard error."""
    for text in chain(result.warnings[:WARNINGS], map(missing, result.incomplete[:WARNINGS])):
        warning(text)
    if more := len(result.warnings[WARNINGS:]) + len(result.incomplete[WARNINGS:]):
        warning(f"and {more} more like these")
    for image in result.loaded:
        click.echo(plain(f"Loaded image: {image.reference}" if image.reference else f"Loaded image ID: {image.image_id}"))


def missing(one: Incomplete) -> str:
    """What is said of an image of which parts were not in the archive."""
    count = len(one.missing)
    name = " ".join(part for part in (one.reference or one.digest, one.platform[:160]) if part)
    return f"{name} is incomplete, {count} blob{'' if count == 1 else 's'} not in the archive"


def load_all(store: ImageStore, names: tuple[str, ...], *, quiet: bool, platform: str | None, verify: bool,
             compression: str) -> tuple[Totals, list[str], int]:
    """Load all files, several at a time; the totals, the names of those that failed, and how many there were."""
    totals, count = Totals(), 0
    failed: list[str] = []
    relay = Relay()
    batches = store.load_all([source(name) for name in names], platform=platform, verify=verify, compression=compression,
                             progress=relay)
    while True:
        with display(quiet=quiet) as relay.shown:  # gone before results are printed
            batch = next(batches, None)
        if batch is None:
            return totals, failed, count
        totals.add(batch.stats)
        for place, outcome in batch.outcomes:
            count += 1
            if not isinstance(outcome, LaminaError | OSError):
                show(outcome)
            elif len(names) == 1 and len(batch.outcomes) == 1:
                raise outcome
            else:
                error(outcome)
                failed.append(str(place) if isinstance(place, Path) else "-")


@click.command("load")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-i", "--input", "first", default="", metavar="FILE|-", help="Read from a file, instead of standard input.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no last line.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Only the image for this platform.")
@click.option("--verify", is_flag=True, help="Read layers too whose digest the store knows.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@with_store
def command(store: ImageStore, files: tuple[str, ...], first: str, quiet: bool, platform: str | None, verify: bool,
            compression: str) -> None:
    """Load images from archives, layouts or standard input."""
    names = ((first,) if first else ()) + files or ("-",)
    totals, failed, count = load_all(store, names, quiet=quiet, platform=platform, verify=verify, compression=compression)
    if not quiet:
        note(totals.line())
    if failed:
        error(f"{len(failed)} of {count} could not be loaded: {', '.join(failed)}")
        raise click.exceptions.Exit(1)
