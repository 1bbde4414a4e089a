"""Whole commands against their peers, in one run: wall seconds, medians, ratios, and the bars that they should reach.

    python benchmarks/commands.py DIR [--runs N] [--peers docker,skopeo,restic,borg] [--only PARTS] [--json FILE]

DIR holds docker-archives (`*.tar`).  What is measured, by the parts of `--only`:
- loads: `load` of the largest archive and of the one nearest to 0.5 GB into an empty store, against `docker load` (an engine
  of its own, image removed before each run) and `skopeo copy docker-archive: dir:`; CPU seconds for a GB of new content;
- everything: all archives in one store, time and size, against `restic backup` of the same files (compression auto, one
  snapshot each) and `borg import-tar` (zstd,1, chunks of 64 KiB); the store after `optimize`;
- saves: `save` of the largest image against `docker save`;
- many: how `load` and `images` take to a store of 1,000 images; `--version` and completion.
Runs alternate between the programs, so that a drift of the machine hits all; needs root, and some 20 GB below TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import Taken, engine, new_bytes, processor, run, size_of, small_archive, timed

LAMINA = [sys.executable, "-m", "lamina"]


class Bench:
    """What is measured, and where."""

    def __init__(self, archives: list[Path], runs: int, peers: list[str], work: Path) -> None:
        self.archives, self.runs, self.peers, self.work = archives, runs, peers, work
        self.rows: list[dict[str, object]] = []
        self.bars: list[dict[str, object]] = []

    def row(self, what: str, who: str, seconds: list[float], base: float | None, **more: object) -> float:
        """Note and print one line; the median."""
        median = statistics.median(seconds)
        entry = {"what": what, "who": who, "median_s": round(median, 3), "min_s": round(min(seconds), 3),
                 "max_s": round(max(seconds), 3), "ratio": round(median / base, 2) if base else 1.0, **more}
        self.rows.append(entry)
        extra = ", ".join(f"{value} {key}" for key, value in more.items())
        spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
        print(f"| {what} | {who} | {median:.2f} | {spread} | {entry['ratio']} | {extra} |", flush=True)
        return median

    def bar(self, what: str, figure: float, wanted: float, *, most: bool = False) -> None:
        """Note a figure that should be at least (or at most) so much."""
        self.bars.append({"what": what, "figure": round(figure, 3), "bar": wanted, "at": "most" if most else "least",
                          "holds": figure <= wanted if most else figure >= wanted})

    # -- single images

    def lamina(self, archive: Path, *options: str) -> Taken:
        store = self.work / "one"
        shutil.rmtree(store, ignore_errors=True)
        return run([*LAMINA, "--store", str(store), "load", "-q", *options, "-i", str(archive)])

    def skopeo(self, archive: Path) -> Taken:
        target = self.work / "dir"
        shutil.rmtree(target, ignore_errors=True)
        return run(["skopeo", "copy", "-q", "--insecure-policy", f"docker-archive:{archive}", f"dir:{target}"])

    def docker(self, archive: Path, environment: dict[str, str]) -> Taken:
        subprocess.run("docker images -q | xargs -r docker rmi -f", shell=True, env=os.environ | environment,
                       capture_output=True, check=False)
        return run(["docker", "load", "-q", "-i", str(archive)], **environment)

    def loads(self) -> None:
        """`load` of the largest archive, and of one of 0.5 GB."""
        largest = max(self.archives, key=lambda path: path.stat().st_size)
        middle = min(self.archives, key=lambda path: abs(path.stat().st_size - 500_000_000))
        wanted = {middle: (4, 1.7), largest: (7, 3)}
        for archive in dict.fromkeys([largest, middle]):
            size = archive.stat().st_size
            what = f"load {archive.stem} ({size / 1e9:.2f} GB)"
            none, skopeo, docker = "lamina --compression none", "skopeo copy docker-archive: dir:", "docker load"
            programs: dict[str, Callable[[], Taken]] = {
                "lamina": lambda a=archive: self.lamina(a),
                none: lambda a=archive: self.lamina(a, "--compression", "none"),
            }
            with contextlib.ExitStack() as stack:
                if "skopeo" in self.peers:
                    programs[skopeo] = lambda a=archive: self.skopeo(a)
                if "docker" in self.peers:
                    environment = stack.enter_context(engine(self.work))
                    programs[docker] = lambda a=archive, e=environment: self.docker(a, e)
                taken = self._alternate(programs, archive)
            medians = {name: statistics.median(one.wall for one in each) for name, each in taken.items()}
            base = medians["lamina"]
            for name, each in taken.items():
                cpu = statistics.median(one.cpu for one in each)
                self.row(what, name, [one.wall for one in each], base if name != "lamina" else None,
                         **{"MB/s": round(size / medians[name] / 1e6), "CPU s": round(cpu, 2)})
            for peer, least in zip((docker, skopeo), wanted[archive], strict=True):
                if peer in medians:
                    self.bar(f"{what}, times faster than {peer}", medians[peer] / base, least)
            if archive == largest:
                self._plain(archive, what, taken[none], medians.get(docker))

    def _plain(self, archive: Path, what: str, taken: list[Taken], docker: float | None) -> None:
        """The bars of imports without compression."""
        if docker:
            wall = statistics.median(one.wall for one in taken)
            self.bar(f"{what}, --compression none, times faster than docker load", docker / wall, 14)
        again = [*LAMINA, "--store", str(self.work / "one"), "load", "-q", "-i", str(archive)]
        start = statistics.median(run(again).cpu for _ in range(3))
        cpu = statistics.median(one.cpu for one in taken) - start
        self.bar("CPU s for a GB of new content, --compression none, start-up left out",
                 cpu / new_bytes(archive, self.work) * 1e9, 1.3, most=True)

    def _alternate(self, programs: dict[str, Callable[[], Taken]], archive: Path) -> dict[str, list[Taken]]:
        taken: dict[str, list[Taken]] = {name: [] for name in programs}
        for _ in range(self.runs):
            for name, program in programs.items():
                subprocess.run(["cat", archive], stdout=subprocess.DEVNULL, check=True)  # cached for all
                taken[name].append(program())
        return taken

    # -- all of them

    def everything(self) -> None:
        """All archives in one store, by the default level and by zstd:3, against backup programs."""
        total = sum(path.stat().st_size for path in self.archives)
        what = f"all {len(self.archives)} ({total / 1e9:.2f} GB)"
        programs: dict[str, Callable[[], tuple[Taken, int]]] = {
            "lamina": self._lamina_all,
            "lamina --compression zstd:3": lambda: self._lamina_all("--compression", "zstd:3"),
        }
        if "restic" in self.peers:
            programs["restic backup"] = self._restic_all
        if "borg" in self.peers:
            programs["borg import-tar, zstd,1, 64 KiB"] = self._borg_all
        taken: dict[str, list[tuple[Taken, int]]] = {name: [] for name in programs}
        for _ in range(self.runs):
            for name, program in programs.items():
                for archive in self.archives:
                    subprocess.run(["cat", archive], stdout=subprocess.DEVNULL, check=True)
                taken[name].append(program())
        walls = {name: statistics.median(one.wall for one, _ in each) for name, each in taken.items()}
        sizes = {name: each[-1][1] for name, each in taken.items()}
        for name, each in taken.items():
            self.row(what, name, [one.wall for one, _ in each], walls["lamina"] if name != "lamina" else None,
                     MB=round(sizes[name] / 1e6), **{"MB/s": round(total / walls[name] / 1e6)})
        three = "lamina --compression zstd:3"
        for name, least, size_most, size_name in (("lamina", 3.5, 0.98, "default"), (three, 2.6, 0.92, "zstd:3")):
            if "restic backup" in walls:
                size = sizes[name] / sizes["restic backup"]
                self.bar(f"{what}, {size_name}, times faster than restic", walls["restic backup"] / walls[name], least)
                self.bar(f"{what}, {size_name}, size against restic's", size, size_most, most=True)
        if (borg := "borg import-tar, zstd,1, 64 KiB") in walls:
            self.bar(f"{what}, times faster than borg", walls[borg] / walls["lamina"], 4)
            self.bar(f"{what}, size against borg's", sizes["lamina"] / sizes[borg], 1, most=True)
        self._optimized(what, sizes)

    def _optimized(self, what: str, sizes: dict[str, int]) -> None:
        store = self.work / "all"
        self._lamina_all(keep=True)
        taken = run([*LAMINA, "--store", str(store), "optimize", "-q"])
        size = size_of(store)
        shutil.rmtree(store)
        self.row(what, "lamina optimize, after the load", [taken.wall], None, MB=round(size / 1e6))
        if "restic backup" in sizes:
            self.bar(f"{what}, after optimize, size against restic's", size / sizes["restic backup"], 0.70, most=True)

    def _lamina_all(self, *options: str, keep: bool = False) -> tuple[Taken, int]:
        store = self.work / "all"
        shutil.rmtree(store, ignore_errors=True)
        taken = run([*LAMINA, "--store", str(store), "load", "-q", *options, *map(str, self.archives)])
        size = size_of(store)
        if not keep:
            shutil.rmtree(store)
        return taken, size

    def _restic_all(self) -> tuple[Taken, int]:
        repository = self.work / "restic"
        extra = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(repository), "RESTIC_CACHE_DIR": str(self.work / "cache")}
        run(["restic", "init", "-q"], **extra)
        return self._each(repository, [["restic", "backup", "-q", str(path)] for path in self.archives], extra)

    def _borg_all(self) -> tuple[Taken, int]:
        repository = self.work / "borg"
        extra = {"BORG_BASE_DIR": str(self.work / "borg-home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        run(["borg", "init", "-e", "none", str(repository)], **extra)
        options = ["--compression", "zstd,1", "--chunker-params", "buzhash,14,18,16,4095"]
        commands = [["borg", "import-tar", *options, f"{repository}::{path.stem}", str(path)] for path in self.archives]
        return self._each(repository, commands, extra)

    def _each(self, repository: Path, commands: list[list[str]], extra: dict[str, str]) -> tuple[Taken, int]:
        taken = [run(command, **extra) for command in commands]
        size = size_of(repository)
        shutil.rmtree(repository)
        return Taken(sum(one.wall for one in taken), sum(one.cpu for one in taken)), size

    # -- out again

    def saves(self) -> None:
        """`save` of the largest image."""
        archive = max(self.archives, key=lambda path: path.stat().st_size)
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            name = json.load(manifest)[0]["RepoTags"][0] if manifest else ""
        out = self.work / "saved.tar"
        what = f"save {archive.stem}"
        self.lamina(archive)
        programs: dict[str, Callable[[], Taken]] = {
            "lamina": lambda: run([*LAMINA, "--store", str(self.work / "one"), "save", "-q", name, "-o", str(out)])}
        with contextlib.ExitStack() as stack:
            if "docker" in self.peers:
                environment = stack.enter_context(engine(self.work))
                self.docker(archive, environment)
                programs["docker save"] = lambda: run(["docker", "save", name, "-o", str(out)], **environment)
            taken: dict[str, list[Taken]] = {each: [] for each in programs}
            for _ in range(self.runs):
                for each, program in programs.items():
                    out.unlink(missing_ok=True)
                    taken[each].append(program())
        size = out.stat().st_size
        out.unlink()
        base = statistics.median(one.wall for one in taken["lamina"])
        for each, runs in taken.items():
            wall = statistics.median(one.wall for one in runs)
            self.row(what, each, [one.wall for one in runs], base if each != "lamina" else None,
                     **{"MB/s": round(size / wall / 1e6)})
        if "docker save" in taken:
            docker = statistics.median(one.wall for one in taken["docker save"])
            self.bar(f"{what}, times faster than docker save", docker / base, 10)

    def many(self, count: int = 1000) -> None:
        """A store of many small images: how long answers take, and one more load."""
        store = self.work / "many"
        first = self.work / "first.tar"
        small_archive(first, count + 1, 1)
        archive = self.work / "many.tar"
        small_archive(archive, 0, count)
        for label in ("an empty store", f"a store of {count} images"):
            values = []
            for turn in range(self.runs):
                target = store if label != "an empty store" else self.work / f"empty{turn}"
                one = self.work / f"one{turn}.tar"
                small_archive(one, count + 10 + turn, 1)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default="docker,skopeo,restic,borg")
    parser.add_argument("--only", default="loads,everything,saves,many")
    parser.add_argument("--json", type=Path, help="also write what is printed to this file")
    options = parser.parse_args()
    archives = sorted(options.directory.glob("*.tar"))
    if not archives:
        raise SystemExit(f"no *.tar in {options.directory}")
    missing = [name for name in options.peers.split(",") if name and not shutil.which(name)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; name the others with --peers")
    machine = (f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
               f"load {os.getloadavg()[0]:.1f}")
    print(machine)
    print("| what | who | median s | range | ratio | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="lamina-bench-") as work:
        bench = Bench(archives, options.runs, [name for name in options.peers.split(",") if name], Path(work))
        for part in options.only.split(","):
            getattr(bench, part)()
        print("\n| bar | figure | wanted | holds |\n|---|---|---|---|")
        for bar in bench.bars:
            holds = "yes" if bar["holds"] else "**no**"
            print(f"| {bar['what']} | {bar['figure']:.2f} | at {bar['at']} {bar['bar']} | {holds} |")
        if options.json:
            options.json.write_text(json.dumps({"machine": machine, "rows": bench.rows, "bars": bench.bars}, indent=1) + "\n")


if __name__ == "__main__":
    main()
