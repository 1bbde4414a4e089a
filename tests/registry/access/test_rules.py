"""Which rule decides, and for whom."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from lamina.registry.server.access import rules as module
from lamina.registry.server.access.rules import Rules
from lamina.registry.server.configured import Rule


def rule(pattern: str, actions: str, users: Sequence[str] = (), groups: Sequence[str] = (), anonymous: bool = False) -> Rule:
    return Rule((pattern,), frozenset(actions.split()), frozenset(users), frozenset(groups), anonymous)


GROUPS = {"devs": frozenset({"ann", "bob"}), "ops": frozenset({"eve"})}
RULES = [
    rule("**", "pull", anonymous=True),
    rule("**", "push", ["root"]),
    rule("team/**", "pull push", groups=["devs"]),
    rule("team/public", "pull", anonymous=True),
    rule("team/public", "push delete", ["ann"]),
    rule("secret/*", "pull", groups=["ops"]),
    rule("home/*", "pull push", ["*"]),
]


@pytest.mark.parametrize("order", list(itertools.islice(itertools.permutations(range(len(RULES))), 0, 5040, 509)))
def test_the_most_specific_pattern_decides_in_whatever_order_they_stand(order: tuple[int, ...]) -> None:
    rules = Rules([RULES[number] for number in order], GROUPS)
    expected = {
        ("", "lib/x", "pull"): True, ("", "lib/x", "push"): False, ("root", "lib/x", "push"): True,
        ("root", "lib/x", "pull"): True,
        ("", "team/a", "pull"): False, ("ann", "team/a/b", "push"): True, ("root", "team/a", "push"): False,
        ("eve", "team/a", "pull"): False,
        ("", "team/public", "pull"): True, ("bob", "team/public", "push"): False, ("ann", "team/public", "delete"): True,
        ("", "secret/x", "pull"): False, ("ann", "secret/x", "pull"): False, ("eve", "secret/x", "pull"): True,
        ("eve", "secret/x", "push"): False,
        ("", "home/x", "pull"): False, ("zoe", "home/x", "push"): True, ("zoe", "home/x", "delete"): False,
    }
    assert {question: rules.allow(*question) for question in expected} == expected


def test_what_no_rule_covers_is_denied() -> None:
    rules = Rules([rule("team/*", "pull push delete", anonymous=True)], {})
    assert rules.allow("", "team/a", "delete")
    assert not any(rules.allow(user, name, "pull") for user in ("", "ann") for name in ("other", "team", "team/a/b",
    "team/../x"))


def test_nobody_is_the_user_whose_name_is_empty_or_a_star() -> None:
    rules = Rules([rule("a", "pull", ["*"]), rule("b", "pull", ["ann", ""])], {})
    assert not rules.allow("", "a", "pull") and not rules.allow("", "b", "pull") and not rules.allow("*", "b", "pull")


def test_users_are_told_apart_by_case() -> None:
    assert not Rules([rule("a", "pull", ["ann"])], {}).allow("Ann", "a", "pull")


def test_the_catalog_is_of_no_repository() -> None:
    rules = Rules([rule("team/*", "catalog", groups=["devs"]), rule("**", "pull", anonymous=True)], GROUPS)
    assert rules.allow_catalog("bob") and not rules.allow_catalog("eve") and not rules.allow_catalog("")


def test_names_that_clients_make_up_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 8)
    rules = Rules(RULES, GROUPS)
    found: list[str] = []
    find = rules._find
    monkeypatch.setattr(rules, "_find", lambda name: found.append(name) or find(name))
    for number in range(100):
        rules.allow("", f"x/{number}", "pull")
        assert rules.allow("", "kept/one", "pull")
    assert len(rules._decided) == 8 and found.count("kept/one") == 1
