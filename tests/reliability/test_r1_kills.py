"""R1: SIGKILL before and after every call that changes a file, of every command.

    pytest tests/reliability/test_r1_kills.py --long [--share 0.4]

All of it takes some 50 minutes of processor time.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import Tally
from reliability.disturbing import Course, Desk, Seen, bench

SHORT = 2  # kills of each command
SEED = 1


def state(seen: Seen) -> tuple[Any, ...]:
    """What a command changes, all of it or nothing."""
    return seen.names, seen.saved, seen.output


def unlike(found: dict[str, Any], *legal: dict[str, Any]) -> str:
    """What is wrong with a store that has been collected; what is live is to be exactly that of one of `legal`."""
    wrong = [f"left over: {found['strange']}"] if found["strange"] else []
    if not any(found["live"] == each["live"] for each in legal):
        have = Counter(found["live"])
        wrong += [f"too many {have - Counter(each['live'])}, missing {Counter(each['live']) - have}" for each in legal]
    return "; ".join(wrong)


def kill(desk: Desk, course: Course, at: int, do: str, *, settle_first: bool) -> bool:
    """Kill the command there and look; whether it got so far."""
    step = course.step
    desk.fresh(step)
    if desk.do(step, at, do).code != -9:
        return False
    where = f"{step.name}, {do} {at} of {course.calls}"
    seen = desk.look()
    assert not seen.problems, f"{where}: {seen.problems}"
    through = state(seen) == state(course.after)
    assert through or state(seen) == state(course.before), f"{where}: {seen}\nbefore {course.before}\nafter {course.after}"
    if settle_first:
        same = state(course.before) == state(course.after)  # a collection may have come to its end, or not
        legal = [course.settled_after] if through else [course.settled_before]
        found = unlike(desk.settle(), *legal, *([course.settled_before] if same else []))
        assert not found, f"{where}: {found}"
    again = desk.do(step)
    assert again.code == 0 or (through and again.code == step.again), f"{where}, and again: {again.code} {again.err}"
    if not settle_first:
        found = unlike(desk.settle(), course.settled_after)
        assert not found, f"{where}, and again: {found}"
    seen = desk.look()
    assert not seen.problems and state(seen) == state(course.after), f"{where}, and again: {seen}"
    return True


def test_a_kill_at_any_call_loses_nothing(tmp_path: Path, long: bool, share: float, tally: Tally) -> None:
    killed: list[str] = []
    rng = random.Random(SEED)
    with bench(tmp_path) as desks:
        courses = desks.courses()
        jobs = [(course, at, do) for course in courses for at in range(1, course.calls + 1) for do in ("kill", "kill-after")]
        if long:
            jobs = rng.sample(jobs, round(share * len(jobs)))
        else:
            some = [rng.sample([job for job in jobs if job[0] is course], SHORT) for course in courses]
            jobs = [job for few in some for job in few]

        def one(desk: Desk, job: tuple[Course, int, str]) -> None:
            course, at, do = job
            if kill(desk, course, at, do, settle_first=at % 2 == 0):
                killed.append(course.step.name)

        desks.each(jobs, one)
    if long and share >= 0.4:
        assert len(killed) >= 1500
    assert {course.step.name for course in courses} <= set(killed)
    tally("R1", kills=len(killed), points=2 * sum(course.calls for course in courses), commands=len(courses), images_lost=0)
