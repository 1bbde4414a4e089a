"""R4: no space, or an input/output error, at every call on the store's files, once or from then on; and a small disk filled.

    pytest tests/reliability/test_r4_disk_errors.py --long
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Tally
from reliability.disturbing import Course, Desk, Seen, bench
from reliability.faults import TESTS, Ended, Record, read_log
from reliability.test_r1_kills import state, unlike

SHORT = 2  # errors of each command
SEED = 2
LOADED = "Loaded image: "


@dataclass(frozen=True, slots=True)
class Job:
    """An error that one command meets."""

    course: Course
    at: int
    do: str
    stay: bool
    only: str = ""

    def __str__(self) -> str:
        return f"{self.course.step.name}, {self.do} at {self.only} {self.at}" + (" and after" if self.stay else "")


def told(ended: Ended) -> str:
    """What is wrong with how a command ended."""
    if ended.code is None:
        return "it hung"
    errors = [line for line in ended.err.splitlines() if line.startswith("lamina: error: ")]
    if "Traceback" in ended.err or "internal error" in ended.err or "Exception" in ended.err:
        return f"it did not expect that: {ended.err}"
    if ended.code == 0:
        return ""
    return "" if ended.code == 1 and errors else f"exit code {ended.code}, {len(errors)} errors: {ended.err}"


def synced_again(records: Iterable[Record]) -> list[str]:
    """Files that got their name by an fsync after one that failed; the catalog's are SQLite's, which writes them anew."""
    failed: dict[int, bool] = {}  # whether there was another one since
    found = []
    for record in records:
        if record.dir or "catalog.sqlite" in record.path:
            continue
        if record.op == "create":
            failed.pop(record.ino, None)
        elif record.op == "failed fsync":
            failed[record.ino] = False
        elif record.op == "fsync" and record.ino in failed:
            failed[record.ino] = True
        elif record.op in ("rename", "link") and failed.get(record.ino):
            found.append(f"{record.path} -> {record.to}")
    return found


def disturb(desk: Desk, job: Job) -> str:
    """Let it happen and look; how the command ended: "done", "failed", or "" if it did not get so far."""
    course, step = job.course, job.course.step
    desk.fresh(step)
    ended = desk.do(step, job.at, job.do, stay=job.stay, only=job.only, log=str(desk.log))
    if 0 <= ended.count < job.at:
        return ""
    assert not (wrong := told(ended)), f"{job}: {wrong}"
    assert not (wrong := synced_again(read_log(desk.log))), f"{job}: {wrong}"
    seen = desk.look()
    assert not seen.problems, f"{job}: {ended.err} {seen.problems}"
    through = state(seen) == state(course.after)
    untouched = ended.code != 0 and state(seen) == state(course.before)
    assert through or untouched or in_part(ended, seen, course), f"{job}: {ended} {seen}\n{course}"
    again = desk.do(step)
    assert again.code == 0 or (through and again.code == step.again), f"{job}, and again: {again}"
    found = unlike(desk.settle(), course.settled_after)
    assert not found, f"{job}, and again: {found}"
    seen = desk.look()
    assert not seen.problems and state(seen) == state(course.after), f"{job}, and again: {seen}"
    if ended.code and through and state(course.before) != state(course.after):
        return "through"
    return "failed" if ended.code else "done"


def in_part(ended: Ended, seen: Seen, course: Course) -> bool:
    """Whether a load of several archives, which goes on after a bad one, has loaded what it says, and nothing else."""
    loaded = {"docker.io/library/" + line.removeprefix(LOADED) for line in ended.out.splitlines() if line.startswith(LOADED)}
    new = {name: course.after.names.get(name, "") for name in loaded}
    return len(archives(course)) > 1 and ended.code == 1 and bool(new) and seen.names == course.before.names | new


def archives(course: Course) -> list[str]:
    """What a load is told to load."""
    command, *words = course.step.words
    return [word for word in words if word.endswith(".tar")] if command == "load" else []


def jobs_of(course: Course) -> list[Job]:
    """Every call that changes something, and every read."""
    calls = range(1, course.calls + 1)
    jobs = [Job(course, at, do, stay) for at in calls for do in ("ENOSPC", "EIO", "short") for stay in (False, True)
            if do != "short" or stay]
    return jobs + [Job(course, at, "EIO", stay, "read") for at in range(1, course.reads + 1) for stay in (False, True)]


def in_turn(jobs: list[Job], rng: random.Random) -> list[Job]:
    """In any order, but each call once before any comes again with another error."""
    rng.shuffle(jobs)
    turns: Counter[tuple[str, str, int]] = Counter()
    found = []
    for job in jobs:
        call = job.course.step.name, job.only, job.at
        found.append((turns[call], job))
        turns[call] += 1
    return [job for _, job in sorted(found, key=lambda each: each[0])]


def test_an_error_of_the_disk_at_any_call_loses_nothing(tmp_path: Path, long: bool, share: float, tally: Tally) -> None:
    ends: list[str] = []
    rng = random.Random(SEED)
    with bench(tmp_path) as desks:
        courses = desks.courses()
        points = [job for course in courses for job in jobs_of(course)]
        few = [job for course in courses for job in rng.sample(jobs_of(course), SHORT)]
        jobs = in_turn(points, rng)[: round(share * len(points))] if long else few
        desks.each(jobs, lambda desk, job: ends.append(disturb(desk, job)))
    counts = Counter(filter(None, ends))
    calls = len({(job.course.step.name, job.only, job.at) for job in jobs})
    all_calls = sum(each.calls + each.reads for each in courses)
    tally("R4", errors=counts.total(), points=len(points), calls=calls, calls_in_all=all_calls, exit_0=counts["done"],
          commands=len(courses), images_lost=0)


@pytest.mark.parametrize("name", ["load over a name", "optimize"])
def test_a_commit_whose_sync_failed_may_come_to_light(tmp_path: Path, name: str) -> None:
    """SQLite has it in its log, and reads it from there after a power cut: then all that it names has to be there.

    The disk stays full, so that no later commit is written over it.
    """
    with bench(tmp_path) as desks:
        (course,) = desks.courses(name)

        def cut(desk: Desk, at: int) -> None:
            desk.fresh(course.step)
            ended = desk.do(course.step, at, "ENOSPC", stay=True, power_cut=True)
            assert not (wrong := told(ended)), f"{name}, sync {at}: {wrong}"
            seen = desk.look()
            assert not seen.problems, f"{name}, sync {at}: {ended.err} {seen.problems}"
            assert state(seen) == state(course.after) or (ended.code and state(seen) == state(course.before)), f"{at}: {seen}"

        desks.each(course.syncs, cut)


def test_a_small_disk_is_filled_and_emptied(tmp_path: Path, long: bool, tally: Tally) -> None:
    """In a mount of its own, which goes with the process."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare (util-linux) to mount a tmpfs with")
    space = [unshare, "-m"] if os.geteuid() == 0 else [unshare, "-rm"]
    (tmp_path / "disk").mkdir()
    mount = [*space, "mount", "-t", "tmpfs", "none", tmp_path / "disk"]
    probe = subprocess.run(mount, capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {probe.stderr.strip()}")
    turns = 10 if long else 3
    done = subprocess.run([*space, sys.executable, "-m", "reliability.filling", tmp_path / "disk", str(turns)], check=False,
                          env=os.environ | {"PYTHONPATH": str(TESTS)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tally("R4 small disk", times_filled=turns, images_loaded=int(done.stdout.split()[-1]), images_lost=0)
