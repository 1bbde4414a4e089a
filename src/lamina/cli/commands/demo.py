"""`lamina demo`."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli.columns import grid
from lamina.cli.demo.build import DemoImage, build, write_archive
from lamina.cli.demo.proof import Check, compare
from lamina.cli.settings import Settings
from lamina.cli.units import human_size, rate
from lamina.errors import DigestMismatch

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.load import LoadResult


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone at the end; signals wait while it is being removed."""
    folder = Path(tempfile.mkdtemp(prefix="lamina-demo-"))
    try:
        yield folder
    finally:
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            shutil.rmtree(folder)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


@click.command("demo")
def command() -> None:
    """Show deduplication on three images made of this machine's own files, in a store of their own."""
    settings = click.get_current_context().ensure_object(Settings)
    with scratch() as folder:
        settings.path = folder / "store"
        images = _built(folder)
        with settings.store() as store:
            _load_all(store, images, folder)
            checks = _saved(store, images[-1], folder / "saved.tar")
    if not all(check.same for check in checks):
        raise DigestMismatch("the saved image differs from the one that was loaded", images[-1].name)


def _built(folder: Path) -> list[DemoImage]:
    begin = time.monotonic()
    click.echo("Making three images: Python's standard library, and two children with its packages and changes")
    images = build(folder)
    for number, image in enumerate(images):
        write_archive(image, folder / f"{number}.tar")
    total = sum(layer.size for image in images for layer in image.layers)
    click.echo(f"  {human_size(total)} of layers in docker-archives, {time.monotonic() - begin:.1f} s\n")
    return images


def _load_all(store: ImageStore, images: list[DemoImage], folder: Path) -> None:
    """Load each archive; the table of its layers, and the speed."""
    click.echo("Loading them into an empty store")
    rows: list[tuple[str, ...]] = [("IMAGE", "LAYER", "WHAT", "BYTES", "NEW BYTES", "NEW")]
    taken, stored, size, seconds = 0, 0, 0, 0.0
    for number, image in enumerate(images):
        archive = folder / f"{number}.tar"
        begin = time.monotonic()
        result = store.load(archive)
        seconds += time.monotonic() - begin
        size += archive.stat().st_size
        rows += _layer_rows(image, result)
        taken += sum(layer.size for layer in image.layers)
        stored += result.stats.stored
    click.echo("".join(f"  {line}\n" for line in grid(rows, "lllrrr").splitlines()))
    ratio = f", {taken / stored:.1f} times less" if stored else ""
    click.echo(f"  {human_size(taken)} of layers take {human_size(stored)} on disk{ratio}; "
               f"archives of {human_size(size)} loaded at {rate(size, seconds)}\n")


def _layer_rows(image: DemoImage, result: LoadResult) -> list[tuple[str, ...]]:
    new = {layer.digest: layer.new for layer in result.stats.layers}
    rows: list[tuple[str, ...]] = []
    for number, layer in enumerate(image.layers):
        count = new.get(layer.digest, 0)
        rows.append((image.name if number == 0 else "", layer.digest.partition(":")[2][:12], layer.what, human_size(layer.size),
                     human_size(count), f"{count / layer.size:.1%}"))
    return rows


def _saved(store: ImageStore, image: DemoImage, path: Path) -> list[Check]:
    """Save one image again and hold each of its parts against what was loaded."""
    result = store.save([image.name], path)
    click.echo(f"Saving {image.name} again: {human_size(result.bytes)} at {rate(result.bytes, result.seconds)}")
    checks = compare(image, path)
    verdicts = ("identical" if check.same else f"DIFFERS, was {check.given}" for check in checks)
    rows = [(f"  {check.what}", check.returned, verdict) for check, verdict in zip(checks, verdicts, strict=True)]
    click.echo(grid(rows, "lll"))
    if all(check.same for check in checks):
        click.echo("Every layer and the config came back byte for byte.")
    return checks
