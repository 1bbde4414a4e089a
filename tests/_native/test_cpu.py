"""Features, and forcing a path."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lamina._native import cpu


@pytest.fixture(autouse=True)
def unforced() -> Iterator[None]:
    yield
    cpu.force(None)


def at_import(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from lamina._native import cpu; cpu.force(None); print(*set(cpu.selected().values()))"],
        env={**os.environ, "LAMINA_CPU": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_features_are_known_names() -> None:
    assert set(cpu.features()) <= set(cpu.FEATURES)


def test_features_agree_with_the_kernel() -> None:
    with open("/proc/cpuinfo") as file:  # noqa: PTH123
        flags = {flag for line in file if line.startswith(("flags", "Features")) for flag in line.split()}
    linux = {"sse4.1": "sse4_1", "neon": "asimd"}
    assert set(cpu.features()) == {name for name in cpu.FEATURES if linux.get(name, name) in flags}


def test_every_kernel_takes_its_best_path() -> None:
    cpu.force("portable")
    assert set(cpu.selected().values()) == {"portable"}
    cpu.force(None)
    if "LAMINA_CPU" not in os.environ:
        for kernel, path in cpu.selected().items():
            best = [name for name in cpu.KERNELS[kernel] if name in cpu.features()]
            assert path == (best[0] if best else "portable")


def test_forcing_a_path_touches_only_kernels_that_have_it() -> None:
    for path in set(cpu.features()) & {name for paths in cpu.KERNELS.values() for name in paths}:
        cpu.force(path)
        for kernel, taken in cpu.selected().items():
            assert taken == (path if path in cpu.KERNELS[kernel] else "portable")


def test_none_goes_back_to_the_start() -> None:
    before = cpu.selected()
    cpu.force("portable")
    cpu.force(None)
    assert cpu.selected() == before


def test_a_path_that_nothing_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel has a path 'mmx'"):
        cpu.force("mmx")


def test_a_path_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = next(name for name in cpu.FEATURES if name not in cpu.features())
    monkeypatch.setitem(cpu.KERNELS, "imagined", (missing,))
    before = cpu.selected()
    with pytest.raises(ValueError, match="lacks"):
        cpu.force(missing)
    assert cpu.selected() == before


def test_the_environment_forces_a_path_at_import() -> None:
    assert at_import("portable").stdout.split() == ["portable"]


def test_the_environment_is_a_demand() -> None:
    failed = at_import("mmx")
    assert failed.returncode != 0
    assert "no kernel has a path 'mmx'" in failed.stderr
