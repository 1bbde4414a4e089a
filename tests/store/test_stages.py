from __future__ import annotations

import pytest

from lamina.store.stages import Stages


def test_a_part_adds_to_its_whole() -> None:
    whole = Stages()
    one, two = Stages(whole), Stages(whole)
    one.add("read", 1.0, 2.0, 10)
    two.add("read", 0.5, 0.5, 5)
    two.add("cut", 0.25, 0.25, 7)
    assert [(name, stage.cpu, stage.wall, stage.bytes) for name, stage in whole.by_name.items()] == [
        ("read", 1.5, 2.5, 15), ("cut", 0.25, 0.25, 7)]
    assert list(one.by_name) == ["read"]


def test_what_fails_is_timed_too() -> None:
    stages = Stages()
    with pytest.raises(ArithmeticError), stages.timed("cut", 3):
        sum(range(100_000))
        raise ArithmeticError
    assert stages.by_name["cut"].bytes == 3
    assert stages.by_name["cut"].cpu > 0
