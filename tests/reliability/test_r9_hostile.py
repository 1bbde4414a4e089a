"""R9: hostile archives, tars, layouts, places and stores, each through the command.

Each case is one input (the modules `hostile*` make them) that is refused with one clear line, or taken in bit for bit, in
bounded memory and time; the image that was there before stays whole, and nothing is left behind.  By default every so manieth
case is run; `pytest tests/reliability/test_r9_hostile.py --long` runs all of them, bombs at full size.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from archive.builders import docker_20, tar
from reliability.hostilebombs import bombs
from reliability.hostilecase import MEMORY, Case, Ground, judge, make_ground, play
from reliability.hostiledocker import dockers
from reliability.hostilelayouts import layouts
from reliability.hostileplaces import places
from reliability.hostilestores import stores
from reliability.hostiletars import tars
from test_bad_input.kit import KNOWN

# What makes the cases, and which of them the short form takes: every so manieth.
GROUPS: tuple[tuple[Callable[[bool], Iterator[Case]], int], ...] = (
    (lambda _: tars(), 5),
    (bombs, 3),
    (lambda _: dockers(), 7),
    (lambda _: layouts(), 8),
    (lambda _: places(), 4),
    (lambda _: stores(), 9),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    long = bool(metafunc.config.getoption("--long"))
    cases = [case for make, step in GROUPS for case in islice(make(long), 0, None, 1 if long else step)]
    metafunc.parametrize("case", cases, ids=[case.name.encode("unicode_escape").decode() for case in cases])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the stores stand: in memory where there is room for them."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("hostile")
        return
    with tempfile.TemporaryDirectory(prefix="lamina-test-", dir=memory) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def ground(shelf: Path) -> Ground:
    return make_ground(shelf / "ground", tar(docker_20(KNOWN)))


@pytest.fixture(scope="module")
def counts(tally: Callable[..., None]) -> Iterator[Counter[str]]:
    """What came of the cases, told at the end."""
    found = Counter[str]()
    yield found
    tally(
        "R9",
        cases=found["refused"] + found["taken in"],
        refused=found["refused"],
        taken_in=found["taken in"],
        MiB_of_memory_at_most=found["memory"],
        MiB_allowed=MEMORY >> 20,
    )


def test_hostile(case: Case, ground: Ground, shelf: Path, counts: Counter[str]) -> None:
    place = shelf / "case"
    place.mkdir()
    try:
        got = play(case, ground, place)
    finally:
        shutil.rmtree(place)
    wrong = judge(case, got)
    assert not wrong, "\n".join(wrong)
    counts["refused" if got.code else "taken in"] += 1
    counts["memory"] = max(counts["memory"], got.memory >> 20)
