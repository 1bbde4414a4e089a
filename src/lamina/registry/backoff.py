"""When to try again: Retry-After (RFC 9110, 10.2.3) where a registry says it, else longer each time, with jitter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from lamina.registry.timings import Timings

# What asks for patience rather than saying no; 501 and 505 stay what they are.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def passes(status: int) -> bool:
    """Whether another try may get another answer."""
    return status in _PASSING or 520 <= status < 600  # Above 520: gateways of clouds.


def pause(attempt: int, headers: Mapping[str, str], timings: Timings) -> float:
    """Seconds to wait after the try of that number (0 is the first), given the head of its answer.

    Half to all of the back-off, so that clients that failed together do not come again together.  A Retry-After counts
    if it is longer, up to the cap: what is beyond our patience is tried then all the same, for want of anything better.
    """
    wait: float = min(timings.backoff * 2 ** min(attempt, 30), timings.backoff_cap)
    wait *= 0.5 + timings.jitter() / 2
    return max(wait, min(_retry_after(headers.get("Retry-After", ""), timings), timings.retry_after_cap))


def _retry_after(value: str, timings: Timings) -> float:
    """Seconds or an HTTP date; what is neither says nothing."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if value.isascii() and value.isdigit():
        return timings.retry_after_cap
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - timings.now())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
