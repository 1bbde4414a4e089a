"""The bench itself: rounds in which every contender has its turn, then what the rounds come to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lamina
from lamina.bench.dedup import Dedup, look
from lamina.bench.machine import machine, versions
from lamina.bench.ours import OurRun, Ours, names_of
from lamina.bench.peers import Peer
from lamina.bench.process import ProgramFailed, Timing
from lamina.bench.result import Contender, Figure, Result
from lamina.bench.rows import layer_rows, stage_rows
from lamina.bench.settings import Setting
from lamina.bench.sources import Source, archives, bytes_of, describe, write_out
from lamina.bench.spread import Sample, compare, sample
from lamina.bench.workplace import check_space, choose, workplace
from lamina.errors import UsageError
from lamina.images.place import default_path

MOST_RUNS = 100
MOST_LAYERS = 40  # rows of the heat map
_SMALL = 50_000_000  # bytes below which the start of a process is most of what is measured
_BUFFER = 1 << 20

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted: files, layouts, directories or images (none: `generate` makes some), and what to compare with.

    `store`: the user's, None for the usual one; it is read if an image is named, and never written.
    """

    words: Sequence[str] = ()
    runs: int = 3
    settings: Sequence[Setting] = ()
    peers: Sequence[type[Peer]] = ()
    store: Path | None = None
    work: Path | None = None
    generate: Callable[[Path], Iterable[Path]] | None = None


def bench(plan: Plan, tell: Tell) -> Result:
    """Measure; `tell` hears what is being done.  Nothing is left behind, whatever happens.

    `UsageError`, `NotFound`, `StorageError`, and what the archives bring with them.
    """
    if not 1 <= plan.runs <= MOST_RUNS:
        raise UsageError(f"cannot measure {plan.runs} times", hint=f"--runs takes 1 to {MOST_RUNS}")
    store = plan.store or default_path()
    with workplace(choose(plan.work, store)) as folder:
        sources = _sources(plan, store, folder, tell)
        return _Bench(plan, sources, folder, tell).run()


def _sources(plan: Plan, store: Path, folder: Path, tell: Tell) -> list[Source]:
    """The archives, and free space for all that is to come."""
    if not plan.words and plan.generate is not None:
        tell("making three images out of files of this machine")
        check_space(folder, 1 << 30)
        found = [describe(path) for path in plan.generate(folder)]
        check_space(folder, _most(found, plan))
        return found
    paths, names = archives(plan.words)
    sources = [describe(path) for path in paths]
    if names:
        with lamina.open(store, create=False) as opened:
            check_space(folder, bytes_of(opened, names) * 3)
            sources += write_out(opened, names, folder, tell)
    if not sources:
        raise UsageError("nothing to measure", hint="name archives, layouts or images")
    check_space(folder, _most(sources, plan))
    return sources


def _most(sources: Sequence[Source], plan: Plan) -> int:
    """What one contender takes at most: its store, what it writes out, and for those that unpack a copy on the way."""
    return sum(source.plain for source in sources) * (3 if plan.peers else 2)


@dataclass(slots=True)
class _Times:
    """What a peer's rounds brought."""

    load: list[Timing] = field(default_factory=list)
    save: list[Timing] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    version: str = ""


