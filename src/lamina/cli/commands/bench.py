"""`lamina bench`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli.say import error, note, plain, warning
from lamina.cli.settings import Settings
from lamina.errors import StorageError

if TYPE_CHECKING:
    from lamina.bench import Result

_HELP = """Measure how fast images go into a store and out again, layer by layer and stage by stage.

\b
FILE   an archive (docker save, OCI), IMAGE a name in the store, DIR a layout or a
       directory of archives; without any, three images made of this machine's files.

Everything happens in temporary stores, in --work, TMPDIR, or beside the store. Every run is a
process of its own; runs of all that is compared alternate, and a difference that is smaller than
their spread is called meaningless.

\b
--sweep NAME=VALUE[+VALUE]...[,NAME=...]   every combination is measured, NAME one of
    compression   none, zstd:1 to zstd:19
    chunk-size    16 to 1024, powers of two: KiB of the average chunk; the least is a
                  quarter of that, the most four times that, up to 1 MiB
    threads       1 to 64: that compress, and streams at once
--against NAME[,NAME]...   of docker, skopeo, podman, restic, borg; each with a place of
    its own (docker: an engine of its own, which needs root); yours are not touched
"""


@click.command("bench", help=_HELP)
@click.argument("words", nargs=-1, metavar="[FILE|IMAGE|DIR]...")
@click.option("--sweep", multiple=True, metavar="SETTINGS",
              help="Compare settings, as compression=none+zstd:3,chunk-size=16+64.")
@click.option("--against", multiple=True, metavar="PROGRAMS", help="Compare with other programs, as skopeo,restic.")
@click.option("--runs", type=int, default=3, show_default=True, metavar="N", help="Measure everything so often.")
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What to print.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page with pictures, too.")
@click.option("--work", type=click.Path(path_type=Path), metavar="DIR", help="Where to work: the disk that is measured.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(words: tuple[str, ...], sweep: tuple[str, ...], against: tuple[str, ...], runs: int, form: str, report: Path | None,
            work: Path | None, quiet: bool) -> None:
    from lamina.bench import Plan, bench
    from lamina.bench.peers import parse_peers
    from lamina.bench.settings import parse_sweep

    plan = Plan(words, runs, parse_sweep(sweep), parse_peers(against),
                click.get_current_context().ensure_object(Settings).path, work, None if words else _generate)
    if report is not None:
        _check_writable(report)
    with telling(quiet=quiet) as tell:
        result = bench(plan, tell)
    _show(result, form, report)
    for name, reason in result.failed:
        error(f"{name} was not measured: {reason}")
    if result.failed:
        raise click.exceptions.Exit(1)


def _show(result: Result, form: str, report: Path | None) -> None:
    from lamina.cli.bench.table import lines

    if report is not None:
        from lamina.archive import atomic_output
        from lamina.bench.report import page

        with atomic_output(report) as file:
            file.write(page(result).encode())
    if form == "json":
        click.echo(json.dumps(result.json(), ensure_ascii=False))
    else:
        for line in lines(result):
            click.echo(line)
    for text in result.warnings:
        warning(text)
    for name, reason in result.skipped:
        warning(f"{name} was not measured: {reason}")


@contextmanager
def telling(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """One line that is rewritten on a terminal, a line for each thing otherwise; on standard error."""
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty():
        try:
            yield _rewrite
        finally:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
    else:
        yield note


def _rewrite(text: str) -> None:
    import shutil

    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write("\r\x1b[K" + plain(text)[:width])
    sys.stderr.flush()


def _check_writable(report: Path) -> None:
    """Now, rather than after minutes of work."""
    if report.is_dir() or not os.access(report.absolute().parent, os.W_OK | os.X_OK):
        raise StorageError("cannot write the report", report, "name a file in a directory that is there")


def _generate(folder: Path) -> Iterator[Path]:
    """The three images of the demo."""
    from lamina.cli.demo.build import build, write_archive

    for image in build(folder):
        path = folder / f"{image.name.replace('/', '-').replace(':', '-')}.tar"
        write_archive(image, path)
        yield path
