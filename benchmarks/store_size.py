"""What an import costs in a store of many images, against an empty one; and how compact recipes and entry tables are.

    python benchmarks/store_size.py ARCHIVE [--runs N] [--images N] [--loads N] [--only import,entries] [--dir DIR]
                                    [--stores DIR]

import: ARCHIVE (a docker-archive of some 0.3 GB) and an archive of one small image are loaded into an empty store, into one
that `--images` distinct small images came into by four loads, and into one that as many came into by `--loads` loads (as many
small packs).  Each run has a fresh copy of the store (those in `--stores` are used again); runs alternate between the stores.
Then the same archive once more (all digests are known), beside `--version` and beside the imports of modules that `load` needs.
Wall and CPU seconds, medians and ranges; ratios are to the empty store.
entries: a generated layer of 100,000 small files, and the layers of ARCHIVE: stored bytes by kind, from the footers of packs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import statistics
import sys
import tarfile
import tempfile
from pathlib import Path

from measure import Taken, run, small_archive

import lamina

LAMINA = [sys.executable, "-m", "lamina"]
NEEDED = "import lamina.cli.commands.load, lamina.images.load, lamina.archive, lamina.store.session, lamina.store.index"


def fill(store: Path, work: Path, images: int, loads: int) -> None:
    """That many images, by that many loads."""
    each = images // loads
    archive = work / "fill.tar"
    for load in range(loads):
        small_archive(archive, load * each, each)
        with lamina.open(store) as opened:
            opened.load(archive)
    archive.unlink()


class Import:
    """Loads into stores of several sizes."""

    def __init__(self, archive: Path, work: Path, stores: Path, runs: int, images: int, loads: int) -> None:
        self.work, self.runs = work, runs
        small = work / "small.tar"
        small_archive(small, 10 * images, 1)
        self.archives = {archive.stem: archive, "one small image": small}
        self.stores: dict[str, Path | None] = {"empty": None}
        for count in (4, loads):
            name = f"{images:,} images, {count:,} loads"
            store = self.stores[name] = stores / f"{images}-by-{count}"
            if not store.exists():
                fill(work / "filled", work, images, count)
                (work / "filled").rename(store)

    def load(self, store: Path, archive: Path) -> Taken:
        return run([*LAMINA, "--store", str(store), "load", "-q", "-i", str(archive)])

    def measure(self) -> None:
        """All runs, and the table."""
        first: dict[tuple[str, str], list[Taken]] = {}
        again: dict[tuple[str, str], list[Taken]] = {}
        target = self.work / "target"
        for _ in range(self.runs):
            for what, archive in self.archives.items():
                for name, store in self.stores.items():
                    if store is not None:
                        shutil.copytree(store, target)
                    else:
                        with lamina.open(target):  # made: what an empty store costs, not a new one
                            pass
                    first.setdefault((what, name), []).append(self.load(target, archive))
                    again.setdefault((what, name), []).append(self.load(target, archive))
                    shutil.rmtree(target)
        print("| what | into | wall s | range | CPU s | range | wall ratio | CPU ratio |\n|---|---|---|---|---|---|---|---|")
        for label, taken in (("load", first), ("load again", again)):
            for (what, name), each in taken.items():
                self._row(f"{label} {what}", name, each, taken[what, "empty"])
        for label, command in (("--version", [*LAMINA, "--version"]), ("imports of load", [sys.executable, "-c", NEEDED])):
            each = [run(command) for _ in range(2 * self.runs)]
            self._row(label, "-", each, each)
        for name, store in self.stores.items():
            if store is not None:
                self._others(name, store)

    def _others(self, name: str, store: Path) -> None:
        """Commands that only have to be bearable there."""
        lists = [run([*LAMINA, "--store", str(store), "images"]) for _ in range(self.runs)]
        self._row("images", name, lists, lists)
        for label, command in (("rmi of one", ["rmi", "many/image:17"]), ("gc", ["gc"])):
            once = [run([*LAMINA, "--store", str(store), *command])]
            self._row(label, name, once, once)

    def _row(self, what: str, name: str, each: list[Taken], base: list[Taken]) -> None:
        def three(values: list[float]) -> str:
            return f"{statistics.median(values):.3f} | {min(values):.3f}–{max(values):.3f}"

        walls, cpus = [one.wall for one in each], [one.cpu for one in each]
        wall = statistics.median(walls) / statistics.median(one.wall for one in base)
        cpu = statistics.median(cpus) / statistics.median(one.cpu for one in base)
        print(f"| {what} | {name} | {three(walls)} | {three(cpus)} | {wall:.2f} | {cpu:.2f} |", flush=True)


def many_files(path: Path, count: int) -> None:
    """A docker-archive of one layer with so many files of 40 bytes to 3 KB in directories of a hundred."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(count):
            name = f"usr/share/data/{number // 100:05d}/{hashlib.md5(str(number).encode()).hexdigest()[:12]}.txt"
            body = hashlib.sha256(str(number).encode()).hexdigest().encode() * (1 + number % 48)
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(body), 1_700_000_000 + number // 100, 0o644
            tar.addfile(info, io.BytesIO(body))
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["many/files:1"], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as out:
        out.add(layer, "layer.tar")
        for name, data in (("config.json", config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    layer.unlink()


def stored_by_kind(what: str, archive: Path, work: Path) -> None:
    """One line: stored bytes of what an archive becomes, by kinds of records, and for each entry of its layers."""
    from lamina.store import layout

    kinds = {"content": layout.CONTENT, "segment": layout.SEGMENT, "meta": layout.META, "head": layout.HEAD}
    with lamina.open(work / "kinds") as opened:
        opened.load(archive)
        blobs = opened.blobs
        stored, plain, ids = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0), 0
        for pack in blobs.catalog.packs("live"):
            footer = blobs.packs.footer(pack.number)
            ids += len(footer.ids)
            for name, kind in kinds.items():
                mine = footer.records[footer.records["type"] == kind]
                stored[name] += int(mine["stored"].sum())
                plain[name] += int(mine["plain"].sum())
        layers = [row for row in blobs.catalog.blobs() if row.kind == "layer"]
        tables, recipes = 0, 0
        for row in layers:
            head = blobs.head_of_row(row)
            for number, record in _places(blobs, head.entry_blocks):
                tables += int(blobs.packs.footer(number).records[record]["stored"])
            for number, record in _places(blobs, [block[0] for block in head.recipe]):
                recipes += int(blobs.packs.footer(number).records[record]["stored"])
    shutil.rmtree(work / "kinds")
    entries = sum(row.entries or 0 for row in layers)
    sizes = " | ".join(f"{stored[name]:,} ({stored[name] / max(1, plain[name]):.2f})" for name in kinds)
    of = " | ".join(f"{value / entries:.1f}" for value in (stored["segment"], tables, recipes, ids * 44))
    print(f"| {what} | {entries:,} | {ids:,} | {sizes} | {of} |", flush=True)


def _places(blobs: lamina.store.BlobStore, ids: list[bytes]) -> set[tuple[int, int]]:
    """(pack, record) of meta chunks."""
    import numpy as np

    index = blobs.new_index()
    try:
        column = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 32)
        places = blobs.chunks(index).places(column, "a layer")
        return {(int(row[0]), int(row[1])) for row in places}
    finally:
        index.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=2_000)
    parser.add_argument("--only", default="import,entries")
    parser.add_argument("--stores", type=Path)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lamina-size-", dir=options.dir) as name:
        work = Path(name)
        if "import" in options.only:
            Import(options.archive, work, options.stores or work, options.runs, options.images, options.loads).measure()
        if "entries" in options.only:
            print("\n| layers of | entries | chunks | content (of plain) | segment | meta | head "
                  "| bytes an entry: segment | entry table | recipe | footer |\n" + "|---" * 11 + "|")
            generated = work / "files.tar"
            many_files(generated, 100_000)
            stored_by_kind("100,000 generated files", generated, work)
            stored_by_kind(options.archive.stem, options.archive, work)


if __name__ == "__main__":
    main()
