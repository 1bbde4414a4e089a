"""The parent of an image, by the rule of the design; against a quadratic reference."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.images.parents import find_parents
from lamina.oci import Platform

from .views import World


@dataclass(frozen=True)
class Stack:
    id: str
    diff_ids: str
    steps: str = ""
    age: tuple[int, int] = (0, 0)
    kin: str = "linux"


def parents_of(*stacks: Stack) -> dict[str, str]:
    steps = {stack.id: stack.steps for stack in stacks}
    return find_parents(stacks, steps.__getitem__)


def simple(stacks: list[Stack]) -> dict[str, str]:
    """The rule again, all pairs."""
    found = {}
    for own in stacks:
        kin = [one for one in stacks if one.kin == own.kin and one.diff_ids and one.id != own.id]
        same = [one for one in kin if one.diff_ids == own.diff_ids
                and own.steps != one.steps and own.steps.startswith(one.steps)]
        below = [one for one in kin if one.diff_ids != own.diff_ids and own.diff_ids.startswith(one.diff_ids)]
        longest = max((len(one.diff_ids) for one in below), default=0)
        among = same or [one for one in below if len(one.diff_ids) == longest]
        if among:
            found[own.id] = min(among, key=lambda one: (
                -len(one.steps) if own.steps.startswith(one.steps) else 1, one.age, one.id)).id
    return found


def test_longest_proper_prefix() -> None:
    assert parents_of(Stack("a", "x"), Stack("b", "xy"), Stack("c", "xyz"), Stack("d", "xq")) == {
        "b": "a", "c": "b", "d": "a"}


def test_a_list_that_is_no_whole_prefix_is_no_parent() -> None:
    assert parents_of(Stack("a", "xy"), Stack("b", "xz")) == {}


def test_no_layers_no_parent() -> None:
    assert parents_of(Stack("a", "", "1"), Stack("b", "", "12"), Stack("c", "x", "12")) == {}


def test_equal_layers_go_by_history() -> None:
    assert parents_of(Stack("a", "x", "1"), Stack("b", "x", "12"), Stack("c", "x", "13"),
                      Stack("d", "x", "1")) == {"b": "a", "c": "a"}


def test_of_another_platform_is_no_parent() -> None:
    assert parents_of(Stack("a", "x", kin="arm"), Stack("b", "xy")) == {}


def test_ties_go_to_the_oldest_then_the_smallest_id() -> None:
    child = Stack("z", "xy", "9")
    assert parents_of(Stack("b", "x", "1", (5, 0)), Stack("a", "x", "2", (5, 1)), child)["z"] == "b"
    assert parents_of(Stack("b", "x", "1", (5, 0)), Stack("a", "x", "2", (5, 0)), child)["z"] == "a"


def test_of_equal_lists_the_one_it_was_made_from() -> None:
    older, newer = Stack("a", "x", "1", (1, 0)), Stack("b", "x", "12", (2, 0))
    assert parents_of(older, newer, Stack("c", "xy", "123")) == {"b": "a", "c": "b"}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.text("xy", max_size=4), st.text("12", max_size=3), st.integers(0, 2),
                          st.sampled_from(["linux", "arm"])), max_size=14))
def test_agrees_with_all_pairs(rows: list[tuple[str, str, int, str]]) -> None:
    stacks = [Stack(f"{number:02}", layers, steps, (age, 0), kin)
              for number, (layers, steps, age, kin) in enumerate(rows)]
    assert parents_of(*stacks) == simple(stacks)


def test_no_cycles_and_quick_for_many() -> None:
    stacks = [Stack(f"{number:05}", "x" * (number % 40), f"{number:05}") for number in range(4000)]
    begin = time.process_time()
    found = parents_of(*stacks)
    assert time.process_time() - begin < 1
    layers = {stack.id: len(stack.diff_ids) for stack in stacks}
    assert all(layers[parent] < layers[child] for child, parent in found.items())


def test_configs_are_parsed_only_where_lists_are_equal() -> None:
    world = World()
    chain = [world.image(f"i{number}", "abcdef"[:number]) for number in range(1, 7)]
    parents = world.view().parents
    assert [parents[child.id] for child in chain[1:]] == [parent.id for parent, _ in pairwise(chain)]
    assert world.parsed == []


def test_spellings_of_a_platform_are_one() -> None:
    world = World()
    base = world.image("base", "a", platform=Platform("linux", "arm64", "v8"))
    child = world.image("child", "ab", platform=Platform("linux", "arm64"))
    assert world.view().parents == {child.id: base.id}
