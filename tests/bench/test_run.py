"""A bench of small images, whole: what it finds, what it leaves (nothing), and how it ends when it is interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from images.archives import Built, docker_archive, tar_of
from store.storekit import noise, words

import lamina
from lamina.bench import Plan, bench, child, ours, run
from lamina.bench.dedup import look
from lamina.bench.peers import Peer
from lamina.bench.process import ProgramFailed, Timing
from lamina.bench.settings import Setting
from lamina.bench.workplace import check_space, choose, taken
from lamina.cli.run import run as call
from lamina.errors import NotFound, StorageError, UsageError

SOURCE = Path(__file__).parents[2] / "src"
LAYER, TOP = tar_of({"a": noise(1, 200_000), "b": words(2, 100_000)}), tar_of({"c": words(3, 50_000)})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; empty."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("LAMINA_STORE", str(tmp_path / "users"))
    monkeypatch.setattr(os, "sync", lambda: None)
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children answer without a process: what they say is the same."""
    def answer(request: dict[str, Any]) -> tuple[Timing, dict[str, Any]]:
        begin = time.perf_counter()
        found: dict[str, Any] = json.loads(json.dumps(child.answer(json.loads(json.dumps(request)))))
        return Timing(time.perf_counter() - begin, 0.01), found

    monkeypatch.setattr(ours, "_child", answer)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "one.tar"
    path.write_bytes(docker_archive((Built(LAYER, TOP), ["one:1"]), (Built(LAYER), ["base:1"])).getvalue())
    return path


