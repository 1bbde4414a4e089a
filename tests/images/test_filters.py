"""Filters and patterns, with docker's rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lamina.errors import UsageError
from lamina.images import times
from lamina.images.filters import LISTING, PRUNING, parse_filters
from lamina.images.patterns import matches
from lamina.reference import Reference

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def age(text: str) -> tuple[int, int]:
    return times.key(text)


@pytest.mark.parametrize(("pattern", "name", "meets"), [
    ("nginx", "nginx:1", True), ("nginx:1", "nginx:1", True), ("nginx:2", "nginx:1", False),
    ("ng*", "nginx:1", True), ("n*x", "nginx:1", True), ("*", "nginx:1", True), ("*", "a/nginx", False),
    ("*/*", "a/nginx:1", True), ("*/*", "nginx", False), ("ngin?", "nginx", True), ("ngin?", "ngin", False),
    ("[m-o]ginx", "nginx", True), ("[^m-o]ginx", "nginx", False), ("[^a]ginx", "nginx", True),
    ("[z-a]ginx", "nginx", False), ("[^z-a]ginx", "nginx", True), (r"n\ginx", "nginx", True),
    (r"[\n]ginx", "nginx", True), ("quay.io/*/*", "quay.io/a/b:c", True), ("nginx:*", "nginx", True),
    ("***x", "nginx", True), ("nginx$", "nginx", False), ("", "nginx", False), ("docker.io/*", "nginx", False),
])
def test_patterns(pattern: str, name: str, meets: bool) -> None:
    assert matches(pattern, Reference.parse(name)) is meets


@pytest.mark.parametrize("pattern", ["[", "[a", "[]a]", "[-a]", "[a-", "[a-]", "\\", "[\\"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(UsageError, match="syntax error in pattern"):
        matches(pattern, Reference.parse("nginx"))


@pytest.mark.parametrize(("texts", "message"), [
    (["nothing"], r"bad format of filter \(expected name=value\)"),
    (["size=1"], "^Invalid filter 'size'"),
    (["dangling=maybe"], r"^Invalid filter 'dangling=\[maybe\]'"),
    (["until=1h", "until=2h"], "more than one until filter specified"),
    (["until=soon"], "invalid until filter, soon"),
])
def test_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_filters(texts, LISTING)


def test_prune_takes_fewer() -> None:
    with pytest.raises(UsageError, match="Invalid filter 'reference'"):
        parse_filters(["reference=a"], PRUNING)


def test_dangling() -> None:
    assert [parse_filters([f"dangling={word}"], LISTING).dangling for word in ("true", "false")] == [True, False]
    assert parse_filters([], LISTING).dangling is None


@pytest.mark.parametrize(("texts", "labels", "meets"), [
    (["label=a"], {"a": "1"}, True), (["label=a"], {}, False), (["label=a=1"], {"a": "1"}, True),
    (["label=a=2"], {"a": "1"}, False), (["label=a", "label=b"], {"a": "1"}, False),
    (["label=a="], {"a": ""}, True), (["label=a="], {"a": "1"}, False), (["label=a=b=c"], {"a": "b=c"}, True),
    (["label!=a"], {"a": "1"}, False), (["label!=a"], {}, True),
    (["label!=a", "label!=b"], {"a": "1"}, True), (["label!=a", "label!=b"], {"a": "1", "b": "2"}, False),
    (["LABEL=a"], {"a": "1"}, True),
])
def test_labels(texts: list[str], labels: dict[str, str], meets: bool) -> None:
    assert parse_filters(texts, LISTING).meets_labels(labels) is meets


def test_before_and_since_exclude_the_moment_itself() -> None:
    moments = {"x": "2024-01-02T00:00:00.000000001Z"}
    before = parse_filters(["before=x"], LISTING, lambda word: age(moments[word]))
    since = parse_filters(["since=x"], LISTING, lambda word: age(moments[word]))
    times_ = ("2024-01-02T00:00:00Z", moments["x"], "2024-01-02T00:00:00.000000002Z")
    assert [before.meets_age(age(one)) for one in times_] == [True, False, False]
    assert [since.meets_age(age(one)) for one in times_] == [False, False, True]


@pytest.mark.parametrize(("text", "moment"), [
    ("24h", "2024-05-31T12:00:00Z"), ("1h30m", "2024-06-01T10:30:00Z"), ("1.5h", "2024-06-01T10:30:00Z"),
    ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"), ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z"),
    ("1714557600", "2024-05-01T10:00:00Z"), ("1714557600.5", "2024-05-01T10:00:00.5Z"),
    ("2024-05-01Z", "2024-05-01T00:00:00Z"), ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
    ("-24h", "2024-06-02T12:00:00Z"), ("+1h", "2024-06-01T11:00:00Z"), ("2024-05-01T10Z", "2024-05-01T10:00:00Z"),
    ("2024-05-01T10:00+02:00", "2024-05-01T08:00:00Z"), ("2024-05-01-01:00", "2024-05-01T01:00:00Z"),
])
def test_until(text: str, moment: str) -> None:
    assert parse_filters([f"until={text}"], LISTING, now=NOW).until == age(moment)


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("2024-05-01T10:00:00Z", 0), ("2024-05-01T10:00:00.123456789Z", 123456789),
    ("2024-05-01t10:00:00.5z", 500000000)])
def test_moments(text: str, nanoseconds: int) -> None:
    assert times.key(text) == (1714557600, nanoseconds)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_no_moment_is_gos_zero(text: str) -> None:
    assert times.parse(text) is times.NEVER
    assert times.key(text) == times.key("0001-01-01T00:00:00Z")


@pytest.mark.parametrize("text", ["2024-05-01T10:00:00Z", "2024-05-01T10:00:00.12Z", times.NEVER_TEXT])
def test_moments_written_as_go_does(text: str) -> None:
    assert times.rfc3339(times.parse(text)) == text
