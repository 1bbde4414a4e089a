"""Moments as image configs write them: RFC 3339 with up to nine digits, and Go's zero for "never"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

# Go's zero time; docker shows it for images that name no moment of creation.
NEVER = datetime(1, 1, 1, tzinfo=UTC)
NEVER_TEXT = "0001-01-01T00:00:00Z"

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))"
)


def parse(text: str) -> datetime:
    """The moment in UTC, cut to microseconds; `NEVER` for an empty text or one that is no moment."""
    return _moment(text)[0]


# A listing asks for the same moments three times: to sort, to filter, to show.
@lru_cache(maxsize=4096)
def key(text: str) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds: what moments are compared by."""
    moment, nanoseconds = _moment(text)
    return int(moment.replace(microsecond=0).timestamp()), nanoseconds


def rfc3339(moment: datetime) -> str:
    """As Go's RFC3339Nano writes it: no trailing zeros, `Z` for UTC."""
    moment = moment.astimezone(UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{fraction}Z"


@lru_cache(maxsize=4096)
def _moment(text: str) -> tuple[datetime, int]:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return NEVER, 0
    nanoseconds = int((found[7] or "").ljust(9, "0"))
    try:
        moment = datetime(*(int(part) for part in found.groups()[:6]), nanoseconds // 1000, tzinfo=UTC)  # type: ignore[arg-type,misc]
        if found[8]:
            ahead = timedelta(hours=int(found[9]), minutes=int(found[10]))
            moment = moment - ahead if found[8] == "+" else moment + ahead
    except (ValueError, OverflowError):
        return NEVER, 0
    return moment, nanoseconds
