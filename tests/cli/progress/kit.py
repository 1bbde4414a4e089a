"""A clock that is set, digests, and a terminal that shows what it was sent."""

from __future__ import annotations

import io
import os
import re

from lamina.cli.progress.picture import cells

_PARTS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def digest(number: int) -> str:
    return f"sha256:{number:012x}{'0' * 52}"


class Terminal(io.StringIO):
    """The few sequences that a display may use, wrapping and the wrapping anew of a terminal that becomes narrower.

    `rows` is all that was shown, from the first line; the cursor moves up by at most the terminal's height.
    """

    encoding = "utf-8"

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.columns, self.lines = columns, lines
        self.rows: list[str] = [""]
        self.row = self.column = 0
        self.wrapped = 0  # how often a character did not fit into its row
        self.writes = 0

    def size(self) -> os.terminal_size:
        return os.terminal_size((self.columns, self.lines))

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes += 1
        assert "".join(match[0] for match in _PARTS.finditer(text)) == text, f"unknown to the terminal: {text!r}"
        for count, letter, back, newline, char in _PARTS.findall(text):
            if letter:
                self._sequence(letter, int(count or 1))
            elif back:
                self.column = 0
            elif newline:
                self._down()
            else:
                self._put(char)
        return len(text)

    def shown(self) -> list[str]:
        """The rows without empty ones at the end."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def narrow(self, columns: int) -> None:
        """Become narrower: rows that are too long are broken, the cursor stays with its text."""
        self.columns = columns
        rows: list[str] = []
        for number, row in enumerate(self.rows):
            if number == self.row:
                self.row = len(rows)
            rows += [row[at:at + columns] for at in range(0, max(1, len(row)), columns)]
        self.rows = rows

    def _sequence(self, letter: str, count: int) -> None:
        if letter == "A":
            top = max(0, len(self.rows) - self.lines)
            self.row = max(top, self.row - count)
        elif letter == "K":
            self.rows[self.row] = self.rows[self.row][:self.column]
        elif letter == "J":
            self.rows[self.row] = self.rows[self.row][:self.column]
            del self.rows[self.row + 1:]
        else:
            raise AssertionError(f"unknown to the terminal: {letter}")

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append("")

    def _put(self, char: str) -> None:
        if self.column + cells(char) > self.columns:
            self.wrapped += 1
            self._down()
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[:self.column] + char + row[self.column + 1:]
        self.column += 1
