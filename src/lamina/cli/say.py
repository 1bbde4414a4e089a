"""Text on its way to a person: nothing hostile in it, and one line where one is due."""

from __future__ import annotations

import os
import re
import sys

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LONGEST = 4000  # characters of one message; a name from an archive may be megabytes


def plain(text: str) -> str:
    r"""The text with control, direction and undecodable characters as escapes (`\n`, `\x1b`, `\u202e`)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def plain_json(document: str) -> str:
    """JSON text, the same value, with what may steer a terminal as escapes: C1 and DEL, marks of direction and of lines.

    All else that steers one is an escape already, in JSON.
    """
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def note(text: str) -> None:
    """One line on standard error."""
    short = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    print(plain(short), file=sys.stderr, flush=True)


def error(what: object) -> None:
    """`lamina: error: ...`, one line."""
    note(f"lamina: error: {system_words(what) if isinstance(what, OSError) else what}")


def system_words(problem: OSError) -> str:
    """What the system refused and on which files, as `what, where`."""
    what = problem.strerror or str(problem) or type(problem).__name__
    names = [os.fsdecode(name) for name in (problem.filename, problem.filename2) if isinstance(name, (str, bytes))]
    return ", ".join([what[:1].lower() + what[1:], *names])


def warning(text: object) -> None:
    """`lamina: warning: ...`, one line."""
    note(f"lamina: warning: {text}")
