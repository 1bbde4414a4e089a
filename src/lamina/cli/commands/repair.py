"""`lamina repair`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lamina.cli.progress import display
from lamina.cli.say import note, plain, warning
from lamina.cli.settings import network, with_store
from lamina.cli.units import human_size
from lamina.errors import UsageError

if TYPE_CHECKING:
    from lamina.images import ImageStore
    from lamina.images.repair import RepairResult


@click.command("repair")
@click.option("--from", "sources", multiple=True, metavar="SOURCE",
              help="An archive, an OCI layout, another store's directory or docker://REF that has what is lost.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what is damaged, what of it is whole, and what names would lose.")
@click.option("--forget", is_flag=True, help="Remove the names of what cannot be repaired; they are kept in the quarantine.")
@click.option("--drop-quarantine", is_flag=True, help="Delete what earlier repairs have put aside, and do nothing else.")
@click.option("--compression", default="zstd:1", show_default=True, metavar="none|zstd[:N]", help="How new frames are stored.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only results.")
@click.option("--format", "form", type=click.Choice(["json"]), help="One JSON object.")
@with_store
def command(store: ImageStore, sources: tuple[str, ...], dry_run: bool, forget: bool, drop_quarantine: bool, compression: str,
            quiet: bool, form: str | None) -> None:
    """Bring what is whole of damaged packs into new ones, put back the rest from other places, and say which names are lost."""
    if drop_quarantine:
        if sources or dry_run or forget:
            raise UsageError("--drop-quarantine is given alone")
        count, size = store.drop_quarantine()
        click.echo(json.dumps({"dropped": count, "bytes": size}) if form else f"Deleted {count} files of {human_size(size)}")
        return
    if dry_run and forget:
        raise UsageError("--dry-run and --forget exclude each other")
    with display(quiet=quiet or bool(form)) as progress:
        result = store.repair(sources, dry_run=dry_run, forget=forget, compression=compression, progress=progress,
                              network=network())
    if form:
        click.echo(json.dumps(_facts(result), ensure_ascii=False))
    else:
        _tell(result, dry_run)
    for text in result.warnings:
        warning(text)
    if result.lost and len(result.forgotten) < len(result.lost):
        raise click.exceptions.Exit(1)


def _tell(result: RepairResult, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for name, found in result.packs.items():
        click.echo(plain(f"Damaged pack: {name}: {'; '.join(found[:3])}"))
    if result.packs:
        aside = f"{len(result.packs)} packs put aside" if dry_run else f"{len(result.quarantined)} packs in quarantine"
        click.echo(f"Salvaged: {result.chunks} chunks {would}in new packs, {aside}")
    if result.catalog:
        click.echo(plain(f"Catalog: {would}made anew from the packs: {result.catalog}"))
    for digest in result.restored:
        click.echo(f"Restored: {digest}")
    for name in result.names:
        click.echo(plain(f"Named again: {name}"))
    for name, losses in result.lost.items():
        word = "Forgotten" if name in result.forgotten else "Lost"
        for loss in losses:
            click.echo(plain(f"{word}: {name}: {loss.digest} ({human_size(loss.size)}): {loss.what}"))
    if not (result.packs or result.catalog or result.lost or result.restored or result.names):
        note("nothing to repair")
    elif result.lost and not result.forgotten and not dry_run:
        note(f"{len(result.lost)} name{'' if len(result.lost) == 1 else 's'} lost: give --from a place that has what is "
             "missing, or --forget them")


def _facts(result: RepairResult) -> dict[str, object]:
    return {
        "packs": result.packs, "chunks": result.chunks, "quarantined": result.quarantined, "catalog": result.catalog,
        "restored": result.restored, "names": result.names, "forgotten": result.forgotten,
        "lost": {name: [{"digest": loss.digest, "size": loss.size, "media_type": loss.media_type, "what": loss.what}
                        for loss in losses] for name, losses in result.lost.items()},
    }
