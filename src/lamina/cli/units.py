"""Sizes and times for people, with docker's rounding and words (go-units)."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
# Go's zero time: what an image without a creation time has.
ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
_LONGEST = (1 << 63) / 1e9  # seconds: a longer time.Duration cannot be


def human_size(count: float, precision: int = 4) -> str:
    """Powers of 1000 and `precision` significant digits: 182MB, 1.05GB, 0B. docker's image lists use 3."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.{precision}g}{_UNITS[unit]}"


def human_duration(seconds: float) -> str:
    """About how long: `About a minute`, `2 weeks`."""
    seconds = max(-_LONGEST, min(_LONGEST, seconds))
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    steps = (
        (seconds < 1, "Less than a second"), (seconds < 2, "1 second"), (seconds < 60, f"{int(seconds)} seconds"),
        (minutes == 1, "About a minute"), (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"), (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"), (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((words for fits, words in steps if fits), f"{int(seconds / 3600) // 24 // 365} years")


def since(created: datetime, now: datetime) -> str:
    """`3 days ago`."""
    return human_duration(int(now.timestamp()) - _seconds(created)) + " ago"


def go_time(created: datetime) -> str:
    """As Go's time.Time prints: `2021-06-01 12:00:00 +0000 UTC`, in local time."""
    local = _local(created)
    return f"{_date(local)} {local:%H:%M:%S %z %Z}"


def rfc3339(created: datetime) -> str:
    """`2021-06-01T12:00:00Z`, in local time."""
    local = _local(created)
    offset = f"{local:%z}"
    return f"{_date(local)}T{local:%H:%M:%S}{'Z' if offset == '+0000' else offset[:3] + ':' + offset[3:]}"


def rate(count: int, seconds: float) -> str:
    """Megabytes (10**6) a second."""
    return f"{count / 1e6 / max(seconds, 1e-3):,.0f} MB/s"


def _seconds(created: datetime) -> int:
    return int((created - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1)


def _date(when: datetime) -> str:
    return f"{when.year:04d}-{when:%m-%d}"  # %Y has no leading zeros everywhere


def _local(created: datetime) -> datetime:
    """Local time, but UTC where the offset would leave the calendar or the platform's tables."""
    return created.astimezone() if 1900 < created.year < 9999 else created.astimezone(UTC)
