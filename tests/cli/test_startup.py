"""What start-up imports: time is not asserted, the modules that cost it are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = {"numpy", "zstandard", "rich", "isal", "blake3", "hypothesis"}


def imported(code: str, **environ: str) -> tuple[str, set[str]]:
    """What a fresh interpreter prints, and the top-level modules that it has imported at the end."""
    text = ("import sys, atexit\n"
            "atexit.register(lambda: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr))\n" + code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), **environ})
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_version_imports_not_even_click(option: str) -> None:
    out, modules = imported(f"sys.argv[1:] = [{option!r}]\nfrom lamina.cli import main; main()")
    assert out.startswith("lamina 0.")
    assert not modules & (HEAVY | {"click", "sqlite3", "platformdirs", "inspect"})


def test_completion_of_commands_imports_not_even_click() -> None:
    out, modules = imported("sys.argv[1:] = ['im']\nfrom lamina.cli import main; main()", _LAMINA_COMPLETE="zsh")
    assert out.startswith("word\timport\t")
    assert not modules & (HEAVY | {"click", "sqlite3", "platformdirs", "inspect"})


def test_completion_of_names_imports_nothing_large(tmp_path: Path) -> None:
    code = f"import lamina; lamina.open({str(tmp_path / 'store')!r}).close()"
    imported(code)
    out, modules = imported("sys.argv[1:] = ['rmi', '']\nfrom lamina.cli import main; main()", _LAMINA_COMPLETE="fish",
                            LAMINA_STORE=str(tmp_path / "store"))
    assert out == ""
    assert "sqlite3" in modules
    assert not modules & (HEAVY | {"click"})


@pytest.mark.parametrize("words", [["images"], ["inspect", "nope"], ["tag", "a"], ["--help"]])
def test_commands_that_only_look_import_nothing_large(tmp_path: Path, words: list[str]) -> None:
    # It ends without the interpreter's own clean-up, in which the list of modules is printed.
    code = f"sys.argv[1:] = {words!r}\nimport os; os._exit = sys.exit\nfrom lamina.cli import main; main()"
    imported(code, LAMINA_STORE=str(tmp_path))
    _, modules = imported(code, LAMINA_STORE=str(tmp_path))
    assert "click" in modules
    assert not modules & HEAVY


def test_help_imports_no_command() -> None:
    code = ("from lamina.cli.run import run\nrun(['--help'])\n"
            "print([name for name in sys.modules if name.startswith('lamina.cli.commands')])")
    assert imported(code)[0].endswith("\n[]\n")