class _Bench:
    def __init__(self, plan: Plan, sources: list[Source], folder: Path, tell: Tell) -> None:
        self._plan, self._sources, self._folder, self._tell = plan, sources, folder, tell
        # The setting that users get is always there: it is what all else is held against.
        self._ours = {one: Ours(folder, sources, one) for one in dict.fromkeys((Setting(), *plan.settings))}
        self._runs: dict[Setting, list[OurRun]] = {one: [] for one in self._ours}
        self._times: dict[str, _Times] = {}
        self._dedup: Dedup | None = None
        self._result = Result(plan.runs, machine(folder), versions(), sources)

    def run(self) -> Result:
        """All rounds."""
        with ExitStack() as stack:
            peers = self._ready(stack)
            for number in range(self._plan.runs):
                turns: list[Setting | Peer] = [*self._ours, *peers]
                # Backwards every second time: who comes after whom must not matter.
                for turn in turns if number % 2 == 0 else reversed(turns):
                    if isinstance(turn, Setting):
                        self._our_turn(turn, number)
                    elif turn.name in self._times:
                        self._peer_turn(turn, number)
        return self._finish()

    def _ready(self, stack: ExitStack) -> list[Peer]:
        peers = []
        for kind in self._plan.peers:
            if reason := kind.impossible():
                self._result.skipped.append((kind.name, reason))
                continue
            self._tell(f"making {kind.name} ready")
            try:
                peer = stack.enter_context(kind(self._folder, self._sources))
                self._times[kind.name] = _Times(version=peer.version())
                peers.append(peer)
            except ProgramFailed as error:
                self._times.pop(kind.name, None)
                self._result.failed.append((kind.name, str(error)))
        return peers

    def _our_turn(self, setting: Setting, number: int) -> None:
        ours, runs = self._ours[setting], self._runs[setting]
        who = f"lamina {setting}"
        try:
            self._step(who, "in", number)
            load, loaded = ours.load()
            stored = ours.size()
            self._step(who, "in again", number)
            again, _ = ours.load()
            self._step(who, "out", number)
            save, saved = ours.save(names_of(loaded))
            run = OurRun(load, again, save, stored, saved["saved"], loaded)
            if setting == Setting():
                run.drained = ours.drain([layer["digest"] for layer in loaded["layers"]])
                if self._dedup is None:
                    with lamina.open(ours.store, create=False) as store:
                        self._dedup = look(store, names_of(loaded), MOST_LAYERS)
            runs.append(run)
        finally:
            ours.clear()

    def _peer_turn(self, peer: Peer, number: int) -> None:
        times = self._times[peer.name]
        try:
            self._step(peer.name, peer.what_in, number)
            load = peer.load()
            size = peer.size()
            self._step(peer.name, peer.what_out, number)
            save = peer.save()
            peer.clear()
        except ProgramFailed as error:
            self._result.failed.append((peer.name, str(error)))
            del self._times[peer.name]
            return
        times.load.append(load)
        times.save.append(save)
        times.sizes.append(size)

    def _step(self, who: str, what: str, number: int) -> None:
        """Before each thing that is timed: nothing of the last one waits to be written, and the inputs are cached for all."""
        self._tell(f"run {number + 1} of {self._plan.runs}: {who}, {what}")
        os.sync()
        if what == "out" or self._uncached():
            return
        for source in self._sources:
            _read_through(source.path)

    def _uncached(self) -> bool:
        memory: int = self._result.machine["memory_bytes"]
        return 0 < memory // 2 < self._result.bytes

    # -- what it comes to

    def _finish(self) -> Result:
        result, runs = self._result, self._runs[Setting()]
        result.dedup = self._dedup
        result.contenders = [self._ours_of(setting) for setting in self._ours]
        result.contenders += [self._peer_of(kind) for kind in self._plan.peers if kind.name in self._times]
        for other in result.contenders[1:]:
            for name, figure in other.figures.items():
                base = result.contenders[0].figures[name].seconds
                other.figures[name] = Figure(figure.seconds, figure.cpu, compare(base, figure.seconds))
        result.versions |= {name: times.version for name, times in self._times.items()}
        result.read = runs[0].loaded["read"]
        result.stages_in = stage_rows([run.loaded["stages"] for run in runs], result.read)
        result.stages_out = stage_rows([run.drained["stages"] for run in runs], _drained_bytes(runs[0].drained))
        result.layers = layer_rows([run.loaded["layers"] for run in runs], [run.drained["layers"] for run in runs])
        result.warnings += self._warnings()
        return result

    def _ours_of(self, setting: Setting) -> Contender:
        runs = self._runs[setting]
        figures = {name: _figure([getattr(run, field) for run in runs])
                   for name, field in (("in", "load"), ("again", "again"), ("out", "save"))}
        return Contender(f"lamina {setting}", lamina.__version__, setting, "load", "save", runs[-1].stored, figures)

    def _peer_of(self, kind: type[Peer]) -> Contender:
        times = self._times[kind.name]
        return Contender(kind.name, times.version, None, kind.what_in, kind.what_out, times.sizes[-1],
                         {"in": _figure(times.load), "out": _figure(times.save)})

    def _warnings(self) -> list[str]:
        found = []
        facts = self._result.machine
        if facts["load_average"] > facts["cpu"]["cores"] / 2:
            found.append(f"the machine was busy with other work (load {facts['load_average']:.1f} on {facts['cpu']['cores']} "
                         "cores when this began): figures are lower than they could be, and spread more")
        if self._plan.runs < 2:
            found.append("one run tells no spread: no difference here means anything yet, use --runs 3 or more")
        if self._result.bytes < _SMALL:
            found.append(f"{self._result.bytes / 1e6:.0f} MB are little: most of the time is the start of each program")
        if self._uncached():
            found.append("the inputs are too large to be cached: the disk is measured too")
        if alike := self._alike():
            found.append(f"the spread of the runs is larger than the difference to {self._result.contenders[0].name} in: "
                         f"{'; '.join(alike)}: it means nothing, use more --runs on a quieter machine")
        return found

    def _alike(self) -> list[str]:
        """What differs by nothing that means anything."""
        words = {"in": "in", "again": "in again", "out": "out"}
        found = {one.name: [words[name] for name, figure in one.figures.items()
                            if figure.ratio and figure.ratio.verdict == "same"] for one in self._result.contenders[1:]}
        return [f"{name} ({', '.join(ways)})" for name, ways in found.items() if ways]


def _figure(timings: Sequence[Timing]) -> Figure:
    cpu = [timing.cpu for timing in timings if timing.cpu is not None]
    return Figure(Sample(tuple(timing.wall for timing in timings)), sample(cpu) if len(cpu) == len(timings) else None)


def _drained_bytes(drained: dict[str, Any]) -> int:
    return sum(int(layer["bytes"]) for layer in drained["layers"].values())


def _read_through(path: Path) -> None:
    """Into the page cache."""
    buffer = bytearray(_BUFFER)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb", buffering=0) as data:
                while data.readinto(buffer):
                    pass
