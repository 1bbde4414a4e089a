"""What the commands that move images share: options, results, errors."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

import click
import pytest

from lamina.cli.progress import PULL
from lamina.cli.run import Interrupted
from lamina.cli.transfer_options import Output, transfer_options
from lamina.errors import LaminaError, NotFound

Capture = pytest.CaptureFixture[str]
Body = Callable[[Output], None]


def call(body: Body, *arguments: str) -> None:
    @click.command()
    @click.argument("names", nargs=-1)
    @transfer_options
    def command(names: tuple[str, ...], output: Output) -> None:
        body(output)

    with command.make_context("command", list(arguments)) as context:
        command.invoke(context)


def pulled(output: Output) -> None:
    with output.display(PULL) as progress:
        progress.done("layer", "exists")
    output.note("moved nothing")
    output.result("app:1", "pulled", "app\x1b:1", digest="sha256:1")


@pytest.mark.parametrize(("arguments", "out", "err"), [
    ([], "app\\x1b:1\n", "moved nothing\n"),
    (["-q"], "app\\x1b:1\n", ""),
    (["a", "--quiet", "b"], "app\\x1b:1\n", ""),
])
def test_results_for_people(capsys: Capture, arguments: list[str], out: str, err: str) -> None:
    call(pulled, *arguments)
    shown = capsys.readouterr()
    assert shown.out == out
    assert shown.err.endswith(err)
    assert bool(shown.err) == bool(err)


@pytest.mark.parametrize(("arguments", "events"), [([], ["done", "result"]), (["-q"], ["result"])])
def test_results_for_programs(capsys: Capture, arguments: list[str], events: list[str]) -> None:
    call(pulled, "--format", "json", *arguments)
    shown = capsys.readouterr()
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert [one["event"] for one in told] == events
    assert told[-1] == {"event": "result", "id": "app:1", "status": "pulled", "digest": "sha256:1"}
    assert shown.err == ""


@pytest.mark.parametrize(("problem", "what", "where", "hint"), [
    (NotFound("no such tag", "app:1", "see `lamina tags app`"), "no such tag", "app:1", "see `lamina tags app`"),
    (OSError(errno.ENOSPC, "No space left on device", "/x"), "no space left on device", "/x", ""),
    (click.UsageError("a layout is a directory"), "a layout is a directory", "", ""),
    (MemoryError(), "out of memory", "", ""),
    (Interrupted(2), "interrupted", "", ""),
    (KeyError("x"), "internal error, KeyError: 'x'", "", "set LAMINA_DEBUG=1 to see where"),
])
def test_the_error_that_ends_a_command(capsys: Capture, problem: BaseException, what: str, where: str, hint: str) -> None:
    def fails(output: Output) -> None:
        with output.display(PULL):
            raise problem

    with pytest.raises(type(problem)):
        call(fails, "--format", "json")
    assert json.loads(capsys.readouterr().out) == {"event": "error", "id": "", "what": what, "where": where, "hint": hint}
    with pytest.raises(type(problem)):
        call(fails)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("problem", [BrokenPipeError(), click.exceptions.Exit(1)])
def test_what_is_no_news_is_no_event(capsys: Capture, problem: Exception) -> None:
    def fails(output: Output) -> None:
        raise problem

    with pytest.raises((BrokenPipeError, click.exceptions.Exit)):
        call(fails, "--format", "json")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("events", [False, True])
def test_one_of_several_fails(capsys: Capture, events: bool) -> None:
    Output(events=events).failed(LaminaError("gone", "at", "look"), "app:1")
    shown = capsys.readouterr()
    assert shown.err == "lamina: error: gone, at, look\n"
    event = {"event": "error", "id": "app:1", "what": "gone", "where": "at", "hint": "look"}
    assert [json.loads(line) for line in shown.out.splitlines()] == [event] * events


def test_another_format_is_refused() -> None:
    with pytest.raises(click.UsageError):
        call(pulled, "--format", "table")
