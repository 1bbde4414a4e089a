"""From arguments to an exit code: one line for every error, never a traceback, clean-up on a signal.

Exit codes: 0; 1 an error; 125 a call that is wrong; 130, 143, 129 ended by SIGINT, SIGTERM, SIGHUP.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from lamina.cli.app import cli
from lamina.cli.say import error, note, system_words
from lamina.cli.settings import Settings
from lamina.cli.signals import Interrupted, signals
from lamina.errors import LaminaError

USAGE = 125


def run(arguments: Sequence[str], settings: Settings | None = None) -> int:
    """Run one command; the exit code."""
    _standard_streams()
    try:
        with signals():
            code = _invoke(arguments, settings)
            flushed = _flush()
            return code or flushed
    except BrokenPipeError:
        _let_go_of_stdout()
        return 1
    except KeyboardInterrupt as stop:
        note("lamina: interrupted")
        return 128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT)


def _invoke(arguments: Sequence[str], settings: Settings | None) -> int:
    try:
        with cli.make_context("lamina", list(arguments), obj=settings or Settings()) as ctx:
            cli.invoke(ctx)
    except BrokenPipeError:
        raise
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as usage:
        print(usage.format_message())
    except click.UsageError as wrong:
        return _usage(wrong)
    except Exception as problem:
        return _failed(problem)
    return 0


def _failed(problem: Exception) -> int:
    """The one line for whatever went wrong."""
    if isinstance(problem, (LaminaError, OSError)):
        error(problem)
        return problem.exit_code if isinstance(problem, LaminaError) else 1
    if isinstance(problem, MemoryError):
        error("out of memory")
    elif os.environ.get("LAMINA_DEBUG"):
        raise problem
    else:
        error(f"internal error, {type(problem).__name__}: {problem}, set LAMINA_DEBUG=1 to see where")
    return 1


def _flush() -> int:
    """Write out what is buffered; a full disk shows only here."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        _let_go_of_stdout()
        error(f"cannot write to standard output, {system_words(problem)}")
        return 1
    return 0


def _usage(wrong: click.UsageError) -> int:
    path = wrong.ctx.command_path if wrong.ctx else "lamina"
    error(f"{wrong.format_message().rstrip('.')}, see `{path} --help`")
    return USAGE


def _standard_streams() -> None:
    """Make them usable: a closed one would give its number to the next file opened, a catalog perhaps; and what a
    terminal's character set lacks becomes an escape.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """Nobody reads any more: the interpreter's last flush must not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
