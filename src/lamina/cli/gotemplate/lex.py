"""A template's text as tokens (text/template, "Text and spaces" and "Arguments")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lamina.cli.gotemplate.errors import TemplateError

MAX_SOURCE = 64 * 1024  # characters of a template; docker's longest is below 200

_SPACE = " \t\r\n"
_TOKEN = re.compile(r"""
    (?P<close>[ \t\r\n]+-\}\}|\}\})
  | (?P<space>[ \t\r\n]+)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<number>[+-]?[0-9]+(?:\.[0-9]+)?\b)
  | (?P<field>(?:\.[^\W\d]\w*)+)
  | (?P<dot>\.)
  | (?P<variable>\$\w*(?:\.[^\W\d]\w*)*)
  | (?P<word>[^\W\d]\w*)
  | (?P<sign>:=|=|\||\(|\)|,)
""", re.VERBOSE)
_COMMENT = re.compile(r"/\*.*?\*/([ \t\r\n]+-)?\}\}", re.DOTALL)
_ESCAPE = re.compile(r"""\\(?:[abfnrtv\\'"]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3})""")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


@dataclass(frozen=True, slots=True)
class Token:
    """One piece: `kind` is text, open, close or a group of the pattern; `spaced` tells of white space before it."""

    kind: str
    text: str
    line: int
    spaced: bool = False


def tokens(source: str) -> Iterator[Token]:
    """All tokens in order; each action stands between an open and a close."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"longer than {MAX_SOURCE} characters")
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        opening = source[start + 2:start + 4]
        trim_before = start >= 0 and opening[:1] == "-" and opening[1:] != "" and opening[1:] in _SPACE
        if trim:
            text = text.lstrip(_SPACE)
        if trim_before:
            text = text.rstrip(_SPACE)
        if text:
            yield Token("text", text, _line(source, position))
        if start < 0:
            return
        inside = start + 2
        if trim_before:
            inside += len(source[inside + 1:]) - len(source[inside + 1:].lstrip(_SPACE)) + 1
        if source.startswith("/*", inside):
            position, trim = _comment(source, inside)
            continue
        yield Token("open", "{{", _line(source, start))
        for token, end in _action(source, inside):
            yield token
            position, trim = end, token.text.startswith(tuple(_SPACE))


def _comment(source: str, start: int) -> tuple[int, bool]:
    found = _COMMENT.match(source, start)
    if found is None:
        raise TemplateError("unclosed comment", _line(source, start))
    return found.end(), found.group(1) is not None


def _action(source: str, position: int) -> Iterator[tuple[Token, int]]:
    """The tokens of one action up to its close, each with the place behind it."""
    spaced = False
    line = _line(source, position)
    while position < len(source):
        found = _TOKEN.match(source, position)
        if found is None:
            raise TemplateError(f"unexpected {source[position]!r} in an action", line)
        position, kind = found.end(), found.lastgroup or ""
        if kind == "space":
            spaced = True
            continue
        yield Token(kind, found.group(), line, spaced), position
        spaced = False
        if kind == "close":
            return
    raise TemplateError("unclosed action", line)


def unquote(token: Token) -> str:
    """What a quoted or raw string stands for."""
    if token.kind == "raw":
        return token.text[1:-1]
    text = token.text[1:-1]
    if "\\" in _ESCAPE.sub("", text):
        raise TemplateError(f"unknown escape in {token.text}", token.line)
    return _ESCAPE.sub(lambda found: _unescape(found.group()[1:], token.line), text)


def _unescape(code: str, line: int) -> str:
    if code in _SIMPLE:
        return _SIMPLE[code]
    value = int(code[1:], 16) if code[0] in "xuU" else int(code, 8)
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        raise TemplateError(f"escape \\{code} is no character", line)
    return chr(value)


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1
