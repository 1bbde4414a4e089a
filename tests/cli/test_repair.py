"""`repair`: what it prints, and its exit code."""

from __future__ import annotations

import json

import pytest

from cli.stub import DIGEST, invoke
from lamina.images.repair import Loss, RepairResult

Capture = pytest.CaptureFixture[str]
LOSS = Loss(DIGEST, 4000, "application/x", "lacks 2 chunks")


def test_nothing_to_repair(capsys: Capture) -> None:
    ran = invoke(capsys, "repair", repair=RepairResult())
    assert (ran.code, ran.out, ran.err) == (0, "", "nothing to repair\n")
    options = {"dry_run": False, "forget": False, "compression": "zstd:1", "network": None}
    assert ran.store.calls == [("repair", ((),), options)]


def test_what_is_lost(capsys: Capture) -> None:
    result = RepairResult({"ab" * 16: ["a pack has no tail"]}, 7, ["ab" * 16], lost={"app:1": [LOSS]},
                          warnings=["x.tar: no archive"])
    ran = invoke(capsys, "repair", "--from", "x.tar", "--from", "docker://a/b", repair=result)
    assert ran.code == 1
    assert ran.out == (f"Damaged pack: {'ab' * 16}: a pack has no tail\n"
                       "Salvaged: 7 chunks in new packs, 1 packs in quarantine\n"
                       f"Lost: app:1: {DIGEST} (4kB): lacks 2 chunks\n")
    assert ran.err == ("1 name lost: give --from a place that has what is missing, or --forget them\n"
                       "lamina: warning: x.tar: no archive\n")
    assert ran.store.calls[0][1] == (("x.tar", "docker://a/b"),)


def test_what_came_back(capsys: Capture) -> None:
    ran = invoke(capsys, "repair", repair=RepairResult(restored=[DIGEST], names=["app:1"], catalog="it was wrong"))
    assert ran.code == 0
    assert ran.out == f"Catalog: made anew from the packs: it was wrong\nRestored: {DIGEST}\nNamed again: app:1\n"


def test_forgotten(capsys: Capture) -> None:
    ran = invoke(capsys, "repair", "--forget", repair=RepairResult(lost={"app:1": [LOSS]}, forgotten=["app:1"]))
    assert ran.code == 0 and ran.out.startswith("Forgotten: app:1: ")


def test_json(capsys: Capture) -> None:
    ran = invoke(capsys, "repair", "-n", "--format", "json", repair=RepairResult(lost={"app:1": [LOSS]}))
    assert ran.code == 1 and json.loads(ran.out)["lost"]["app:1"][0]["what"] == "lacks 2 chunks"


def test_the_quarantine(capsys: Capture) -> None:
    ran = invoke(capsys, "repair", "--drop-quarantine", drop_quarantine=(2, 5000))
    assert (ran.code, ran.out) == (0, "Deleted 2 files of 5kB\n")
    assert invoke(capsys, "repair", "--drop-quarantine", "--forget").code == 125
    assert invoke(capsys, "repair", "--dry-run", "--forget").code == 125
