"""R10 without the fuzzer: every seed, and every finding of before, through the targets."""

from __future__ import annotations

import pytest
from fuzz.seeds import LIMIT, path_of, read
from fuzz.targets import NAMES, target


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str) -> None:
    found = target(name)
    for data, _ in read(name):
        found.run(data)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_few_and_those_made_by_hand_among_them(name: str) -> None:
    assert path_of(name).stat().st_size <= 2 * LIMIT
    assert set(target(name).seeds()) <= {data for data, _ in read(name)}
