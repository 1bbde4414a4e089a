"""`lamina` and its groups: a command's module is imported when the command runs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import click

import lamina
from lamina.cli.settings import Settings
from lamina.cli.table import ALIASES, COMMANDS, GROUPS, OTHERS, SECTIONS, Entry

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group that knows its commands from `lamina.cli.table`."""

    entries: dict[str, Entry] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in self.entries if name not in ALIASES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if not entry[0]:
            return _group(cmd_name)
        command = importlib.import_module(f"lamina.cli.commands.{entry[0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists in `--help`, from the table alone; one below the other, so that their columns stand in line."""
        listed = self.list_commands(ctx)
        width = max(map(len, listed))
        for heading, names in _sections(listed) if self.entries is COMMANDS else [("Commands", listed)]:
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), self.entries[name][1]) for name in names])


def _sections(listed: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each heading with those of its commands that there are; none is left out."""
    rest = dict.fromkeys(listed)
    for heading, names in SECTIONS.items():
        there = [name for name in names if name in rest]
        if there:
            yield heading, there
        for name in there:
            del rest[name]
    if rest:
        yield OTHERS, list(rest)


def _group(name: str) -> LazyGroup:
    group = LazyGroup(name, help=COMMANDS[name][1] + ".", context_settings=_SETTINGS)
    group.entries = GROUPS[name]
    return group


@click.group(cls=LazyGroup, context_settings=_SETTINGS, name="lamina")
@click.option("--store", type=click.Path(path_type=Path, readable=False), metavar="PATH",
              help="The store's directory (else LAMINA_STORE, else under your data directory).")
@click.version_option(lamina.__version__, "-v", "--version", message="lamina %(version)s")
@click.pass_context
def cli(ctx: click.Context, store: Path | None) -> None:
    """Lamina keeps container images, every byte once, and gives each back byte for byte."""
    ctx.ensure_object(Settings).path = store
