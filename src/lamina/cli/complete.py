r"""The answer to a shell that completes: commands, options, stored names, files.

The scripts that `lamina completion` prints call `lamina` with `_LAMINA_COMPLETE` in the environment.  zsh and fish hand the
words over as arguments, up to the one under the cursor; bash hands its line over, since it breaks words at colons.
Each answer is a line: `word`, a tab, the word, a tab, a line of help; or `file`, for the shell to complete by itself.

Click has a completion of its own, but importing it takes 60 of the 100 ms that an answer may take: it is asked for
options only.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lamina.cli.table import ALIASES, COMMANDS, FILES, GROUPS, IMAGE, IMAGES, ROOT_VALUES, SHELLS, Entry

FILE = ("file", "", "")
Answer = tuple[str, str, str]

_PATHS = ("-i", "--input", "-o", "--output", "--store")


def answer(environ: Mapping[str, str]) -> int:
    """Print the answers for what the environment and the arguments say; the exit code."""
    bash = environ["_LAMINA_COMPLETE"] == "bash"
    words = _bash_words(environ) if bash else sys.argv[1:] or [""]
    # bash replaces only what follows the last colon of the word.
    cut = words[-1].rfind(":") + 1 if bash and ":" in environ.get("_LAMINA_BREAKS", "") else 0
    for kind, value, text in answers(words):
        sys.stdout.write(f"{kind}\t{value[cut:]}\t{text}\n")
    return 0


def answers(words: list[str]) -> Iterable[Answer]:
    """What may stand for the last of the words, which follow `lamina`."""
    *before, current = words
    if before and before[-1] in ROOT_VALUES:
        return [FILE]
    store, rest = _root(before)
    entries, path = COMMANDS, []
    while rest and rest[0] in entries:
        path.append(rest.pop(0))
        if path[-1] not in GROUPS or len(path) > 1:
            return _arguments(entries[path[-1]], path, rest, current, store)
        entries = GROUPS[path[-1]]
    if rest:
        return []
    if current.startswith("-"):
        return _options(path, current)
    return [("word", name, entry[1]) for name, entry in entries.items() if name.startswith(current) and name not in ALIASES]


def _root(words: list[str]) -> tuple[str | None, list[str]]:
    """The store named before the command, and the words from the command on."""
    store, rest = None, list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ROOT_VALUES and rest:
            store = rest.pop(0)
        elif option.startswith("--store="):
            store = option.partition("=")[2]
    return store, rest


def _arguments(entry: Entry, path: list[str], rest: list[str], current: str, store: str | None) -> Iterable[Answer]:
    values = entry[3].split()
    if rest and rest[-1] in values:
        return [FILE] if rest[-1] in _PATHS else []
    if current.startswith("-"):
        return _options(path, current)
    given = [word for word, last in zip(rest, ["", *rest], strict=False) if not word.startswith("-") and last not in values]
    if path == ["completion"]:
        return [("word", shell, "") for shell in SHELLS if shell.startswith(current) and not given]
    if entry[2] == FILES:
        return [FILE]
    if entry[2] == IMAGES or (entry[2] == IMAGE and not given):
        return [("word", name, "") for name in _names(store) if name.startswith(current) and name not in given]
    return []


def _names(option: str | None) -> list[str]:
    """The names in the store; none where there is no store or it cannot be read: completion is no place for complaints."""
    from lamina.errors import LaminaError
    from lamina.images.place import stored_names

    try:
        return stored_names(Path(option) if option else None)
    except (LaminaError, OSError):
        return []


def _options(path: list[str], current: str) -> Iterable[Answer]:
    """The options of a command or group, which click knows."""
    import click

    from lamina.cli.app import cli

    ctx = click.Context(cli, info_name="lamina")
    command: click.Command | None = cli
    for name in path:
        command = command.get_command(ctx, name) if isinstance(command, click.Group) else None
    for parameter in command.get_params(ctx) if command else ():
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith(current):
                    yield "word", option, (parameter.help or "").replace("\t", " ").replace("\n", " ")


def _bash_words(environ: Mapping[str, str]) -> list[str]:
    """The words of bash's line up to the cursor, without the first; quotes may be open."""
    line = os.fsencode(environ.get("COMP_LINE", ""))
    line = line[:int(environ.get("COMP_POINT") or len(line))]
    text = os.fsdecode(line)
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(text + closing)
        except ValueError:
            continue
        break
    else:
        words = text.split()
    if not words or (text[-1:].isspace() and not text.endswith("\\ ")):
        words.append("")
    return words[1:] or [""]
