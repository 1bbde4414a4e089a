"""Completion: the answers, and that bash takes them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stub import invoke
from lamina.cli import complete
from lamina.cli.complete import answers
from lamina.errors import StoreLocked
from lamina.images import place
from lamina.reference import Reference

SOURCE = Path(__file__).parents[2] / "src"
NAMES = ["nginx:1", "nginx:latest", "node:18"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A store with three names; the paths it was opened by."""
    paths: list[object] = []

    def stored_names(path: object) -> list[str]:
        paths.append(path)
        return NAMES

    monkeypatch.setattr(place, "stored_names", stored_names)
    yield paths


def words(*line: str) -> list[str]:
    return [value if kind == "word" else "FILE" for kind, value, _ in answers(list(line))]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("line", "found"), [
    (("im",), ["import", "images", "image"]),
    (("pus",), ["push"]),
    (("push", "no"), ["node:18"]),
    (("zz",), []),
    (("image", "l"), ["load", "ls"]),
    (("image", ""), ["ls", "rm", "pull", "push", "load", "save", "import", "inspect", "history", "tag", "prune"]),
    (("system", "d"), ["df"]),
    (("rmi", "ng"), ["nginx:1", "nginx:latest"]),
    (("rmi", "-f", "nginx:1", "n"), ["nginx:latest", "node:18"]),
    (("image", "rm", "no"), ["node:18"]),
    (("history", "no"), ["node:18"]),
    (("history", "node:18", ""), []),
    (("tag", "node:18", ""), []),
    (("save", "-o", ""), ["FILE"]),
    (("save", "-o", "x.tar", "no"), ["node:18"]),
    (("save", "--format", ""), []),
    (("load", "a"), ["FILE"]),
    (("--store", ""), ["FILE"]),
    (("--store=/x", "tr"), ["tree"]),
    (("completion", ""), ["bash", "zsh", "fish"]),
    (("nope", ""), []),
    (("save", "--f"), ["--format"]),
    (("image", "ls", "--d"), ["--digests"]),
    (("--s",), ["--store"]),
    (("gc", ""), []),
])
def test_answers(line: tuple[str, ...], found: list[str]) -> None:
    assert sorted(words(*line)) == sorted(found)


def test_names_come_from_the_store_of_the_line(opened: list[object]) -> None:
    words("--store", "/a", "rmi", "")
    words("--store=/b", "rmi", "")
    words("rmi", "")
    assert opened == [Path("/a"), Path("/b"), None]


@pytest.mark.parametrize("error", [StoreLocked("locked"), PermissionError("no")])
def test_a_store_in_trouble_completes_to_nothing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def stored_names(path: object) -> list[str]:
        raise error

    monkeypatch.setattr(place, "stored_names", stored_names)
    assert words("rmi", "") == []


@pytest.mark.parametrize(("line", "found"), [
    ("lamina rmi 'my im", ["rmi", "my im"]), ("lamina rmi ", ["rmi", ""]), ("lamina ", [""]), ("lamina", [""]),
    ("lamina a\\ b", ["a b"]), ('lamina "x" y', ["x", "y"]),
])
def test_words_of_a_bash_line(line: str, found: list[str]) -> None:
    assert complete._bash_words({"COMP_LINE": line + "rest", "COMP_POINT": str(len(line))}) == found


def bash(tmp_path: Path, line: str, script: str) -> list[str]:
    """What bash itself makes of the script for a line."""
    program = tmp_path / "lamina"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lamina "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    text = f"""{script}
compopt() {{ COMPREPLY+=("<files>"); }}
COMP_LINE={line!r} COMP_POINT={len(line)}
_lamina_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), "LAMINA_STORE": str(tmp_path / "none")})
    return done.stdout.split()


@pytest.mark.parametrize(("line", "found"), [
    ("lamina his", ["history"]), ("lamina load ", ["<files>"]), ("lamina image pr", ["prune"]),
    ("lamina completion z", ["zsh"]),
])
def test_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, found: list[str]) -> None:
    assert bash(tmp_path, line, invoke(capsys, "completion", "bash").out) == found


@pytest.mark.usefixtures("opened")
def test_bash_gets_what_follows_the_colon(capsys: pytest.CaptureFixture[str]) -> None:
    complete.answer({"_LAMINA_COMPLETE": "bash", "COMP_LINE": "lamina rmi nginx:l", "_LAMINA_BREAKS": ' "=:'})
    assert capsys.readouterr().out == "word\tlatest\t\n"
    complete.answer({"_LAMINA_COMPLETE": "bash", "COMP_LINE": "lamina rmi nginx:l"})
    assert capsys.readouterr().out == "word\tnginx:latest\t\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_call_lamina(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert f"_LAMINA_COMPLETE={shell}" in invoke(capsys, "completion", shell).out


@pytest.mark.parametrize("name", ["nginx", "library/nginx:1", "a/b", "docker.io/library/a/b:2", "quay.io/library/x",
                                  "localhost:5000/x:1", "docker.io/x/y"])
def test_names_are_familiar_as_references_are(name: str) -> None:
    reference = Reference.parse(name)
    assert place.familiar(str(reference)) == reference.familiar()
