from __future__ import annotations

import pytest

from lamina.bench.spread import Sample, compare, sample


def test_a_sample() -> None:
    found = sample([3.0, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.least, found.most, found.spread) == (2.0, 1.0, 3.0, 2.0)
    assert sample([]) is None


def test_ratios_are_of_runs_side_by_side() -> None:
    found = compare(Sample((1.0, 2.0, 4.0)), Sample((2.0, 4.0, 8.0)))  # a drift that hits both
    assert (found.median, found.least, found.most) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("base", "other", "verdict"), [
    ((1.0, 1.1), (2.0, 2.1), "slower"),
    ((2.0, 2.1), (1.0, 1.1), "faster"),
    ((1.0, 1.2), (1.1, 1.3), "same"),    # they overlap
    ((1.0, 1.1), (1.1, 1.2), "same"),    # they touch
    ((1.0, 1.1), (1.2, 3.0, 1.3), "same"),  # apart, but one spreads over more than what lies between
    ((1.0, 1.0, 1.5), (1.4, 1.6, 1.6), "same"),  # one run of each does not fit, though the medians lie apart
    ((1.0,), (2.0,), "once"),
    ((1.0, 1.0), (2.0,), "once"),
])
def test_verdicts(base: tuple[float, ...], other: tuple[float, ...], verdict: str) -> None:
    assert compare(Sample(base), Sample(other)).verdict == verdict
