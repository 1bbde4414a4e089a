"""What several runs tell: medians, ranges, and whether a difference means anything."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, run by run."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def least(self) -> float:
        return min(self.runs)

    @property
    def most(self) -> float:
        return max(self.runs)

    @property
    def spread(self) -> float:
        """From the least to the most."""
        return self.most - self.least


def sample(runs: Sequence[float]) -> Sample | None:
    """Nothing for no runs."""
    return Sample(tuple(runs)) if runs else None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A time against another: the median of the ratios of runs that stood side by side, their range, and a verdict.

    `verdict`: "slower", "faster", "same" where the difference is meaningless, "once" where one run tells no spread.
    """

    median: float
    least: float
    most: float
    verdict: str


def compare(base: Sample, other: Sample) -> Ratio:
    """`other` against `base`, run by run: a drift of the machine hits both, and is divided away."""
    pairs = [mine / max(its, 1e-9) for its, mine in zip(base.runs, other.runs, strict=False)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs), _verdict(base, other))


def _verdict(base: Sample, other: Sample) -> str:
    """Meaningless where the ranges overlap, or where one's own spread is larger than what lies between the two."""
    if min(len(base.runs), len(other.runs)) < 2:
        return "once"
    difference = other.median - base.median
    overlap = other.least <= base.most and base.least <= other.most
    if overlap or max(base.spread, other.spread) > abs(difference):
        return "same"
    return "slower" if difference > 0 else "faster"
