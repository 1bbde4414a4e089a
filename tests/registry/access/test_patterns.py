"""What patterns cover, in what order, and in what time."""

from __future__ import annotations

import itertools
import re

import pytest

from lamina.registry.server.access.patterns import Pattern, is_name, is_pattern


@pytest.mark.parametrize(("pattern", "covered", "others"), [
    ("team/app", ["team/app"], ["team/app2", "team/app/x", "xteam/app", "team"]),
    ("team/*", ["team/a", "team/app-1"], ["team", "team/a/b", "teams/a", "a/team/b"]),
    ("team/**", ["team/a", "team/a/b/c"], ["team", "teams/a", "x/team/a"]),
    ("**", ["a", "a/b", "a/b/c"], []),
    ("*", ["a", "a-b"], ["a/b"]),
    ("*/app", ["x/app"], ["app", "x/y/app"]),
    ("**/app", ["x/app", "x/y/app"], ["app", "x/app/y"]),
    ("a/**/z", ["a/b/z", "a/b/c/z", "a/z/z"], ["a/z", "a/b/z/y"]),
    ("t*m/x*", ["tm/x", "team/xyz", "tmm/x"], ["tea/x", "team/y", "team/x/y"]),
    ("**/**", ["a/b", "a/b/c"], ["a"]),
])
def test_what_is_covered(pattern: str, covered: list[str], others: list[str]) -> None:
    assert is_pattern(pattern)
    assert [name for name in covered + others if Pattern(pattern).covers(name)] == covered


@pytest.mark.parametrize("name", [
    "team/../secret", "team//app", "team/", "/team/a", "team/%2e%2e/a", "team/a\n", "team/A", "team/.a", "team/a\0",
    "team/" + "a" * 256, "",
    "team/ä", "team/a b", "team/*", "team/٣",
])
def test_what_is_no_name_is_covered_by_nothing(name: str) -> None:
    assert not is_name(name)
    assert not any(Pattern(pattern).covers(name) for pattern in ("**", "team/**", "team/*", name))


@pytest.mark.parametrize("text", ["", "/", "a//b", "a/", "A/b", "team/***", "team/a**", "a/../b", "te?m", "te[ab]m", "a b",
"*.", "!a", "a" * 256])
def test_a_pattern_that_could_match_nothing_is_none(text: str) -> None:
    assert not is_pattern(text)


def test_the_order_of_what_is_specific() -> None:
    ranks = [Pattern(text).rank for text in ("team/app", "team/ap*", "team/a*", "team/*", "team/**/x", "team/**", "te*/app",
    "*/app", "*", "**/app", "**")]
    assert ranks == sorted(ranks, reverse=True) and len(set(ranks)) == len(ranks)


def test_patterns_agree_with_expressions_on_every_short_name() -> None:
    names = ["/".join(parts) for length in (1, 2, 3) for parts in itertools.product(["a", "b", "ab", "ba"], repeat=length)]
    for text in ("**", "*", "a*", "*b", "a/*", "a/**", "**/b", "*/**", "**/a/**", "a*/**/b*", "*a*/b", "**/*"):
        expression = "/".join("[^/]+(?:/[^/]+)*" if part == "**" else part.replace("*", "[^/]*") for part in text.split("/"))
        assert [name for name in names if Pattern(text).covers(name)] == [name for name in names if re.fullmatch(expression,
        name)], text


def test_many_stars_do_not_blow_up() -> None:
    """An expression with these stars would try 10^12 ways and more; each step of ours is counted."""
    from lamina.registry.server.access import patterns

    steps = 0

    def count(part: str, item: str) -> bool:
        nonlocal steps
        steps += 1
        return part == item

    assert not patterns._covers("*a" * 60 + "c", "a" * 255, "*", count)
    assert not patterns._covers(["**", "a"] * 60 + ["c"], ["a"] * 127, "**", count)
    assert steps < 2 * 255 * 128
