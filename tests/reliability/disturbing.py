"""Commands disturbed one after the other, each in a fresh copy of a store, and what comes of it.  See `steps` and `faults`."""

from __future__ import annotations

import atexit
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from registry.fake import Fake
from reliability.faults import Ended, Fault, Forks, read_log
from reliability.steps import STEPS, Step, oci_gzip

Job = TypeVar("Job")
DESKS = 2  # at work at a time
_courses: dict[str, Course] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """Names, the digest of what `save` gives of them all, what `verify` finds, and what is in the output directory."""

    names: dict[str, str]
    saved: str
    problems: list[str]
    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Course:
    """A command that nothing disturbs: what is seen before and after, what a collection leaves then, how many calls that change
    something and how many reads it makes (they vary a little: threads), and which are syncs of the catalog's log."""

    step: Step
    before: Seen
    after: Seen
    settled_before: dict[str, Any]
    settled_after: dict[str, Any]
    calls: int
    reads: int
    syncs: tuple[int, ...]


class Desk:
    """A place for one store at a time, and a process to work on it.  For one thread."""

    def __init__(self, folder: Path, number: int, forks: Forks, registry: str) -> None:
        self._folder, self._forks, self._registry = folder, forks, registry
        self.store, self.out = folder / f"store{number}", folder / f"out{number}"
        self.log = folder / f"log{number}"

    def fresh(self, step: Step) -> None:
        """A copy of what the step begins from."""
        for place, source in ((self.store, step.base), (self.out, step.out or "none")):
            shutil.rmtree(place, ignore_errors=True)
            if (self._folder / source).exists():
                shutil.copytree(self._folder / source, place)
        self.out.mkdir(exist_ok=True)
        self.log.unlink(missing_ok=True)

    def do(self, step: Step, at: int = 0, do: str = "", *, power_cut: bool = False, **fault: Any) -> Ended:
        """The command, with a fault; with `power_cut` the store is replaced by what a power cut right afterwards leaves."""
        places = {"{in}": str(self._folder / "in"), "{out}": str(self.out), "{registry}": self._registry}
        words = list(step.words)
        for name, place in places.items():
            words = [word.replace(name, place) for word in words]
        root = self.store if step.root == "store" else self.out
        if not power_cut:
            return self._forks.run("reliability.steps:command", [words, str(self.store)], Fault(str(root), at, do, **fault))
        copy = self.store.with_suffix(".copy")
        ended = self._forks.run("reliability.steps:command_then_power_cut", [words, str(self.store), str(copy)],
                                Fault(str(root), at, do, **fault))
        shutil.rmtree(self.store)
        copy.rename(self.store)
        return ended

    def look(self) -> Seen:
        """What is there; opening the store mends what is to be mended."""
        return Seen(**self._ask("whole_look", str(self.store), str(self.out)))

    def settle(self) -> dict[str, Any]:
        """What is left after a collection of all that is dead."""
        return dict(self._ask("settle", str(self.store)))

    def make(self) -> None:
        """What all desks begin from."""
        self._ask("make", str(self._folder))

    def _ask(self, function: str, *arguments: str) -> Any:
        ended = self._forks.run(f"reliability.steps:{function}", arguments)
        assert ended.code == 0, f"{function}: {ended.code}\n{ended.err}"
        return ended.value

    def course(self, step: Step) -> Course:
        """See `Course`."""
        self.fresh(step)
        before, settled_before = self.look(), self.settle()
        self.fresh(step)
        ended = self.do(step, log=str(self.log))
        assert ended.code == 0, f"{step.name}: {ended.err}"
        syncs = tuple(record.n for record in read_log(self.log) if record.op == "fsync" and record.path.endswith("-wal"))
        after, settled_after = self.look(), self.settle()
        assert before.problems == after.problems == settled_after["strange"] == []
        assert self._forks.run("reliability.steps:dead", [str(self.store)]).value == 0
        self.fresh(step)
        reads = self.do(step, only="read").count
        return Course(step, before, after, settled_before, settled_after, ended.count, reads, syncs)


class Bench:
    """Desks, and a job for each of them at a time."""

    def __init__(self, desks: list[Desk]) -> None:
        self._desks = desks

    def each(self, jobs: Iterable[Job], work: Callable[[Desk, Job], None]) -> None:
        """Do all jobs; the first exception ends it."""
        waiting: SimpleQueue[Job] = SimpleQueue()
        for job in jobs:
            waiting.put(job)
        failed: list[BaseException] = []

        def run(desk: Desk) -> None:
            try:
                while not failed:
                    work(desk, waiting.get_nowait())
            except Empty:
                pass
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(desk,)) for desk in self._desks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def courses(self, *names: str) -> list[Course]:
        """Of these steps, or of all, in their order.  They are the same on every bench, and taken once a session."""
        steps = [step for step in STEPS if step.name in names or not names]

        def take(desk: Desk, step: Step) -> None:
            _courses[step.name] = desk.course(step)

        self.each([step for step in steps if step.name not in _courses], take)
        return [_courses[step.name] for step in steps]


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Desks below a directory."""
    host = registry().base.rpartition("/")[2]
    with ExitStack() as stack:
        forks = [stack.enter_context(Forks("reliability.steps")) for _ in range(DESKS)]
        desks = [Desk(folder.resolve(), number, each, host) for number, each in enumerate(forks)]
        desks[0].make()
        yield Bench(desks)


@cache
def registry() -> Fake:
    """One for the session: its host is part of names.  Its image has a layer that is kept when a download is interrupted."""
    fake = Fake()
    fake.__enter__()
    atexit.register(fake.__exit__, None, None, None)
    files = oci_gzip(23, "any", 1_500_000)
    here = fake.repositories["pulled"]
    (root,) = json.loads(files["index.json"])["manifests"]
    here.blobs = {f"sha256:{Path(name).name}": data for name, data in files.items() if name.startswith("blobs/")}
    here.manifests[root["digest"]] = (root["mediaType"], here.blobs.pop(root["digest"]))
    here.tags["1"] = root["digest"]
    return fake
