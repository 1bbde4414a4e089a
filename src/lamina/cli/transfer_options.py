"""What the commands that move images share: `-q`, `--format json`, the display, and how they tell of results and errors.

    @click.command("pull")
    @click.argument("names", nargs=-1, required=True, metavar="NAME...")
    @transfer_options                                # above `with_store`: an error in opening the store is an event too
    @with_store
    def command(store: ImageStore, names: tuple[str, ...], output: Output) -> None:
        with output.display(PULL) as progress:       # PULL, PUSH or COPY of lamina.cli.progress: docker's words
            result = store.pull(names, progress=progress)
        output.note(f"...")                          # a line for people, on standard error; not with -q or --format json
        output.result(result.name, "pulled", result.name, digest=str(result.digest))

An exception that leaves the command is written as an `error` event, and then told on standard error and by the exit code as
always.  Where one of several images fails and the others go on, call `output.failed(problem, name)` for it and raise
`click.exceptions.Exit(1)` at the end.  In `lamina.cli.table`, `--format` is an option that takes a value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from lamina.cli.progress import display
from lamina.cli.say import error, note, plain
from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.cli.progress import Words
    from lamina.content.progress import Progress

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Output:
    """How a command tells of what it does: `quiet` (-q), `events` (--format json)."""

    quiet: bool = False
    events: bool = False

    def display(self, words: Words | None = None) -> AbstractContextManager[Progress]:
        """The display of progress that suits; it is complete when results are printed."""
        return display(quiet=self.quiet, events=self.events, words=words)

    def note(self, text: str) -> None:
        """A line for people, on standard error."""
        if not self.quiet and not self.events:
            note(text)

    def result(self, name: str, status: str, line: str = "", **more: object) -> None:
        """What one image came to: `line` on standard output if there is one, or an event with `more` as further keys."""
        if self.events:
            from lamina.cli.progress.events import write

            write("result", name, status=status, **more)
        elif line:
            click.echo(plain(line))

    def failed(self, problem: Exception, name: str = "") -> None:
        """One of several things went wrong, the others go on: a line on standard error, and an event."""
        error(problem)
        if self.events:
            self._event(problem, name)

    def _event(self, problem: BaseException, name: str = "") -> None:
        from lamina.cli.progress.events import write_error

        write_error(problem, name)

    def told(self, problem: BaseException) -> None:
        """What ended the command, as an event if those are asked for; the caller raises it further."""
        # Nobody reads any more after a broken pipe, and an exit was told of before.
        if self.events and not isinstance(problem, BrokenPipeError | click.exceptions.Exit):
            self._event(LaminaError(problem.format_message()) if isinstance(problem, click.ClickException) else problem)


def transfer_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `-q/--quiet` and `--format json`; it gets `output`, an `Output`."""

    @click.option("-q", "--quiet", is_flag=True, help="No progress, only results.")
    @click.option("--format", "form", type=click.Choice(["json"]), help="Events for programs, one JSON object a line.")
    @functools.wraps(command)
    def wrapper(*args: object, quiet: bool, form: str | None, **kwargs: object) -> R:
        output = Output(quiet, form == "json")
        try:
            return command(*args, output=output, **kwargs)
        except (Exception, KeyboardInterrupt) as problem:
            output.told(problem)
            raise

    return wrapper
