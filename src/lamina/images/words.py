"""Words of Dockerfile instructions: split at blanks outside quotes; then quotes, escapes, variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamina.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:[-+])([^}]*))?\}")


def split_words(text: str) -> list[str]:
    """The words of a line, quotes and backslashes still in them."""
    words: list[str] = []
    word, quote, place = "", "", 0
    while place < len(text):
        character = text[place]
        if character == "\\" and quote != "'" and place + 1 < len(text):
            word += text[place:place + 2]
            place += 2
            continue
        if not quote and character in " \t":
            words += [word] if word else []
            word = ""
        else:
            word += character
            if quote:
                quote = "" if character == quote else quote
            elif character in "\"'":
                quote = character
        place += 1
    if quote:
        raise UsageError("unexpected end of statement while looking for matching quote", text[:160])
    return [*words, word] if word else words


def expand(word: str, environment: Mapping[str, str]) -> str:
    """The word without quotes and escapes; `$NAME`, `${NAME}`, `${NAME:-else}`, `${NAME:+then}` replaced."""
    out, quote, place = "", "", 0
    while place < len(word):
        character = word[place]
        place += 1
        if character == quote:
            quote = ""
        elif quote == "'":
            out += character
        elif character in "\"'" and not quote:
            quote = character
        elif character == "\\" and place < len(word):
            # Within double quotes a backslash stands for itself, but before what it can escape there.
            out += ("" if not quote or word[place] in '"$\\' else "\\") + word[place]
            place += 1
        elif character == "$":
            value, place = _variable(word, place, environment)
            out += value
        else:
            out += character
    if quote:
        raise UsageError("unexpected end of statement while looking for matching quote", word[:160])
    return out


def _variable(word: str, place: int, environment: Mapping[str, str]) -> tuple[str, int]:
    """The value of what stands behind a dollar sign, and the place behind it."""
    if word.startswith("{", place):
        found = _BRACED.match(word, place + 1)
        if found is None:
            raise UsageError("bad substitution", word[:160])
        name, operator, other = found[1], found[2], found[3]
        value = environment.get(name, "")
        if operator == ":-":
            value = value or expand(other, environment)
        elif operator == ":+":
            value = expand(other, environment) if value else ""
        return value, found.end()
    found = _NAME.match(word, place)
    return (environment.get(found[0], ""), found.end()) if found else ("$", place)
