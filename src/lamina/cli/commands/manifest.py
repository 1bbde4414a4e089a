"""`lamina manifest inspect`."""

from __future__ import annotations

import json
import sys

import click

from lamina.cli.settings import network


@click.command("inspect")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("-v", "--verbose", is_flag=True, help="With descriptors; of an index, each manifest in it.")
@click.option("--raw", is_flag=True, help="The bytes as they are, which have the digest.")
def command(name: str, verbose: bool, raw: bool) -> None:
    """Show a manifest or index as its registry has it."""
    from lamina.images.remotes import in_words, inspect_manifest
    from lamina.jsonlimits import loads

    if raw and verbose:
        raise click.UsageError("--raw and --verbose exclude each other")
    found = inspect_manifest(name, verbose=verbose, network=network())
    if raw:
        sys.stdout.buffer.write(found[0].data)
        return
    shown: object = loads(found[0].data, "manifest", where=found[0].reference)
    if verbose:
        words = [in_words(one) for one in found]
        shown = words if len(words) > 1 else words[0]
    click.echo(json.dumps(shown, indent="\t"))
