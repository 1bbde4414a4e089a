"""A sample of what packs hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lamina.store import layout


def choose(footers: list[layout.Footer], share: float, seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """For each footer the records to look at: all but frames of content and segments, and so large a share of those, by stored
    bytes over all.  Memory: 12 bytes a frame."""
    kinds = (layout.CONTENT, layout.SEGMENT)
    sizes = [footer.records["stored"][np.isin(footer.records["type"], kinds)].astype(np.int64) for footer in footers]
    every = np.concatenate([np.empty(0, np.int64), *sizes])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(every))
    chosen = np.zeros(len(every), np.bool_)
    before = np.cumsum(every[order]) - every[order]
    chosen[order[before < share * every.sum()]] = True
    at = 0
    for footer in footers:
        wanted = np.ones(len(footer.records), np.bool_)
        frames = np.flatnonzero(np.isin(footer.records["type"], kinds))
        wanted[frames] = chosen[at : at + len(frames)]
        at += len(frames)
        yield wanted
