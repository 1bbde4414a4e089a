"""Whole commands against their peers, in one run: wall seconds, medians, ratios.

    python benchmarks/commands.py DIR [--runs N] [--peers docker,skopeo,restic] [--format table|json]

DIR holds docker-archives (`*.tar`).  What is measured:
- `load` of the largest archive and of the one nearest to 0.5 GB into an empty store, against `docker load` (an engine of its
  own, image removed before each run) and `skopeo copy docker-archive: dir:`;
- all archives in one store: time and size, against `restic backup` of the same files (compression auto), one snapshot each;
- how `load` and `images` take to a store of 1,000 images; `--version` and completion.
Runs alternate between the programs, so that a drift of the machine hits all; needs root, and a few GB below TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LAMINA = [sys.executable, "-m", "lamina"]


def timed(command: list[str], **extra: str) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, env=os.environ | extra, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return time.perf_counter() - started


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


class Bench:
    """What is measured, and where."""

    def __init__(self, archives: list[Path], runs: int, peers: list[str], work: Path) -> None:
        self.archives, self.runs, self.peers, self.work = archives, runs, peers, work
        self.rows: list[dict[str, object]] = []

    def row(self, what: str, who: str, seconds: list[float], base: float | None, **more: object) -> float:
        """Note and print one line; the median."""
        median = statistics.median(seconds)
        entry = {"what": what, "who": who, "median_s": round(median, 3), "min_s": round(min(seconds), 3),
                 "max_s": round(max(seconds), 3), "ratio": round(median / base, 2) if base else 1.0, **more}
        self.rows.append(entry)
        extra = "  ".join(f"{key} {value}" for key, value in more.items())
        spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
        print(f"| {what} | {who} | {median:.2f} | {spread} | {entry['ratio']} | {extra} |", flush=True)
        return median

    def lamina(self, archive: Path, *options: str) -> float:
        store = self.work / "one"
        shutil.rmtree(store, ignore_errors=True)
        return timed([*LAMINA, "--store", str(store), "load", "-q", *options, "-i", str(archive)])

    def skopeo(self, archive: Path) -> float:
        target = self.work / "dir"
        shutil.rmtree(target, ignore_errors=True)
        return timed(["skopeo", "copy", "-q", "--insecure-policy", f"docker-archive:{archive}", f"dir:{target}"])

    def docker(self, archive: Path, environment: dict[str, str]) -> float:
        subprocess.run("docker images -q | xargs -r docker rmi -f", shell=True, env=os.environ | environment,
                       capture_output=True, check=False)
        return timed(["docker", "load", "-q", "-i", str(archive)], **environment)

    def loads(self) -> None:
        """`load` of the largest archive, and of one of 0.5 GB."""
        largest = max(self.archives, key=lambda path: path.stat().st_size)
        middle = min(self.archives, key=lambda path: abs(path.stat().st_size - 500_000_000))
        for archive in dict.fromkeys([largest, middle]):
            size = archive.stat().st_size
            what = f"load {archive.stem} ({size / 1e9:.2f} GB)"
            programs: dict[str, Callable[[], float]] = {
                "lamina": lambda a=archive: self.lamina(a),
                "lamina --compression none": lambda a=archive: self.lamina(a, "--compression", "none"),
            }
            with contextlib.ExitStack() as stack:
                if "skopeo" in self.peers:
                    programs["skopeo copy docker-archive: dir:"] = lambda a=archive: self.skopeo(a)
                if "docker" in self.peers:
                    environment = stack.enter_context(engine(self.work))
                    programs["docker load"] = lambda a=archive, e=environment: self.docker(a, e)
                seconds: dict[str, list[float]] = {name: [] for name in programs}
                for _ in range(self.runs):
                    for name, run in programs.items():
                        subprocess.run(["cat", archive], stdout=subprocess.DEVNULL, check=True)  # cached for all
                        seconds[name].append(run())
            base: float | None = None
            for name, values in seconds.items():
                rate = f"{size / statistics.median(values) / 1e6:.0f}"
                median = self.row(what, name, values, base, **{"MB/s": rate})
                base = base or median

    def everything(self) -> None:
        """All archives in one store."""
        total = sum(path.stat().st_size for path in self.archives)
        what = f"all {len(self.archives)} ({total / 1e9:.2f} GB)"
        names = [str(path) for path in self.archives]
        store = self.work / "all"
        shutil.rmtree(store, ignore_errors=True)
        seconds = timed([*LAMINA, "--store", str(store), "load", "-q", *names])
        self.row(what, "lamina", [seconds], None, **{"MB": size_of(store) // 10**6})
        shutil.rmtree(store)
        if "restic" in self.peers:
            repository = self.work / "restic"
            extra = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(repository), "RESTIC_CACHE_DIR": str(self.work / "cache")}
            timed(["restic", "init", "-q"], **extra)
            taken = sum(timed(["restic", "backup", "-q", name], **extra) for name in names)
            self.row(what, "restic backup", [taken], seconds, **{"MB": size_of(repository) // 10**6})
            shutil.rmtree(repository)

    def many(self, count: int = 1000) -> None:
        """A store of many small images: how long answers take, and one more load."""
        store = self.work / "many"
        first = self.work / "first.tar"
        small_archive(first, count + 1, 1)
        archive = self.work / "many.tar"
        small_archive(archive, 0, count)
        for label in ("an empty store", f"a store of {count} images"):
            values = []
            for run in range(self.runs):
                target = store if label != "an empty store" else self.work / f"empty{run}"
                one = self.work / f"one{run}.tar"
                small_archive(one, count + 10 + run, 1)
                values.append(timed([*LAMINA, "--store", str(target), "load", "-q", "-i", str(one)]))
            self.row("load one small image", f"into {label}", values, None)
            if label == "an empty store":
                timed([*LAMINA, "--store", str(store), "load", "-q", "-i", str(archive)])
        tests = {
            f"images, {count} images": [*LAMINA, "--store", str(store), "images"],
            "--version": [*LAMINA, "--version"],
        }
        for what, command in tests.items():
            self.row(what, "lamina", [timed(command) for _ in range(max(5, self.runs))], None)
        completion = {"_LAMINA_COMPLETE": "bash_complete", "COMP_WORDS": "lamina rmi m", "COMP_CWORD": "2",
                      "LAMINA_STORE": str(store)}
        command = [shutil.which("lamina") or sys.executable, *([] if shutil.which("lamina") else ["-m", "lamina"])]
        values = [timed(command, **completion) for _ in range(max(5, self.runs))]
        self.row("completion of a name", "lamina", values, None)


def small_archive(path: Path, start: int, count: int) -> None:
    """A docker-archive of `count` images of one small layer each."""
    import hashlib

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default="docker,skopeo,restic")
    parser.add_argument("--only", default="loads,everything,many")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    archives = sorted(options.directory.glob("*.tar"))
    if not archives:
        raise SystemExit(f"no *.tar in {options.directory}")
    missing = [name for name in options.peers.split(",") if name and not shutil.which(name)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; name the others with --peers")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
          f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}")
    print("| what | who | median s | range | ratio | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="lamina-bench-") as work:
        bench = Bench(archives, options.runs, [name for name in options.peers.split(",") if name], Path(work))
        for part in options.only.split(","):
            getattr(bench, part)()
        if options.format == "json":
            print(json.dumps(bench.rows, indent=1))


if __name__ == "__main__":
    main()
