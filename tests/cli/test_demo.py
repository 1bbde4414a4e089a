"""`lamina demo` on a few small files and a real store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina.cli.demo.files as files
from lamina.cli.commands import demo
from lamina.cli.demo import build
from lamina.cli.demo.proof import compare
from lamina.cli.run import run

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two hundred made-up files instead of the machine's; temporary files below the test's own directory."""
    def made() -> Iterator[files.File]:
        for number in range(200):
            yield files.File(f"lib/module{number}.py", f"# {number}\n".encode() * (20 * number), 0o644, 1_700_000_000)

    monkeypatch.setattr(build, "library", made)
    monkeypatch.setattr(build, "packages", made)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_demo_proves_every_part_and_leaves_nothing(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count(" identical\n") == 4
    assert "Every layer and the config came back byte for byte." in out
    assert "MB/s" in out
    shares = [line.split()[-1] for line in out.splitlines() if line.startswith("  ") and line.endswith("%")]
    assert len(shares) == 6
    assert (shares[1], shares[3]) == ("0.0%", "0.0%")
    assert list(small.iterdir()) == []


def test_demo_fails_where_a_layer_differs(small: Path, capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def tampered(image: build.DemoImage, saved: Path) -> list[object]:
        data = bytearray(saved.read_bytes())
        place = data.index(b"lib/added-module59.py")
        data[place + 600] ^= 1
        saved.write_bytes(data)
        return list(compare(image, saved))

    monkeypatch.setattr(demo, "compare", tampered)
    assert run(["demo"]) == 1
    out, err = capsys.readouterr()
    assert out.count(" identical\n") == 3
    assert "DIFFERS, was sha256:" in out
    assert "Every layer" not in out
    assert err == "lamina: error: the saved image differs from the one that was loaded, demo/app:2\n"
    assert list(small.iterdir()) == []


def test_the_same_files_give_the_same_archives(small: Path) -> None:
    archives = []
    for name in ("a", "b"):
        (small / name).mkdir()
        image = build.build(small / name)[2]
        build.write_archive(image, small / f"{name}.tar")
        archives.append((small / f"{name}.tar").read_bytes())
    assert archives[0] == archives[1]
    assert b"lib/.wh.module39.py" in archives[0]
    assert b"lib/added-module59.py" in archives[0]
    assert b"# changed by the demo" in archives[0]


def test_files_are_real_sorted_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST", 3_000_000)
    found = list(files.library())
    assert len(found) > 20
    assert sum(len(file.data) for file in found) <= 3_000_000
    assert found == list(files.library())
    assert not [file.path for file in found if "__pycache__" in file.path or "site-packages" in file.path]


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"x")
    (tmp_path / "link").symlink_to("good")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert [file.path for file in files.files(tmp_path, "in", set())] == ["in/good"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_demo_cleans_up_when_it_is_stopped(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-m", "lamina", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Making three images")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "lamina: interrupted\n")
    assert list(tmp_path.iterdir()) == []
