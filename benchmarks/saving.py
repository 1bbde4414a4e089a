"""The way out: `save` against `docker save`, where its time goes, and how much is read for it.

    python benchmarks/saving.py DIR [--images NAME,...] [--runs N] [--peers docker] [--compression C]

DIR holds docker-archives (`*.tar`), which are loaded into one store in the order of their names.  Then, for the images of
`--images` (stems of archives; by default the last one, the largest, and the one nearest to 0.5 GB), in one run:
- wall and CPU seconds of `lamina save -o FILE`, with the packs in the page cache and without (posix_fadvise), and of
  `docker save -o FILE` from an engine of its own; medians, MB/s of the archive, ratio to `lamina save` with cached packs;
- stored bytes that are read, against those of the distinct frames that hold the image's chunks (`needed`), and against
  those frames' stored bytes times the share of their plain bytes that the image uses (`own`);
- CPU seconds of each stage, for a GB of blobs.
Runs alternate between the programs.  Needs root for docker, and room for twice DIR below TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import LAMINA, engine

from lamina.digest import Digest
from lamina.oci import Descriptor, parse_manifest
from lamina.store import BlobStore
from lamina.store.recipe import blocks


def run(command: list[str], **extra: str) -> tuple[float, float]:
    """(wall, CPU) seconds of a command that must succeed; CPU of the command alone, not of an engine that works for it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=os.environ | extra, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def name_in(archive: Path) -> str:
    """The first name in a docker-archive."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        return str(json.load(member)[0]["RepoTags"][0])


def drop(store: Path) -> None:
    """Take the packs out of the page cache."""
    for path in (store / "packs").rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


class Stages:
    """Sums by stage."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cpu: dict[str, float] = defaultdict(float)

    def add(self, name: str, cpu_seconds: float, wall_seconds: float, bytes: int) -> None:
        with self._lock:
            self.cpu[name] += cpu_seconds


def blobs_of(store: BlobStore, name: str) -> list[Descriptor]:
    """The config and layers of an image."""
    root = store.resolve(f"docker.io/{name}")
    data = store.document(root.digest)
    if "manifests" in json.loads(data):
        root = Descriptor.from_json(json.loads(data)["manifests"][0])
        data = store.document(root.digest)
    manifest = parse_manifest(data, root.media_type, root.digest)
    return list(dict.fromkeys([manifest.config, *manifest.layers]))


@dataclass
class Found:
    """Plain bytes of an image, stored bytes (see above), CPU seconds by stage."""

    total: int
    read: int
    needed: float
    own: float
    cpu: dict[str, float]


def read(path: Path, name: str) -> Found:
    """Read an image's blobs in a fresh store object: what was read, what was needed, where the time went."""
    stages, total = Stages(), 0
    with BlobStore.open(path, create=False) as store, store.reading(stages) as reading:
        buffer = memoryview(bytearray(1 << 20))
        wanted = blobs_of(store, name)
        for blob in wanted:
            reader = reading.fetch(blob)
            while count := reader.readinto(buffer):
                total += count
            reader.close()
        got = store.packs.bytes_read
        chunks: dict[int, list[np.ndarray]] = defaultdict(list)
        for blob in wanted:
            row = store.catalog.blob(blob.digest)
            if row is None or row.kind == "document":
                continue
            head, lookup = store.head_of_row(row), store.chunks(reading.index)
            ids = [np.frombuffer(b"".join(entry[0] for entry in head.recipe), np.uint8).reshape(-1, 32)]
            for block in blocks(head, lambda key, to=lookup, at=blob.digest: to.chunk(key, Digest(at))):
                ids += [block.content, block.segment]
            places = lookup.places(np.concatenate(ids), blob.digest)
            for number in np.unique(places[:, 0]):
                chunks[int(number)].append(places[places[:, 0] == number, 1:])
        needed = own = 0.0
        for number, parts in chunks.items():
            rows = np.unique(np.concatenate(parts), axis=0)
            records = store.packs.footer(number).records
            used = np.bincount(rows[:, 0], weights=rows[:, 2], minlength=len(records))
            touched = used > 0
            needed += float(records["stored"][touched].sum())
            own += float((records["stored"][touched] * used[touched] / records["plain"][touched]).sum())
    return Found(total, got, needed, own, dict(stages.cpu))


