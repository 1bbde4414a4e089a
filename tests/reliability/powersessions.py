"""Sessions of commands that are recorded, and the states that a power cut leaves of each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from reliability.faults import Fault, Forks
from reliability.powercheck import Expected, Promise, Saved, snapshot
from reliability.powerlog import BYTES, Op, read_log
from reliability.powerloss import NAMES, Disk, Tree
from reliability.powerwork import describe_layer, mark


@dataclass(frozen=True, slots=True)
class Step:
    """One command.  `killed`: it ends by a signal, and what it was about may be there or not."""

    command: str
    arguments: tuple[Any, ...] = ()
    killed: bool = False


def _step(command: str, *arguments: Any) -> Step:
    return Step(command, arguments)


def _killed_load(seed: int, at: str) -> Step:
    return Step("load killed", (seed, at), killed=True)


SESSIONS: dict[str, list[Step]] = {
    "commands": [
        _step("load", 1), _step("load", 2), _step("tag", "image1", "other"), _step("rmi", "image1"), _step("optimize"),
        _step("load", 3), _step("rmi", "image2"), _step("rmi", "other"), _step("gc"), _step("load", 1), _step("gc"),
    ],
    "downloads": [
        _step("load", 1), _step("pull", 1, 900_000), _step("pull", 1), Step("pull", (2, 1_000_000, True), killed=True),
        _step("gc"), _step("pull", 2), _step("gc"),
    ],
    "kills": [
        _step("load", 1), _killed_load(2, "seal"), _step("load", 3), _step("rmi", "image3"), _killed_load(4, "commit"),
        _killed_load(5, "close"), _step("lose"), _step("open"), _step("load", 2), _step("spoil"), _step("open"), _step("gc"),
    ],
    "saves": [
        _step("make out"), _step("load", 1), _step("save", "image1", "a.tar", "docker-archive"), _step("load", 2),
        _step("save", "image2", "a.tar", "oci-archive"), _step("save", "image1", "layout", "oci-dir"),
        _step("save", "image2", "layout", "oci-dir"),
    ],
}


@dataclass(slots=True)
class Recorded:
    """The log of a session, and what its commands reported: `ends[i]` is the length of the log when command i had ended."""

    ops: list[Op]
    promises: list[Promise] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    may: list[Saved] = field(default_factory=list)

    def expected(self, cut: int) -> Expected:
        """When the power goes after so many operations."""
        done = sum(end <= cut for end in self.ends)
        before = self.promises[done - 1] if done else Promise({})
        after = self.promises[min(done, len(self.promises) - 1)]
        return Expected(before, after, self.may[min(done, len(self.may) - 1)], done > 0 and bool(before.images),
                        self._covered(cut))

    def _covered(self, cut: int) -> tuple[int, int]:
        found = (0, 0)
        for op in self.ops[:cut]:
            if op.op == "mark":
                seed = _LAYERS[op.to]
                if op.path == "whole" and seed == found[0]:
                    found = (0, 0)
                elif op.path == "covered":
                    found = (seed, max(op.size, found[1] if found[0] == seed else 0))
        return found


_LAYERS = {str(describe_layer(seed).digest): seed for seed in (1, 2)}


def record(forks: Forks, steps: list[Step], place: Path, mistake: str = "") -> Recorded:
    """Run the commands in an empty directory below `place`, and again, unrecorded, beside it: what they are to report."""
    root, twin, log = place / "root", place / "twin", str(place / "log")
    root.mkdir()
    twin.mkdir()
    found = Recorded([])
    may: Saved = {}
    for step in steps:
        arguments = [str(root), log, mistake, step.command, *step.arguments]
        ended = forks.run("reliability.powerwork:run", arguments, Fault(str(root), log=log))
        assert ended.code == (-9 if step.killed else 0), f"{step}: {ended}"
        if step.command == "pull" and step.killed is False and len(step.arguments) == 1:
            mark(log, "whole", to=str(describe_layer(step.arguments[0]).digest))
        if step.killed:
            may = may | _whole_of(forks, step, place)
        elif step.command not in ("spoil", "lose"):
            again = forks.run("reliability.powerwork:run", [str(twin), "", "", step.command, *step.arguments])
            assert again.code == 0, f"{step}: {again}"
        found.ops = read_log(Path(log))
        found.ends.append(len(found.ops))
        found.promises.append(snapshot(twin))
        found.may.append(may)
    return found


def _whole_of(forks: Forks, step: Step, place: Path) -> Saved:
    """What a command that was killed would have left."""
    if step.command != "load killed":
        return {}
    aside = place / f"aside{step.arguments[0]}"
    aside.mkdir()
    ended = forks.run("reliability.powerwork:run", [str(aside), "", "", "load", step.arguments[0]])
    assert ended.code == 0, ended
    return snapshot(aside).images


@dataclass(frozen=True, slots=True)
class State:
    """What a power cut after `cut` operations may leave."""

    cut: int
    names: str
    data: str
    seed: int
    tree: Tree


def borders(ops: list[Op], ends: list[int]) -> list[int]:
    """Cuts around what makes things last or says that they do: before and after each fsync, rename and end of a command."""
    found = {0, *ends, *(end - 1 for end in ends)}
    for number, op in enumerate(ops):
        if op.op in ("fsync", "rename", "link", "mark"):
            found |= {number, number + 1}
    return sorted(each for each in found if 0 <= each <= len(ops))


def states(recorded: Recorded, cuts: dict[int, list[tuple[str, str, int]]]) -> Iterator[State]:
    """The states at these cuts; (names, bytes, seed) of each."""
    disk = Disk()
    for number in range(len(recorded.ops) + 1):
        for names, data, seed in cuts.get(number, ()):
            yield State(number, names, data, seed, disk.after_cut(names, data, seed))
        if number < len(recorded.ops):
            disk.play(recorded.ops[number])


def choose(recorded: Recorded, count: int, rng: random.Random) -> dict[int, list[tuple[str, str, int]]]:
    """So many cuts and manners: the ends of commands, where all that was reported hangs on what was synced; of the rest three
    of four at borders, each once before any comes again, and one anywhere."""
    found: dict[int, list[tuple[str, str, int]]] = {}

    def add(cut: int, names: str, data: str) -> None:
        found.setdefault(cut, []).append((names, data, rng.randrange(1 << 30)))

    for end in recorded.ends:
        add(end, "none", "none")
    left = max(0, count - len(recorded.ends))
    around = borders(recorded.ops, recorded.ends)
    rng.shuffle(around)
    near = cycle(around)
    for number in range(left):
        cut = next(near) if number % 4 else rng.randrange(len(recorded.ops) + 1)
        add(cut, rng.choice(NAMES), rng.choice(BYTES))
    return found
