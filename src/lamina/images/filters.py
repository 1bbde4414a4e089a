"""Filters of `images` and `prune`: docker's names, rules of combination, and words.

Patterns of `reference` are alternatives; every `label` must be there; `label!` puts aside what has all labels
that it names; `before` and `since` compare moments of creation, and the last one given counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lamina.errors import UsageError
from lamina.images import times
from lamina.images.patterns import matches
from lamina.reference import Reference

LISTING = frozenset(("dangling", "label", "label!", "before", "since", "until", "reference", "pinned"))
PRUNING = frozenset(("dangling", "label", "label!", "until"))

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d){0,2})(?:\.(\d{1,9}))?)?(Z|z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?")

Moment = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing keeps.

    `dangling`, `pinned`: only those, only others, or (None) both.  `before`, `since`, `until`: moments in seconds and
    nanoseconds; the first two exclude the moment itself, the last includes it.
    """

    dangling: bool | None = None
    labels: tuple[tuple[str, str | None], ...] = ()
    without: tuple[tuple[str, str | None], ...] = ()
    before: Moment | None = None
    since: Moment | None = None
    until: Moment | None = None
    references: tuple[str, ...] = ()
    pinned: bool | None = None

    def meets_age(self, age: Moment) -> bool:
        return ((self.before is None or age < self.before) and (self.since is None or age > self.since)
                and (self.until is None or age <= self.until))

    @property
    def needs_labels(self) -> bool:
        return bool(self.labels or self.without)

    def meets_labels(self, labels: Mapping[str, str]) -> bool:
        return _has_all(self.labels, labels) and not (self.without and _has_all(self.without, labels))

    def meets_reference(self, reference: Reference) -> bool:
        return not self.references or any(matches(pattern, reference) for pattern in self.references)


def parse_filters(
    texts: Sequence[str],
    accepted: frozenset[str],
    created: Callable[[str], Moment] | None = None,
    now: datetime | None = None,
) -> Filters:
    """Filters from `name=value` texts; `created` tells when an image was made, for before and since."""
    values: dict[str, list[str]] = {}
    for text in texts:
        name, value = _split(text)
        if name not in accepted:
            raise UsageError(f"Invalid filter '{name}'", hint=f"known are {', '.join(sorted(accepted))}")
        if value not in values.setdefault(name, []):
            values[name].append(value)
    moments = {name: created(values[name][-1]) for name in ("before", "since") if created and name in values}
    return Filters(
        dangling=_flag("dangling", values.get("dangling", [])),
        pinned=_flag("pinned", values.get("pinned", [])),
        labels=_pairs(values.get("label", [])),
        without=_pairs(values.get("label!", [])),
        before=moments.get("before"),
        since=moments.get("since"),
        until=_until(values.get("until", []), now or datetime.now(UTC)),
        references=tuple(values.get("reference", [])),
    )


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError("bad format of filter (expected name=value)", text[:160])
    return name.strip().lower(), value.strip()


def _flag(name: str, values: list[str]) -> bool | None:
    if not values:
        return None
    if "true" in values:
        return True
    if "false" in values:
        return False
    raise UsageError(f"Invalid filter '{name}=[{' '.join(values)}]'", hint="expected true or false")


def _pairs(values: list[str]) -> tuple[tuple[str, str | None], ...]:
    return tuple((name, value if equals else None)
                 for name, equals, value in (text.partition("=") for text in values))


def _has_all(wanted: tuple[tuple[str, str | None], ...], labels: Mapping[str, str]) -> bool:
    return all(name in labels and value in (None, labels[name]) for name, value in wanted)


def _until(values: list[str], now: datetime) -> Moment | None:
    if not values:
        return None
    if len(values) > 1:
        raise UsageError("more than one until filter specified")
    moment = _moment(values[0], now)
    if moment is None:
        raise UsageError("invalid until filter", values[0][:160], "expected a duration, a date or a time")
    return moment


def _moment(text: str, now: datetime) -> Moment | None:
    """A Go duration before now, a date or time (local unless it has a zone), or seconds since 1970."""
    sign, length = (text[0], text[1:]) if text[:1] in ("+", "-") else ("+", text)
    pieces = list(_DURATION.finditer(length))
    if pieces and "".join(piece[0] for piece in pieces) == length:
        try:
            span = timedelta(seconds=sum(float(piece[1]) * _SECONDS[piece[2]] for piece in pieces))
            return times.key(times.rfc3339(now - span if sign == "+" else now + span))
        except OverflowError:
            return None
    if epoch := _EPOCH.fullmatch(text):
        return int(epoch[1]), int((epoch[2] or "").ljust(9, "0"))
    return _date(text)


def _date(text: str) -> Moment | None:
    """`2006-01-02`, with a time down to any unit, and a zone; else local."""
    found = _DATE.fullmatch(text)
    if found is None or (found[3] and found[2].count(":") != 2):
        return None
    clock = (found[2] or "00").split(":")
    zone = (found[4] or "").replace("z", "Z").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{':'.join([*clock, '00', '00'][:3])}{zone}")
        return int(moment.timestamp()), int((found[3] or "").ljust(9, "0"))
    except (ValueError, OverflowError):
        return None
