"""What a 401 asks for: the `WWW-Authenticate` field (RFC 9110, 11.6.1), from a stranger.

Its grammar is ambiguous on purpose: the commas between challenges are those between the parameters of one.  A token that
`=` follows is a parameter, any other begins a challenge.  Several fields, joined by commas, are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lamina.errors import RegistryError

MAX_TEXT = 16 << 10  # characters of all fields together; a real one has 200
MAX_CHALLENGES = 16
MAX_PARAMETERS = 64  # of all challenges together

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SPACE = re.compile(r"[ \t]*")
_COMMAS = re.compile(r"[ \t,]*")
_NAME = re.compile(_TOKEN)
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
# Possessive, so that a quote that is never closed costs linear time.
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"')
_ESCAPED = re.compile(r"\\(.)")
# Not quite a token: some registries forget the quotes around an address.
_BARE = re.compile(r'[^\s,"]+')
# `Negotiate oYGw…==`: what follows the scheme is one text and no list.
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme that would be taken (in lower case), with its parameters (names in lower case, values as they came)."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> list[Challenge]:
    """The challenges in their order; none for an empty field.

    `RegistryError`: what is no such list.  A parameter given twice makes no sense, and is an error too: nobody could
    tell which realm was meant.  Over a limit likewise.
    """
    if len(text) > MAX_TEXT:
        raise _refused(f"is longer than {MAX_TEXT} characters")
    found: list[Challenge] = []
    parameters = 0
    for scheme, name, value in _parts(text):
        if scheme:
            found.append(Challenge(scheme.lower()))
        else:
            parameters += 1
            _add(found, name.lower(), value)
        if len(found) > MAX_CHALLENGES or parameters > MAX_PARAMETERS:
            raise _refused("holds too many parts")
    return found


def _add(found: list[Challenge], name: str, value: str) -> None:
    if not found:
        raise _refused("begins without a scheme")
    if name in found[-1].parameters:
        raise _refused("gives a parameter twice")
    found[-1].parameters[name] = value


def _parts(text: str) -> Iterator[tuple[str, str, str]]:
    """(scheme, '', '') or ('', name, value), one after the other."""
    place = _end(_COMMAS, text, 0)
    while place < len(text):
        word = _NAME.match(text, place)
        if word is None:
            raise _refused("is malformed")
        equals = _EQUALS.match(text, word.end())
        if equals is None:
            yield word.group(), "", ""
            place = _after_scheme(text, word.end())
        else:
            value, place = _value(text, equals.end())
            yield "", word.group(), value
            place = _separated(text, place)


def _after_scheme(text: str, place: int) -> int:
    """Where the parameters begin; a token68 is passed over, nobody here could answer it."""
    begin = _end(_SPACE, text, place)
    if begin < len(text) and text[begin] != "," and begin == place:
        raise _refused("is malformed")
    one = _TOKEN68.match(text, begin)
    return _end(_COMMAS, text, one.end() if one else begin)


def _value(text: str, place: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, place)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted.group(1)), quoted.end()
    bare = _BARE.match(text, place)
    if bare is None:
        raise _refused("is malformed")
    return bare.group(), bare.end()


def _separated(text: str, place: int) -> int:
    """The start of what follows a parameter: a comma must come, or the end."""
    end = _end(_COMMAS, text, place)
    if end < len(text) and "," not in text[place:end]:
        raise _refused("is malformed")
    return end


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found else place


def _refused(problem: str) -> RegistryError:
    """Without the text itself: it may be long, and is the stranger's."""
    return RegistryError(f"the registry asks for a login in words that make no sense: its WWW-Authenticate {problem}")
