"""`rmi` says what docker says, for the same removals one after another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.daemons import Docker
from interop.programs import Lamina, program
from interop.samples import APP, COMMITTED, EMPTY, GONE, ODD, OTHER_NAMES, SAME

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Answer:
    """What a removal said and how it ended; of an error, docker's reason alone (what stands before it is the client's)."""

    lines: tuple[str, ...]
    status: int
    reason: str


def ask(command: list[str], env: Mapping[str, str]) -> Answer:
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, check=False, text=True, timeout=120)
    reasons = [line[line.index("conflict:"):] for line in done.stderr.splitlines() if "conflict:" in line]
    return Answer(tuple(done.stdout.splitlines()), done.returncode, "\n".join(reasons))


@pytest.fixture
def both(everything: Path, fresh_engine: Docker, lamina: Lamina) -> Iterator[Callable[..., Answer]]:
    """An engine and a store with the same images: runs one `rmi` on both, and gives what both answered."""
    fresh_engine.clear()
    fresh_engine.load(everything)
    lamina.load(everything)

    def remove(*words: str) -> Answer:
        theirs = ask([program("docker"), "rmi", *words], fresh_engine.env)
        assert ask([*lamina.words, "rmi", *words], {}) == theirs, words
        assert set(lamina("images", "-aq", "--no-trunc").split()) == set(fresh_engine.ids())
        return theirs

    yield remove
    fresh_engine.clear()


def test_tags_then_images(both: Callable[..., Answer]) -> None:
    assert both(OTHER_NAMES[0]).lines == (f"Untagged: {OTHER_NAMES[0]}",)
    assert both(ODD).lines == (f"Untagged: {ODD}",)
    both(OTHER_NAMES[1], APP)
    assert len(both(SAME).lines) > 10  # and with it app, the steps of that, but not odd: others are made of it
    both(GONE)
    assert len(both(COMMITTED).lines) > 5
    both(EMPTY)
    assert both("nothing:1").status == 1


def test_by_id(both: Callable[..., Answer], engine: Docker) -> None:
    assert both(engine.id(APP)).reason  # three names, and a child
    assert both("-f", engine.id(APP)).reason  # a child cannot be forced
    assert both(engine.id(SAME)).status == 0
    assert both(engine.id(APP)).reason  # three names in two repositories
    assert len(both("-f", engine.id(APP)[:17]).lines) > 3
    [dangling] = engine("images", "-q", "--no-trunc", "-f", "dangling=true").split()
    assert both(dangling).status == 0
    assert both(engine.id(EMPTY)[7:19]).status == 0


def test_without_pruning(both: Callable[..., Answer], engine: Docker) -> None:
    assert len(both("--no-prune", SAME).lines) == 2
    assert len(both("--no-prune", APP, *OTHER_NAMES).lines) == 4
    assert both("--no-prune", COMMITTED, GONE, ODD).status == 0
    assert both(engine.id(ODD)).reason


def test_several_goes_on_after_an_error(both: Callable[..., Answer]) -> None:
    answer = both(EMPTY, "nothing:1", COMMITTED)
    assert answer.status == 1
    assert f"Untagged: {COMMITTED}" in answer.lines
