"""What the commands that move several images share: a display that stands between a beginning and its end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from lamina.cli.progress import Relay
from lamina.cli.say import plain
from lamina.content.progress import Silent

if TYPE_CHECKING:
    from lamina.cli.progress import Words
    from lamina.cli.transfer_options import Output


class Teller:
    """`relay` is the progress to hand on; what it says goes to the display that stands, or nowhere."""

    def __init__(self, output: Output, words: Words) -> None:
        self.relay = Relay()
        self._output, self._words = output, words
        self._shown = ExitStack()

    def show(self) -> None:
        """Put a display up."""
        self.relay.shown = self._shown.enter_context(self._output.display(self._words))

    def close(self) -> None:
        """Take the display away; again is harmless."""
        self.relay.shown = Silent()
        self._shown.close()

    def say(self, text: str) -> None:
        """A line for people, on standard output."""
        if not self._output.quiet and not self._output.events:
            click.echo(plain(text))
