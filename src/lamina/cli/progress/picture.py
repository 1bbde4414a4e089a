"""The lines of the display, as docker words them: pure functions from what is known to texts that fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from lamina.cli.progress.tally import Item, Summary
from lamina.cli.progress.words import LABEL, WAITING, Words, title, worded
from lamina.cli.units import human_size

LONGEST_BAR, SHORTEST_BAR = 50, 8
_MUCH = 99 * 3600  # seconds: a longer guess is none


def chosen(live: list[Item], ended: list[Item], rows: int) -> list[Item]:
    """The items to show in so many rows, in the order in which they began: those at work, the last that ended, those
    that wait.
    """
    working = [item for item in live if item.status != WAITING][:rows]
    waiting = [item for item in live if item.status == WAITING]
    room = rows - len(working)
    last = min(len(ended), max(room - len(waiting), room // 2))
    shown = working + waiting[:room - last] + (ended[-last:] if last else [])
    return sorted(shown, key=lambda item: item.order)


def running_line(item: Item, words: Words | None, width: int) -> str:
    """`fedcba987654: Downloading [====>     ]  1.2MB/4MB`, in at most `width` columns."""
    left = _named(item, worded(words, item.status), width)
    if not item.count or item.status == "verifying":
        return clip(left, width)
    count = human_size(item.count, 3)
    if item.total is None:
        return clip(f"{left} {count}", width)
    right = f"{count}/{human_size(item.total, 3)}"
    room = min(width - cells(left) - len(right) - 5, LONGEST_BAR)
    return clip(f"{left} {_bar(item.count, item.total, room)}  {right}" if room >= SHORTEST_BAR else f"{left} {right}", width)


def ended_line(item: Item, words: Words | None, width: int) -> str:
    """`fedcba987654: Pull complete 4MB`, in at most `width` columns."""
    size = f" {human_size(item.count, 3)}" if item.count else ""
    return clip(_named(item, worded(words, item.status), width) + size, width)


def summary_line(all_: Summary, noun: str, width: int) -> str:
    """`3 of 7 layers, 120MB of 410MB, 38MB/s (31MB/s overall), 8s left`, or as much of it as fits."""
    forms = list(_summaries(all_, noun))
    return clip(next((form for form in forms if len(form) <= width), forms[-1]), width)


def _summaries(all_: Summary, noun: str) -> Iterator[str]:
    """From the longest to the shortest."""
    count, known = human_size(all_.current, 3), human_size(all_.known, 3)
    partial = not all_.open and all_.known > all_.current
    ended = all_.ended == all_.items
    lately, overall = f"{human_size(all_.overall if ended else all_.lately, 3)}/s", f"{human_size(all_.overall, 3)}/s"
    left = f"{_time(all_.left)} left" if all_.left is not None and all_.left < _MUCH else ""
    moved = [f"{count} of {known}" if partial else count] if all_.current or partial else []
    rate = [lately] if all_.overall else []
    both = [f"{lately} ({overall} overall)"] if rate and lately != overall else rate
    head = f"{all_.ended} of {all_.items} {noun}"
    last = [left] if left else []
    yield ", ".join([head, *moved, *both, *last])
    yield ", ".join([head, *moved, *rate, *last])
    head = f"{all_.ended}/{all_.items}"
    moved = [f"{count}/{known}" if partial else part for part in moved]
    yield ", ".join([head, *moved, *rate, *last])
    yield ", ".join([head, *moved, *rate])
    yield ", ".join([head, *moved])
    yield head


def _time(seconds: float) -> str:
    """`8s`, `2m05s`, `1h02m`; the last second counts as one."""
    whole = int(seconds) + 1 if seconds % 1 else int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _named(item: Item, status: str, width: int) -> str:
    name = title(item.key, item.label, min(LABEL, max(12, width // 3)))
    return f"{name}: {status}" if status else f"{name}:"


def _bar(count: int, total: int, room: int) -> str:
    full = min(room, room * count // total) if total else room
    return "[" + ("=" * full + ">")[:room].ljust(room) + "]"


def clip(text: str, width: int) -> str:
    """As much of it as so many columns hold."""
    if len(text) <= width and text.isascii():
        return text
    used = 0
    for place, char in enumerate(text):
        used += _cell(char)
        if used > width:
            return text[:place]
    return text


def cells(text: str) -> int:
    """How many columns a text takes."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
