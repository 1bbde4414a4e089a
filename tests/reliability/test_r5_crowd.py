"""R5: a crowd at one store: eight writers, a collector without a pause, savers, a verifier.

Images are removed and loaded again in the middle of sweeps; each layer belongs to several writers' images, so it comes back
while it is being condemned.  `pytest tests/reliability/test_r5_crowd.py --long`: 20 minutes.
LAMINA_CROWD_SECONDS says another time.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from reliability.crowd import ROLES, work
from store.storekit import leftovers, live_packs, pack_files, problems

import lamina

CROWD = ["writer"] * 8 + ["collector", "saver", *["patient"] * 3, "verifier"]
PATIENCE = 180  # seconds after the end for the last step of each


def _run(path: Path, seconds: float) -> tuple[list[str], Counter[str]]:
    """What went wrong, and all counts."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reliability.crowd", "lamina.images", "lamina.store.session", "lamina.store.collect",
                                    "lamina.store.optimize"])
    until = time.monotonic() + seconds
    members: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
    for number, role in enumerate(CROWD):
        out, inside = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(role, path, number, until, inside))
        process.start()
        inside.close()
        members.append((process, out))
    failures, counts = [], Counter[str]()
    for process, out in members:
        with out:
            if not out.poll(max(0, until - time.monotonic()) + PATIENCE):
                process.kill()
                failures.append("a process did not end")
                continue
            failure, mine = out.recv()
        process.join()
        counts += mine
        failures += [failure] if failure else []
    return failures, counts


def test_crowd(tmp_path: Path, long: bool, tally) -> None:
    path = tmp_path / "store"
    with lamina.open(path):
        pass
    assert set(CROWD) == set(ROLES)
    seconds = float(os.environ.get("LAMINA_CROWD_SECONDS") or (1200 if long else 60))
    failures, counts = _run(path, seconds)
    assert not failures, "\n".join(failures)
    with lamina.open(path) as store:
        assert problems(store.blobs) == []
        store.blobs.collect(max_unused=0)
        assert leftovers(store.blobs) == []
        assert pack_files(store.blobs) == live_packs(store.blobs)
        assert problems(store.blobs) == []
    assert min(counts["collections"], counts["loads"], counts["saves"], counts["verifications"]) > 0
    tally("R5", seconds=int(seconds), missing_blobs=0, **{name.replace(" ", "_"): counts[name] for name in sorted(counts)})
