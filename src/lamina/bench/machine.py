"""What the figures were measured on: without it they say little."""

from __future__ import annotations

import os
import platform
import sqlite3
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import lamina
from lamina.storage.mounts import file_system

_LIBRARIES = ("blake3", "isal", "numpy", "zstandard")


def machine(place: Path) -> dict[str, Any]:
    """Processor, memory, kernel, and the disk below a directory."""
    from lamina._native import cpu

    mounts = _read("/proc/self/mountinfo").encode(errors="surrogateescape")
    kind, point = file_system(place.resolve(), mounts)
    return {
        "cpu": {
            "model": _after(_read("/proc/cpuinfo"), "model name") or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "features": list(cpu.features()),
            "selected": cpu.selected(),
            "virtual": " hypervisor" in _after(_read("/proc/cpuinfo"), "flags"),
        },
        "memory_bytes": int((_after(_read("/proc/meminfo"), "MemTotal") or "0").split()[0]) * 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _after(_read("/etc/os-release"), "PRETTY_NAME", "=").strip('"'),
        "disk": {"file_system": kind, "mounted_at": point, **_device(place)},
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Lamina's, and of what it works with."""
    import zstandard

    return {
        "lamina": lamina.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: metadata.version(name) for name in _LIBRARIES},
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }


def _device(place: Path) -> dict[str, Any]:
    """Name, model and kind of the disk that a directory lies on, as far as the system tells."""
    number = place.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not block.exists():
        return {"device": "", "model": "", "rotational": None}
    real = block.resolve()
    whole = real if (real / "queue").exists() else real.parent  # a partition lies in its disk
    turns = _read(whole / "queue/rotational").strip()
    return {"device": real.name, "model": _read(whole / "device/model").strip(), "rotational": turns == "1" if turns else None}


def _read(path: str | Path) -> str:
    with suppress(OSError):
        return Path(path).read_text(errors="surrogateescape")
    return ""


def _after(text: str, name: str, sign: str = ":") -> str:
    """The value of the first line `name: value`."""
    for line in text.splitlines():
        key, found, value = line.partition(sign)
        if found and key.strip() == name:
            return value.strip()
    return ""