def measure(path: Path, archives: list[Path], runs: int, docker: bool, work: Path) -> None:
    """Both tables."""
    names = {archive.stem: name_in(archive) for archive in archives}
    out = work / "out.tar"

    def fresh(command: list[str], before: Callable[[], object], **extra: str) -> tuple[float, float]:
        out.unlink(missing_ok=True)
        before()
        return run([*command, "-o", str(out)], **extra)

    def cached() -> None:
        subprocess.run(["cat", *(str(each) for each in (path / "packs").rglob("*") if each.is_file())],
                       stdout=subprocess.DEVNULL, check=True)

    print("| image | who | wall s | CPU s | MB/s | ratio |\n|---|---|---|---|---|---|")
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        if docker:
            environment = stack.enter_context(engine(work))
        for archive in archives:
            name = names[archive.stem]
            save = [*LAMINA, "--store", str(path), "save", "-q", name]
            programs: dict[str, Callable[[], tuple[float, float]]] = {
                "lamina save, cached": lambda c=save: fresh(c, cached),
                "lamina save, cold": lambda c=save: fresh(c, lambda: drop(path)),
            }
            if docker:
                run(["docker", "load", "-q", "-i", str(archive)], **environment)
                programs["docker save"] = lambda n=name: fresh(["docker", "save", n], lambda: None, **environment)
            values: dict[str, list[tuple[float, float]]] = {who: [] for who in programs}
            sizes = {}
            for _ in range(runs):
                for who, act in programs.items():
                    values[who].append(act())
                    sizes[who] = out.stat().st_size
            base = statistics.median(wall for wall, _ in values["lamina save, cached"])
            for who, pairs in values.items():
                wall, cpu = (statistics.median(each) for each in zip(*pairs, strict=True))
                shown = f"{cpu:.2f}" if who != "docker save" else ""  # the engine's is not ours to see
                print(f"| {archive.stem} | {who} | {wall:.2f} | {shown} | {sizes[who] / wall / 1e6:.0f} | {wall / base:.2f} |",
                      flush=True)
    print("\n| image | read MB | needed MB | own MB | read / needed | read / own | CPU s a GB by stage |")
    print("|---|---|---|---|---|---|---|")
    for archive in archives:
        found = read(path, names[archive.stem])
        got, needed, own, total = found.read, found.needed, found.own, found.total
        stages = ", ".join(f"{stage} {seconds / total * 1e9:.2f}" for stage, seconds in found.cpu.items())
        megabytes = " | ".join(f"{count / 1e6:.1f}" for count in (got, needed, own))
        print(f"| {archive.stem} | {megabytes} | {got / needed:.2f} | {got / own:.2f} | {stages} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--images", default="")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default="docker")
    parser.add_argument("--compression", default="zstd:1")
    parser.add_argument("--store", type=Path, help="a store that has all images already")
    options = parser.parse_args()
    archives = sorted(options.directory.glob("*.tar"))
    if not archives:
        raise SystemExit(f"no *.tar in {options.directory}")
    docker = "docker" in options.peers.split(",")
    if docker and not shutil.which("dockerd"):
        raise SystemExit("docker is not installed: leave it out with --peers ''")
    chosen = [archive for archive in archives if archive.stem in options.images.split(",")] or list(dict.fromkeys([
        archives[-1], max(archives, key=lambda path: path.stat().st_size),
        min(archives, key=lambda path: abs(path.stat().st_size - 500_000_000))]))
    with tempfile.TemporaryDirectory(prefix="lamina-bench-") as name:
        work = Path(name)
        store = options.store or work / "store"
        if not options.store:
            run([*LAMINA, "--store", str(store), "load", "-q", "--compression", options.compression, *map(str, archives)])
        print(f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}; {len(archives)} archives, {options.compression}\n")
        measure(store, chosen, options.runs, docker, work)


if __name__ == "__main__":
    main()
