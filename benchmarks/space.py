"""How much room stores take, as loaded and optimized, against backup programs on the same files: a markdown table.

    python benchmarks/space.py DIR [--levels 9,19] [--load zstd:1,zstd:3] [--peers restic,borg] [--nice N]

DIR holds docker-archives (`*.tar`).  All of them go into one store, with each compression of `--load`; it is optimized at
each level of `--levels` in turn, the lowest first.  `restic backup` (compression auto) and `borg create` (zstd) take the same
files, one snapshot each.  The ratio is to restic's bytes, or to the first row's without it; bytes are of all files of a
store or repository.  Seconds are wall and processor ones of the whole commands, of the step alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from commands import LAMINA, size_of, timed


@dataclass(frozen=True)
class Row:
    """One store: who made it how, and what that took."""

    what: str
    bytes: int
    wall: float
    cpu: float


def measured(what: str, directory: Path, commands: list[list[str]], **extra: str) -> Row:
    """Run commands; what they left and what they took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = sum(timed(command, **extra) for command in commands)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Row(what, size_of(directory), wall, cpu)


def lamina(archives: list[str], compression: str, levels: list[int], store: Path) -> list[Row]:
    """Loaded, then optimized at one level after another."""
    command = [*LAMINA, "--store", str(store)]
    rows = [measured(f"lamina load --compression {compression}", store,
                     [[*command, "load", "-q", "--compression", compression, *archives]])]
    rows += [measured(f"then lamina optimize --level {level}", store, [[*command, "optimize", "-q", "--level", str(level)]])
             for level in levels]
    shutil.rmtree(store)
    return rows


def restic(archives: list[str], repository: Path) -> Row:
    """One snapshot a file, compression auto."""
    extra = {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(repository),
             "RESTIC_CACHE_DIR": str(repository.with_name("restic-cache"))}
    timed(["restic", "init", "-q"], **extra)
    row = measured("restic backup", repository, [["restic", "backup", "-q", name] for name in archives], **extra)
    shutil.rmtree(repository)
    return row


def borg(archives: list[str], repository: Path) -> Row:
    """One archive a file, compression zstd; without encryption."""
    extra = {"BORG_BASE_DIR": str(repository.with_name("borg-base")), "BORG_REPO": str(repository)}
    timed(["borg", "init", "-e", "none"], **extra)
    creating = [["borg", "create", "--compression", "zstd", f"::{number}", name] for number, name in enumerate(archives)]
    row = measured("borg create --compression zstd", repository, creating, **extra)
    shutil.rmtree(repository)
    return row


PEERS = {"restic": restic, "borg": borg}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--levels", default="9")
    parser.add_argument("--load", default="zstd:1,zstd:3")
    parser.add_argument("--peers", default="restic,borg")
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    archives = [str(path.resolve()) for path in sorted(options.directory.glob("*.tar"))]
    peers = [name for name in options.peers.split(",") if name]
    if not archives:
        raise SystemExit(f"no *.tar in {options.directory}")
    if missing := [name for name in peers if name not in PEERS or not shutil.which(name)]:
        raise SystemExit(f"not known or not installed: {', '.join(missing)}; name the others with --peers")
    os.nice(options.nice)
    levels = sorted(int(level) for level in options.levels.split(",") if level)
    with tempfile.TemporaryDirectory(prefix="lamina-space-") as work:
        rows = [PEERS[name](archives, Path(work) / name) for name in peers]
        for compression in options.load.split(","):
            rows += lamina(archives, compression, levels, Path(work) / "store")
    base = rows[0].bytes
    print(f"{len(archives)} archives, {sum(Path(name).stat().st_size for name in archives) / 1e6:.1f} MB; "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | MB | ratio | wall s | CPU s |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.bytes / 1e6:.1f} | {row.bytes / base:.3f} | {row.wall:.1f} | {row.cpu:.1f} |")


if __name__ == "__main__":
    main()
