"""What the benchmarks of whole commands share: timed runs, a Docker engine of its own, generated archives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CACHE = tempfile.TemporaryDirectory(prefix="pycache-")


def environment() -> dict[str, str]:
    """Of a program of ours: what it imports is compiled once, as where it was installed, and not at each start."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _CACHE.name}


def timed(command: list[str], **extra: str) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, env=environment() | extra, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return time.perf_counter() - started


def processor() -> str:
    """The processor's own name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def size_of(directory: Path) -> int:
    """Bytes that the files of a directory take."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@contextlib.contextmanager
def engine(work: Path) -> Iterator[dict[str, str]]:
    """A Docker engine of its own; the environment that leads to it."""
    host = f"unix://{work}/docker.sock"
    command = ["dockerd", "--data-root", f"{work}/docker", "--exec-root", f"{work}/exec", "-H", host, "-p", f"{work}/pid",
               "--iptables=false", "--bridge=none"]
    with (work / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        environment = {"DOCKER_HOST": host}
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "version"], env=os.environ | environment, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit("dockerd does not start: see its log")
            time.sleep(0.2)
        yield environment
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Taken:
    """What one run took."""

    wall: float
    cpu: float


def run(command: list[str], **extra: str) -> Taken:
    """Run a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = timed(command, **extra)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def new_bytes(archive: Path, work: Path) -> int:
    """The plain bytes of an archive that a store keeps: distinct chunks."""
    import lamina

    store = work / "counted"
    with lamina.open(store) as opened:
        new = opened.load(archive, compression="none").stats.new
    shutil.rmtree(store)
    return new


def small_archive(path: Path, start: int, count: int) -> None:
    """A docker-archive of `count` images of one small layer each."""
    manifest = []
    with tarfile.open(path, "w") as out:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))

        for number in range(start, start + count):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as tar:
                info = tarfile.TarInfo("etc/number")
                body = f"{number}\n".encode() * 300
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
            data = layer.getvalue()
            digest = hashlib.sha256(data).hexdigest()
            config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": {},
                                 "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                                 "history": [{"created": "2024-01-01T00:00:00Z", "created_by": str(number)}]}).encode()
            name = hashlib.sha256(config).hexdigest()
            add(f"{digest}/layer.tar", data)
            add(f"{name}.json", config)
            manifest.append({"Config": f"{name}.json", "RepoTags": [f"many/image:{number}"], "Layers": [f"{digest}/layer.tar"]})
        add("manifest.json", json.dumps(manifest).encode())
