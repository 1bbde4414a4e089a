"""The lines of the display: docker's words, and never more columns than there are."""

from __future__ import annotations

import pytest

from cli.progress.kit import digest
from lamina.cli.progress.picture import cells, chosen, clip, ended_line, running_line, summary_line
from lamina.cli.progress.tally import Item, Summary
from lamina.cli.progress.words import COPY, PULL, PUSH, Words, title


def item(status: str, count: int = 0, total: int | None = 4_000_000, key: str = digest(0xfedcba987654), order: int = 0) -> Item:
    return Item(key, "", total, order, 0.0, status, count)


@pytest.mark.parametrize(("status", "count", "total", "line"), [
    ("waiting", 0, 4_000_000, "fedcba987654: Waiting"),
    ("", 0, 4_000_000, "fedcba987654: Preparing"),
    ("downloading", 0, 4_000_000, "fedcba987654: Downloading"),
    ("downloading", 1_000_000, 4_000_000, "fedcba987654: Downloading [======>                   ]  1MB/4MB"),
    ("downloading", 4_000_000, 4_000_000, "fedcba987654: Downloading [==========================]  4MB/4MB"),
    ("downloading", 9_000_000, 4_000_000, "fedcba987654: Downloading [==========================]  9MB/4MB"),
    ("downloading", 1_234_567, None, "fedcba987654: Downloading 1.23MB"),
    ("verifying", 4_000_000, 4_000_000, "fedcba987654: Verifying"),
    ("odd\x1b[2J", 0, None, "fedcba987654: Odd\\x1b[2J"),
])
def test_under_way(status: str, count: int, total: int | None, line: str) -> None:
    assert running_line(item(status, count, total), PULL, 63) == line


def test_a_bar_fits_or_is_left_out() -> None:
    one = item("downloading", 123_456_789, 1_234_567_890)
    assert running_line(one, PULL, 200) == f"fedcba987654: Downloading [=====>{' ' * 44}]  123MB/1.23GB"
    assert running_line(one, PULL, 39) == "fedcba987654: Downloading 123MB/1.23GB"
    assert running_line(one, PULL, 20) == "fedcba987654: Downlo"


@pytest.mark.parametrize("total", [0, 1, 7])
def test_small_totals(total: int) -> None:
    assert running_line(item("downloading", 1, total), PULL, 80).endswith(f"1B/{total}B")


@pytest.mark.parametrize(("words", "status", "line"), [
    (PULL, "loaded", "Pull complete"), (PULL, "exists", "Already exists"), (PULL, "mounted", "Mounted"),
    (PUSH, "pushed", "Pushed"), (PUSH, "exists", "Layer already exists"), (PUSH, "mounted", "Mounted"),
    (PUSH, "Mounted from a/b", "Mounted from a/b"), (COPY, "exists", "Already exists"), (COPY, "loaded", "Copied"),
    (None, "loaded", "loaded"), (None, "exists", "exists"),
])
def test_ends(words: Words | None, status: str, line: str) -> None:
    assert ended_line(item(status), words, 80) == f"fedcba987654: {line}"
    assert ended_line(item(status, 4_000_000), words, 80) == f"fedcba987654: {line} 4MB"


ALL = Summary(7, 3, 120_000_000, 410_000_000, False, 38e6, 31e6, 7.63)


@pytest.mark.parametrize(("width", "line"), [
    (79, "3 of 7 layers, 120MB of 410MB, 38MB/s (31MB/s overall), 8s left"),
    (62, "3 of 7 layers, 120MB of 410MB, 38MB/s, 8s left"),
    (39, "3/7, 120MB/410MB, 38MB/s, 8s left"),
    (30, "3/7, 120MB/410MB, 38MB/s"),
    (20, "3/7, 120MB/410MB"),
    (9, "3/7"),
    (2, "3/"),
    (0, ""),
])
def test_the_sum_says_what_fits(width: int, line: str) -> None:
    assert summary_line(ALL, "layers", width) == line


@pytest.mark.parametrize(("all_", "line"), [
    (Summary(7, 7, 410_000_000, 410_000_000, False, 1e6, 31e6, None), "7 of 7 layers, 410MB, 31MB/s"),
    (Summary(7, 7), "7 of 7 layers"),
    (Summary(7, 0, 0, 1000), "0 of 7 layers, 0B of 1kB"),
    (Summary(7, 3, 120_000_000, 410_000_000, True, 38e6, 38e6), "3 of 7 layers, 120MB, 38MB/s"),
    (Summary(2, 1, 1, 2, False, 1, 1, 119.5), "1 of 2 layers, 1B of 2B, 1B/s, 2m00s left"),
    (Summary(2, 1, 1, 2, False, 1, 1, 3720), "1 of 2 layers, 1B of 2B, 1B/s, 1h02m left"),
    (Summary(2, 1, 1, 2, False, 1, 1, 1e9), "1 of 2 layers, 1B of 2B, 1B/s"),
])
def test_what_the_sum_says(all_: Summary, line: str) -> None:
    assert summary_line(all_, "layers", 100) == line


def test_few_items_are_all_shown_in_their_order() -> None:
    live = [item("downloading", key="c", order=2), item("waiting", key="d", order=3)]
    ended = [item("loaded", key="b", order=1), item("exists", key="a", order=0)]
    assert [one.key for one in chosen(live, ended, 4)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("rows", "keys"), [
    (6, ["e8", "e9", "w0", "w1", "r0", "r1"]), (3, ["w0", "r0", "r1"]), (2, ["r0", "r1"]), (1, ["r0"]), (0, []),
    (30, [f"e{number}" for number in range(10)] + [f"w{number}" for number in range(10)] + ["r0", "r1"]),
])
def test_those_at_work_come_first(rows: int, keys: list[str]) -> None:
    ended = [item("loaded", key=f"e{number}", order=number) for number in range(10)]
    waiting = [item("waiting", key=f"w{number}", order=10 + number) for number in range(10)]
    working = [item("downloading", key=f"r{number}", order=20 + number) for number in range(2)]
    assert [one.key for one in chosen(waiting + working, ended, rows)] == keys


def test_columns_of_wide_characters() -> None:
    assert cells("ab") == 2
    assert cells("日本") == 4
    assert cells("e\u0301") == 1
    assert clip("日本", 3) == "日"
    assert clip("ab", 1) == "a"
    assert clip("…日", 3) == "…日"


def test_long_names_leave_room() -> None:
    one = Item("path", "a/very/long/path/to/some/archive.tar", 10_000_000, 0, 0.0, "loading", 5_000_000)
    assert running_line(one, None, 39) == "a/ver…ive.tar: loading 5MB/10MB"
    assert running_line(one, None, 120).startswith(f"{title('path', one.label)}: loading [")