def state(folder: Path) -> dict[str, str]:
    """Every file and its digest."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


class Fake(Peer):
    """A peer that copies, or fails as it is told."""

    name, package, programs = "fake", "fake", ("sh",)
    what_in, what_out = "take", "give"
    fails = ""

    def version(self) -> str:
        return "1.0"

    def load(self) -> Timing:
        if self.fails:
            raise ProgramFailed(self.fails)
        self.store.mkdir()
        return self.call("cp", *(source.path for source in self.sources), self.store)[0]

    def save(self) -> Timing:
        return Timing(0.5, None)


class Failing(Fake):
    name, fails = "failing", "failing take failed: no"


class Impossible(Fake):
    name = "impossible"

    @classmethod
    def impossible(cls) -> str:
        return "it needs the moon"


def keys(value: Any) -> Any:
    """The keys of JSON, of the first of each list."""
    if isinstance(value, dict):
        return {key: keys(each) for key, each in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict | list) else None


SAMPLE = {"runs": None, "median": None, "least": None, "most": None}
FIGURE = {"seconds": SAMPLE, "cpu_seconds": SAMPLE, "mb_per_second": None, "ratio": None}
STAGE = {"name": None, "cpu_seconds": None, "wall_seconds": None, "bytes": None, "seconds_per_gb": None, "share": None}


@pytest.mark.usefixtures("quick")
def test_a_whole_bench(work: Path, archive: Path) -> None:
    told: list[str] = []
    result = bench(Plan([str(archive)], 2, [Setting("none"), Setting(chunk_size=16, threads=1)], [Fake, Failing, Impossible]),
                   told.append)
    assert list(work.iterdir()) == []
    found = json.loads(json.dumps(result.json()))
    shape = keys(found)
    machine, versions = shape.pop("machine"), shape.pop("versions")
    assert shape == {
        "version": None, "runs": None, "bytes": None, "read_bytes": None,
        "inputs": [{"name": None, "format": None, "bytes": None, "plain_bytes": None, "images": None}],
        "images": [{"name": None, "id": None, "layers": None}],
        "contenders": [{"name": None, "kind": None, "version": None, "what": {"in": None, "out": None},
                        "setting": {"compression": None, "chunk_size_kib": None, "threads": None},
                        "stored_bytes": None, "in": FIGURE, "again": FIGURE, "out": FIGURE}],
        "stages": {"in": [STAGE], "out": (found["stages"]["out"] and [STAGE]) or None},
        "layers": [{"digest": None, "bytes": None, "new_bytes": None, "entries": None, "in_seconds": None, "out_seconds": None,
                    "stages": [STAGE]}],
        "dedup": {"layers": None, "images": None, "whole_bytes": None, "cells": [[{"bytes": None, "own": None}]]},
        "skipped": [{"name": None, "reason": None}], "failed": [{"name": None, "reason": None}], "warnings": None,
    }
    assert {"cpu", "memory_bytes", "kernel", "disk"} <= machine.keys()
    assert {"lamina", "python", "zstandard", "fake"} <= versions.keys()
    names = [one["name"] for one in found["contenders"]]
    assert names == ["lamina zstd:1", "lamina none", "lamina zstd:1, 16 KiB, 1 thread", "fake"]
    assert all(len(one["in"]["seconds"]["runs"]) == 2 for one in found["contenders"])
    assert found["contenders"][0]["stored_bytes"] < found["contenders"][1]["stored_bytes"]
    assert found["contenders"][3]["again"] is None and found["contenders"][3]["out"]["seconds"]["median"] == 0.5
    assert [one["bytes"] for one in found["layers"]] == [len(LAYER), len(TOP)]
    assert all(one["out_seconds"] > 0 for one in found["layers"])
    stages = {one["name"] for one in found["stages"]["in"]}
    assert stages >= {"read", "hash", "scan", "cut", "id", "look-up", "lay", "compress", "write"}
    assert found["dedup"]["images"] == ["one:1", "base:1"]
    assert found["dedup"]["cells"][0][1]["own"] is True and found["dedup"]["cells"][1][1]["own"] is False
    assert found["failed"] == [{"name": "failing", "reason": "failing take failed: no"}]
    assert found["skipped"] == [{"name": "impossible", "reason": "it needs the moon"}]
    turns = [line.partition(": ")[2].partition(",")[0] for line in told if line.startswith("run ")]
    assert turns[0] == "lamina zstd:1" and turns[-1] == "lamina zstd:1"  # backwards the second time


@pytest.mark.usefixtures("quick")
def test_an_image_of_the_store_is_measured_and_the_store_stays_as_it_is(work: Path, archive: Path, tmp_path: Path) -> None:
    with lamina.open() as store:
        store.load(archive)
    before = state(tmp_path / "users" / "packs")
    names = lamina.open().names()
    result = bench(Plan(["one:1"], 1), lambda text: None)
    assert [(one.name, one.format) for one in result.inputs] == [("one:1", "oci")]  # both, in fact
    assert result.dedup is not None and [image.name for image in result.dedup.images] == ["one:1"]
    assert state(tmp_path / "users" / "packs") == before and lamina.open().names() == names
    assert list(work.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_store_that_is_not_there_is_not_made(work: Path, archive: Path, tmp_path: Path) -> None:
    bench(Plan([str(archive)], 1), lambda text: None)
    assert not (tmp_path / "users").exists()
    with pytest.raises(NotFound):
        bench(Plan(["nothing:1"], 1), lambda text: None)
    assert not (tmp_path / "users").exists()


@pytest.mark.parametrize(("name", "says"), [
    ("no/such:1", "neither a file nor an image of the store, no/such:1"), ("UPPER", "neither a file nor an image"),
    ("./no.tar", "no such file or directory"), ("-", "standard input"),
])
def test_what_is_not_there(work: Path, name: str, says: str) -> None:
    lamina.open().close()
    with pytest.raises((NotFound, UsageError), match=says):
        bench(Plan([name]), lambda text: None)
    assert list(work.iterdir()) == []


def test_nothing_stays_when_an_archive_is_damaged(work: Path, archive: Path) -> None:
    broken = archive.with_name("broken.tar")
    data = bytearray(archive.read_bytes())
    data[data.index(noise(1, 200_000)[:64])] ^= 1
    broken.write_bytes(data)
    with pytest.raises(lamina.errors.LaminaError, match="digest"):  # raised by the child, told by the parent
        bench(Plan([str(broken)], 1), lambda text: None)
    assert list(work.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_nothing_stays_when_something_unforeseen_comes(work: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        assert any(work.iterdir())
        raise RuntimeError("in the middle")

    monkeypatch.setattr(run, "look", fails)
    with pytest.raises(RuntimeError, match="in the middle"):
        bench(Plan([str(archive)], 1), lambda text: None)
    assert list(work.iterdir()) == []
    assert run.look is not look


def test_room_is_looked_for_before(work: Path, archive: Path) -> None:
    check_space(work, 0)
    with pytest.raises(StorageError, match=r"not enough room: up to 1000000\.0 GB"):
        check_space(work, 10**15)


def test_where_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert choose(tmp_path, tmp_path / "x" / "store") == tmp_path
    assert choose(None, tmp_path / "store") == Path("/tmp")
    monkeypatch.delenv("TMPDIR")
    assert choose(None, tmp_path / "store") == tmp_path
    assert choose(None, tmp_path / "gone" / "store") != tmp_path / "gone"


def test_a_file_of_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = taken(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert taken(tmp_path) == once >= 100_000


def test_the_command_prints_tables_json_and_a_page(
    work: Path, archive: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, quick: None
) -> None:
    assert call(["bench", "-q", "--runs", "1", "--report", str(tmp_path / "r.html"), str(archive)]) == 0
    out, err = capsys.readouterr()
    assert all(word in out for word in ("Machine: ", "STAGE", "LAYER", "one:1", "WHO", "TIMES AS LONG", "hash", "zstandard "))
    assert "one run tells no spread" in err
    assert 'id="chart-dedup"' in (tmp_path / "r.html").read_text()
    assert call(["bench", "-q", "--runs", "1", "--format", "json", str(archive)]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 1
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(("options", "code", "says"), [
    (["--sweep", "size=1"], 125, "cannot read 'size=1' in --sweep"), (["--runs", "0"], 125, "cannot measure 0 times"),
    (["--against", "tar"], 125, "cannot compare with 'tar'"),
    (["--report", "/nowhere/r.html"], 1, "cannot write the report, /nowhere"),
    (["--work", "/nowhere"], 1, "cannot work there: No such file"),
])
def test_wrong_calls(work: Path, archive: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int,
                     says: str) -> None:
    assert call(["bench", *options, str(archive)]) == code
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.count("\n") == 1
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(work: Path, archive: Path, number: signal.Signals) -> None:
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen([sys.executable, "-m", "lamina", "bench", "--runs", "100", str(archive)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        line = process.stderr.readline()  # in the middle of the first run: a child is at work, or about to be
        assert line.startswith("run 1 of 100: lamina zstd:1, in")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err.endswith("lamina: interrupted\n") and "Traceback" not in err
    assert list(work.iterdir()) == []
