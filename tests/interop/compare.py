"""Holds lists of two programs beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interop.daemons import Docker
from interop.programs import Lamina

Print = Callable[..., str]


def same(docker: Docker, lamina: Lamina, *words: str, order: bool = True, env: dict[str, str] | None = None) -> list[str]:
    """The lines that both print for the same words; fails where they differ.

    Ages move on while programs run: docker is asked before and after, until both answers are the same.
    `order=False`: lines in any order (docker leaves images of one second in the order of a hash table).
    """
    for _ in range(20):
        before = docker(*words, env=env).splitlines()
        mine = lamina(*words, env=env).splitlines()
        after = docker(*words, env=env).splitlines()
        arrange: Callable[[Sequence[str]], list[str]] = list if order else sorted
        if arrange(before) == arrange(after):
            assert arrange(mine) == arrange(before), " ".join(words)
            return mine
    raise AssertionError(f"docker {' '.join(words)} never gives the same answer twice")
