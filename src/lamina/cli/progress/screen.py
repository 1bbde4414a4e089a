"""A block of lines at the end of a terminal that is drawn again in its place, and what others write stands above it.

Each picture is one write: up to the block's first line, each line anew, and all below cleared.  The cursor is left visible
below the block, so that nothing has to be put right if the process is killed.

Why not rich's Live: it takes 60 ms to import, leaves remains when a terminal becomes narrower, sends what is printed to
standard output to its own console, and breaks an error's line by words, so that it cannot be copied.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from lamina.cli.progress.picture import cells

REDRAW = 0.1  # seconds between two pictures
_USUAL = os.terminal_size((80, 24))

Picture = Callable[[int, int], list[str]]  # the lines, none longer than so many columns and no more than so many


def size_of(stream: TextIO) -> os.terminal_size:
    """Columns and rows of the terminal behind a stream; the usual ones where it does not tell."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _USUAL
    return os.terminal_size((size.columns or _USUAL.columns, size.lines or _USUAL.lines))


class Screen:
    """The block on `stream`; its lines come from `picture`.  Used from any thread."""

    def __init__(self, stream: TextIO, picture: Picture, size: Callable[[], os.terminal_size] | None = None) -> None:
        self._stream, self._picture = stream, picture
        self._size = size or (lambda: size_of(stream))
        self._drawn: list[str] = []
        self._at = _USUAL
        # Whatever prints while a picture is drawn (a finalizer, in the same thread) must not wait for itself.
        self.lock = threading.RLock()
        self._over = False

    def draw(self) -> None:
        """The block as it is now, if that is another than it was."""
        with self.lock:
            size = self._size()
            # The last column is left free: a terminal may wrap once it is written to.
            lines = [self._encodable(line) for line in self._picture(size.columns - 1, size.lines - 1)]
            if self._over or (lines == self._drawn and (size == self._at or not lines)):
                return
            self._write(self._back(size) + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            self._drawn, self._at = lines, size

    def above(self, stream: TextIO, text: str) -> None:
        """Whole lines that another writes, to `stream`: the block makes way for them and follows below."""
        with self.lock:
            if not self._over and self._drawn:
                self._write(self._back(self._size()) + "\x1b[J")
                self._drawn = []
            stream.write(text)
            stream.flush()
            self.draw()

    def close(self) -> None:
        """The block stays as it is from now on."""
        with self.lock:
            try:
                self.draw()
            finally:
                self._over = True

    def _back(self, size: os.terminal_size) -> str:
        """To the first column of the block's first row.

        A terminal that became narrower has wrapped the lines that no longer fit (nearly all do; xterm cuts them).
        """
        rows = sum(max(1, -(-cells(line) // size.columns)) for line in self._drawn)
        rows = min(rows, size.lines - 1)
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _encodable(self, line: str) -> str:
        """An escape in place of a character would make the line longer than it may be."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return line if line.isascii() else line.encode(encoding, "replace").decode(encoding)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._over = True  # the terminal is gone; the work goes on


class _Above(io.TextIOBase):
    """Stands for a standard stream while there is a block: what is written stands above it, line by line."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen, self._stream, self._rest = screen, stream, ""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is needed, not {type(text).__name__}")
        with self._screen.lock:
            lines, newline, self._rest = (self._rest + text).rpartition("\n")
            if newline:
                self._screen.above(self._stream, lines + newline)
        return len(text)

    def finish(self) -> None:
        """Write what has no end of line yet."""
        with self._screen.lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._stream.write(rest)

    def flush(self) -> None:
        """Whole lines are out at once; what has no end yet would stand in the block's way."""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def live(picture: Picture) -> Iterator[Screen]:
    """A block on standard error that is drawn ten times a second, and once more at the end, whatever the end is."""
    screen = Screen(sys.stderr, picture)
    stop = threading.Event()

    def draw() -> None:
        while not stop.wait(REDRAW):
            screen.draw()

    thread = threading.Thread(target=draw, name="progress", daemon=True)
    with _made_way(screen):
        thread.start()
        try:
            yield screen
        finally:
            stop.set()
            thread.join()


@contextmanager
def _made_way(screen: Screen) -> Iterator[None]:
    """While it lasts, standard error, and standard output if it is a terminal too, write above the block."""
    # Of standard output only a terminal's is touched: a result on its way into a pipe is nobody's picture.
    names = [name for name in ("stdout", "stderr") if name == "stderr" or sys.stdout.isatty()]
    before: dict[str, TextIO] = {name: getattr(sys, name) for name in names}
    ours = {name: _Above(screen, stream) for name, stream in before.items()}
    try:
        for name, stream in ours.items():
            setattr(sys, name, cast("TextIO", stream))
        yield
    finally:
        for name, stream in ours.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])
        screen.close()
        for stream in ours.values():
            stream.finish()
