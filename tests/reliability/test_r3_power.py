"""R3: power loss.  The file operations of commands are recorded, and what a power cut may leave after any is used again.

`pytest tests/reliability/test_r3_power.py --long` replays some 1,100 states; the short form some 60.
LAMINA_POWER_SEED says which.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Tally
from reliability.faults import Forks
from reliability.powercheck import check
from reliability.powersessions import SESSIONS, Recorded, State, Step, choose, record, states

SEED = int(os.environ.get("LAMINA_POWER_SEED", "1"))
SHORT, LONG = 14, {"commands": 300, "downloads": 400, "kills": 300, "saves": 200}  # states of a session


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    heavy = ("load", "save")
    with Forks("reliability.powerwork", "reliability.powercheck", "lamina.store.collect", "lamina.store.optimize",
               *(f"lamina.images.{each}" for each in heavy)) as found:
        yield found


@pytest.fixture
def place() -> Iterator[Path]:
    """Where states are made: in memory if possible, for the disk's own syncs take most of the time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder) / "state"


def _digest(state: State) -> bytes:
    found = hashlib.sha256()
    for path, data in state.tree.items():
        found.update(f"{path} {-1 if data is None else len(data)}\n".encode() + (data or b""))
    return found.digest()


def _replay(forks: Forks, recorded: Recorded, count: int, place: Path) -> tuple[int, list[str]]:
    """How many different states were used again, and what was wrong with any; of each third the catalog is lost as well."""
    wrong: list[str] = []
    seen: set[tuple[str, bytes]] = set()
    for state in states(recorded, choose(recorded, count, random.Random(SEED))):
        expected = recorded.expected(state.cut)
        if (key := (repr(expected), _digest(state))) in seen:
            continue
        seen.add(key)
        for lost in (False, True) if len(seen) % 3 == 0 else (False,):
            found = check(forks, state.tree, expected, place, without_catalog=lost)
            where = f"cut {state.cut}, names {state.names}, bytes {state.data}, seed {state.seed}, catalog lost: {lost}"
            wrong += [f"{where}: {each}" for each in found]
    return len(seen), wrong


@pytest.mark.parametrize("session", SESSIONS)
def test_power_loss(session: str, forks: Forks, tmp_path: Path, place: Path, long: bool, tally: Tally) -> None:
    recorded = record(forks, SESSIONS[session], tmp_path)
    count, wrong = _replay(forks, recorded, LONG[session] if long else SHORT, place)
    tally(f"R3 {session}", operations=len(recorded.ops), states=count, losses=len(wrong))
    assert not wrong, "\n".join(wrong)


# What a missing sync costs; the session that shows it.
_LOAD = [Step("load", (1,))]
_SAVE = [Step("make out"), *_LOAD, Step("save", ("image1", "a.tar", "docker-archive")),
         Step("save", ("image1", "dir", "oci-dir"))]
_PULL = [*_LOAD, Step("pull", (1, 900_000))]
MISTAKES = {
    "pack": _LOAD, "pack's name": _LOAD, "format": _LOAD, "format's name": _LOAD, "catalog": _LOAD,
    "partial": _PULL, "partial's name": _PULL, "partial's packs": _PULL,
    "saved file": _SAVE, "saved file's name": _SAVE, "saved layout": _SAVE, "saved layout's names": _SAVE,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_missing_sync_is_noticed(mistake: str, forks: Forks, tmp_path: Path, place: Path, tally: Tally) -> None:
    """The check is worth something: without one of the syncs it finds a loss at once."""
    recorded = record(forks, MISTAKES[mistake], tmp_path, mistake)
    count, wrong = _replay(forks, recorded, len(recorded.ends), place)
    assert wrong
    losses = len({each.partition(", catalog lost")[0] for each in wrong})
    tally(f"R3 without the sync of the {mistake}", states=count, states_with_a_loss=losses)
