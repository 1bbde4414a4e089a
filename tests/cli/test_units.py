"""Sizes and durations, by the values that go-units' own rules give."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from lamina.cli.units import ZERO_TIME, go_time, human_duration, human_size, rfc3339, since


@pytest.mark.parametrize(("count", "text"), [
    (0, "0B"), (1, "1B"), (999, "999B"), (1000, "1kB"), (1023, "1.02kB"), (72_800_000, "72.8MB"), (182_000_000, "182MB"),
    (1_048_576_000, "1.05GB"), (999_600_000, "1e+03MB"), (10**12, "1TB"), (-5, "-5B"), (10**27, "1e+03YB"),
])
def test_size_of_three_digits(count: int, text: str) -> None:
    assert human_size(count, 3) == text


@pytest.mark.parametrize(("count", "text"), [(1_048_576_000, "1.049GB"), (123_456, "123.5kB"), (0, "0B"), (16, "16B")])
def test_size_of_four_digits(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (-10, "Less than a second"), (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"),
    (119, "About a minute"), (120, "2 minutes"), (59 * 60 + 59, "59 minutes"), (3600, "About an hour"),
    (89 * 60, "About an hour"), (90 * 60, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
    (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
    (729 * 86400, "24 months"), (730 * 86400, "2 years"), (1e30, "292 years"),
])
def test_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_since_counts_whole_seconds() -> None:
    now = datetime(2024, 1, 1, 0, 1, 0, 999_000, tzinfo=UTC)
    assert since(datetime(2024, 1, 1, tzinfo=UTC), now) == "About a minute ago"


@pytest.mark.parametrize(("when", "printed", "short"), [
    (datetime(2021, 6, 1, 12, 0, 3, 5, tzinfo=UTC), "2021-06-01 14:00:03 +0200 CEST", "2021-06-01T14:00:03+02:00"),
    (ZERO_TIME, "0001-01-01 00:00:00 +0000 UTC", "0001-01-01T00:00:00Z"),
    (datetime(9999, 12, 31, tzinfo=UTC), "9999-12-31 00:00:00 +0000 UTC", "9999-12-31T00:00:00Z"),
])
def test_times_as_go_prints_them(when: datetime, printed: str, short: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert (go_time(when), rfc3339(when)) == (printed, short)
    finally:
        monkeypatch.undo()
        time.tzset()
