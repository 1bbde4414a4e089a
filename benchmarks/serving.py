"""`lamina serve` against Debian's docker-registry on loopback, in one run: ratios of the same load on the same machine.

    python benchmarks/serving.py DIR [--runs N] [--only blobs,manifests,small,push,crowd] [--json FILE] [--seconds 10]
                                     [--workers 2] [--images 10] [--crowd-seconds 600] [--crowd 200]

DIR holds docker-archives (`*.tar`), of which the smallest are used.  What is measured:
- blobs: GET of layers by 16 clients; as they were compressed (verbatim), and plain (rebuilt from chunks);
- manifests: GET of small manifests by tag and by digest, 64 clients;
- small: PUT of blobs of 1 KB and of manifests that name them, one client, eight clients;
- push: ten images that share four fifths of their files (`kin`), one layer of 100 MB each, pushed by skopeo one after another
  as they are (plain), and compressed by skopeo before; and by docker, which compresses; wall time, what lies on the disk then;
- crowd: 200 clients that push, pull and delete at once while one collection follows another (`crowd`); errors, memory.
Each row has the CPU seconds of the server's processes as well, which say more than wall time on a machine that is busy
otherwise; `own` is the share of one core that the clients took.  docker-registry syncs nothing to the disk, `lamina serve` all.
Needs docker-registry and skopeo, for `push` docker and root; 8 GB below TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crowd import crowd
from kin import layouts
from measure import engine, environment, processor
from registries import ACCEPT, Load, Registry, docker_registry, get, lamina_serve, load, memory

SOURCES = 3  # archives
SMALL = 20  # images
BLOBS, MANIFESTS = 16, 64  # clients
MEMORY = 600 << 20
OURS, THEIRS = "lamina serve", "docker-registry"
Push = Callable[[Registry], None]


def skopeo(*words: str) -> None:
    """A copy that must succeed."""
    done = subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *words], check=False,
                          capture_output=True)
    if done.returncode:
        raise SystemExit(f"skopeo copy {' '.join(words)}: {done.stderr.decode(errors='replace')[-2000:]}")


class Bench:
    """What is measured, and where."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work = options, work
        self.rows: list[dict[str, object]] = []
        self.bars: list[dict[str, object]] = []

    @contextlib.contextmanager
    def both(self) -> Iterator[dict[str, Registry]]:
        """Both of them, empty."""
        with lamina_serve(self.work, self.options.workers) as ours, docker_registry(self.work) as theirs:
            yield {OURS: ours, THEIRS: theirs}

    def row(self, what: str, who: str, figures: list[float], unit: str, base: float | None, **more: object) -> None:
        """Note and print one line; `base`: the median of the other one."""
        median = statistics.median(figures)
        ratio = round(median / base, 2) if base else 1.0
        self.rows.append({"what": what, "who": who, "median": round(median, 3), "min": round(min(figures), 3),
                          "max": round(max(figures), 3), "unit": unit, "ratio": ratio, **more})
        extra = ", ".join(f"{value} {key}" for key, value in more.items())
        span = f"{min(figures):.5g}–{max(figures):.5g}"
        print(f"| {what} | {who} | {median:.5g} {unit} | {span} | {ratio} | {extra} |", flush=True)

    def bar(self, what: str, figure: float, wanted: float, *, most: bool = False) -> None:
        """Note a figure that should be at least (or at most) so much."""
        self.bars.append({"what": what, "figure": round(figure, 3), "bar": wanted, "at": "most" if most else "least",
                          "holds": figure <= wanted if most else figure >= wanted})

    # -- requests

    def loads(self, what: str, both: dict[str, Registry], requests: list[bytes], clients: int, unit: str,
              figure: Callable[[Load], float], each: Callable[[Load], tuple[str, float]]) -> float:
        """Runs that alternate between the two; ours as a share of theirs."""
        found: dict[str, list[Load]] = {who: [] for who in both}
        for registry in both.values():
            load(registry, requests, clients, 1.0)  # warm
        for _ in range(self.options.runs):
            for who, registry in both.items():
                found[who].append(load(registry, requests, clients, self.options.seconds))
        medians = {who: statistics.median(figure(one) for one in loads) for who, loads in found.items()}
        for who, loads in found.items():
            name, _ = each(loads[0])
            cost = statistics.median(each(one)[1] for one in loads)
            own = statistics.median(one.own / one.seconds for one in loads)
            cores = statistics.median(one.server / one.seconds for one in loads)
            self.row(what, who, [figure(one) for one in loads], unit, medians[THEIRS] if who == OURS else None,
                     **{name: round(cost, 3), "cores": round(cores, 2), "own": round(own, 2)})
        return medians[OURS] / medians[THEIRS]

    def sources(self) -> list[Path]:
        """The smallest archives."""
        return sorted(self.options.directory.glob("*.tar"), key=lambda path: path.stat().st_size)[:SOURCES]

    def blobs(self) -> None:
        """As compressed, and plain."""
        for what, kind in (("verbatim", []), ("rebuilt", ["--dest-oci-accept-uncompressed-layers"])):
            with self.both() as both:
                digests: list[tuple[str, str]] = []
                for number, archive in enumerate(self.sources()):
                    layout = self.work / "layout"
                    shutil.rmtree(layout, ignore_errors=True)
                    skopeo(*kind, f"docker-archive:{archive}", f"oci:{layout}:1")
                    for registry in both.values():
                        skopeo("--preserve-digests", f"oci:{layout}:1", f"docker://127.0.0.1:{registry.port}/bench/{number}:1")
                    digests += [(f"bench/{number}", digest) for digest in self.layers(both[OURS], f"bench/{number}")]
                for registry in both.values():
                    self.check(registry, digests)
                requests = [get(f"/v2/{name}/blobs/{digest}") for name, digest in digests]
                ratio = self.loads(f"GET of blobs, {what}", both, requests, BLOBS, "MB/s",
                                   lambda one: one.bytes / one.seconds / 1e6,
                                   lambda one: ("CPU s a GB", one.server / one.bytes * 1e9))
                if what == "verbatim":
                    self.bar("bytes/s of verbatim blobs against docker-registry's", ratio, 0.8)

    def layers(self, registry: Registry, name: str) -> list[str]:
        """Digests of an image's layers; each once."""
        connection = http.client.HTTPConnection("127.0.0.1", registry.port)
        connection.request("GET", f"/v2/{name}/manifests/1", headers={"Accept": ACCEPT})
        return list(dict.fromkeys(layer["digest"] for layer in json.loads(connection.getresponse().read())["layers"]))

    def check(self, registry: Registry, digests: list[tuple[str, str]]) -> None:
        """The bytes are right, before they are thrown away by the gigabyte."""
        connection = http.client.HTTPConnection("127.0.0.1", registry.port)
        for name, digest in digests:
            connection.request("GET", f"/v2/{name}/blobs/{digest}")
            if f"sha256:{hashlib.sha256(connection.getresponse().read()).hexdigest()}" != digest:
                raise SystemExit(f"{registry.who}: {digest} has other bytes")
        connection.close()

    def manifests(self) -> None:
        """Some images of small layers."""
        with self.both() as both:
            requests = []
            for number in range(SMALL):
                name = f"small/{number % 10}"
                for registry in both.values():
                    digest = small(registry, name, f"t{number}")
                requests += [get(f"/v2/{name}/manifests/t{number}"), get(f"/v2/{name}/manifests/{digest}")]
            ratio = self.loads("GET of small manifests", both, requests, MANIFESTS, "requests/s",
                               lambda one: one.requests / one.seconds,
                               lambda one: ("CPU ms a request", one.server / one.requests * 1e3))
            self.bar("manifests/s against docker-registry's", ratio, 1.0)

    # -- pushes

    def small(self) -> None:
        """Images of four layers of 1 KB: five blobs (POST and PUT) and a manifest each."""
        for clients in (1, 8):
            rates: dict[str, list[float]] = {OURS: [], THEIRS: []}
            cpus: dict[str, list[float]] = {OURS: [], THEIRS: []}
            with self.both() as both:
                for run in range(self.options.runs + 1):  # the first one warms up
                    for who, registry in both.items():
                        cpu, began = registry.cpu(), time.perf_counter()
                        with ThreadPoolExecutor(clients) as pool:
                            list(pool.map(lambda number: small(registry, f"small/{number % 10}", f"t{run}-{number}"),  # noqa: B023
                                          range(SMALL)))
                        if run:
                            rates[who].append(SMALL / (time.perf_counter() - began))
                            cpus[who].append((registry.cpu() - cpu) / SMALL * 1e3)
            base = statistics.median(rates[THEIRS])
            for who in both:
                self.row(f"push of small images, {clients} clients", who, rates[who], "images/s", base if who == OURS else None,
                         **{"CPU ms an image": round(statistics.median(cpus[who]), 1)})

    def push(self) -> None:
        """Plain, compressed before, and by an engine that compresses."""
        plain = layouts(self.work / "kin", self.options.images)
        packed = [self.work / "packed" / each.name for each in plain]
        (self.work / "packed").mkdir()
        self.pushes("push of plain kin", self.skopeo_pushes(plain))
        self.bar_of_disk("plain kin", 1 / 3)
        for source, target in zip(plain, packed, strict=True):
            skopeo(f"oci:{source}:1", f"oci:{target}:1")
        self.pushes("push of gzip kin", self.skopeo_pushes(packed))
        self.bar_of_disk("gzip kin", 1)
        with engine(self.work) as found:
            self.pushes("push of kin by docker", self.docker_pushes(plain, os.environ | found))
        self.bar_of_disk("kin by docker", 1)
        shutil.rmtree(self.work / "kin")

    def skopeo_pushes(self, images: list[Path]) -> Push:
        """Layouts, one after another."""
        def push(registry: Registry) -> None:
            for number, layout in enumerate(images):
                skopeo("--preserve-digests", f"oci:{layout}:1", f"docker://127.0.0.1:{registry.port}/kin:{number}")

        return push

    def docker_pushes(self, images: list[Path], environment: dict[str, str]) -> Push:
        """The same by an engine, which has them plain and compresses each on its way."""
        def docker(*words: str | Path) -> None:
            subprocess.run(["docker", *words], env=environment, check=True, stdout=subprocess.DEVNULL)

        archive = self.work / "kin.tar"
        for number, layout in enumerate(images):
            skopeo(f"oci:{layout}:1", f"docker-archive:{archive}:kin:{number}")
            docker("load", "-q", "-i", archive)
            archive.unlink()

        def push(registry: Registry) -> None:
            for number in range(len(images)):
                target = f"127.0.0.1:{registry.port}/kin:{number}"
                docker("tag", f"kin:{number}", target)
                docker("push", "-q", target)

        return push

    def pushes(self, what: str, push: Push) -> None:
        """All of them, into empty registries."""
        walls: dict[str, list[float]] = {OURS: [], THEIRS: []}
        cpus: dict[str, list[float]] = {OURS: [], THEIRS: []}
        self.disks: dict[str, int] = {}
        for run in range(self.options.runs):
            with self.both() as both:
                for who, registry in sorted(both.items(), reverse=run % 2 == 1):  # who comes first takes turns
                    warm(registry)
                    before, cpu, began = registry.disk(), registry.cpu(), time.perf_counter()
                    push(registry)
                    walls[who].append(time.perf_counter() - began)
                    cpus[who].append(registry.cpu() - cpu)
                    self.disks[who] = registry.disk() - before
        base = statistics.median(walls[THEIRS])
        for who in (OURS, THEIRS):
            self.row(what, who, walls[who], "s", base if who == OURS else None,
                     **{"CPU s": round(statistics.median(cpus[who]), 2), "MB on disk": round(self.disks[who] / 1e6, 1)})
        self.bar(f"{what}: time against docker-registry's", statistics.median(walls[OURS]) / base, 1, most=True)

    def bar_of_disk(self, what: str, wanted: float) -> None:
        figure = self.disks[OURS] / self.disks[THEIRS]
        self.bar(f"{what}: bytes on disk against docker-registry's", figure, round(wanted, 3), most=True)

    # -- a crowd

    def crowd(self) -> None:
        """Ours alone."""
        with lamina_serve(self.work, self.options.workers) as registry, collecting(registry) as collector:
            cpu, began = registry.cpu(), time.perf_counter()
            told = crowd(registry.port, self.options.crowd, self.options.crowd_seconds)
            seconds, used = time.perf_counter() - began, registry.cpu() - cpu
        rate = sum(told.counts.values()) / self.options.crowd_seconds
        self.row(f"{self.options.crowd} clients, {self.options.crowd_seconds:.0f} s", OURS, [rate], "steps/s", None,
                 **{"CPU s": round(used, 1), "s": round(seconds), "MB moved": round(told.moved / 1e6),
                    "MiB at most (PSS)": collector.most[0] >> 20, "MiB of it no file's": collector.most[1] >> 20,
                    "collections": collector.collections})
        print(", ".join(f"{count} {what}" for what, count in sorted(told.counts.items())))
        for error in told.errors:
            print(f"ERROR {error}")
        if told.errors:
            print((self.work / "serve.log").read_text(errors="replace")[-20_000:])
        self.bar("crowd: errors and lost blobs", told.counts["errors"], 0, most=True)
        self.bar("crowd: MiB of all processes", collector.most[0] / (1 << 20), MEMORY >> 20, most=True)


class Collector:
    """Collects over and over, and looks at how much memory all of it takes."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._over = registry, threading.Event()
        self.most, self.collections = (0, 0), 0
        self._threads = [threading.Thread(target=self._collect), threading.Thread(target=self._look)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _collect(self) -> None:
        while not self._over.wait(1.0):
            self._process = subprocess.Popen([sys.executable, "-m", "lamina", "--store", str(self._registry.data), "gc"],
                                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                             env=environment())
            _, said = self._process.communicate()
            if self._process.returncode:
                print(f"ERROR the collection: {said.decode(errors='replace')[-500:]}")
            self.collections += 1

    def _look(self) -> None:
        while not self._over.wait(1.0):
            more = [self._process.pid] if self._process is not None else []
            found = memory([*self._registry.processes(), *more])
            self.most = max(self.most[0], found[0]), max(self.most[1], found[1])


@contextlib.contextmanager
def collecting(registry: Registry) -> Iterator[Collector]:
    """Until the block ends."""
    found = Collector(registry)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def small(registry: Registry, name: str, tag: str) -> str:
    """Push an image whose manifest has some 900 bytes, of four layers of 1 KB; its digest."""
    connection = http.client.HTTPConnection("127.0.0.1", registry.port)
    kind = "application/vnd.oci.image"
    layers = [{"mediaType": f"{kind}.layer.v1.tar", **put(registry, connection, name, f"{number} of {tag}".encode() * 100)}
              for number in range(4)]
    config = {"mediaType": f"{kind}.config.v1+json",
              **put(registry, connection, name, json.dumps({"tag": tag, "text": tag * 200}).encode())}
    data = json.dumps({"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config,
                       "layers": layers}).encode()
    connection.request("PUT", f"/v2/{name}/manifests/{tag}", data, {"Content-Type": f"{kind}.manifest.v1+json"})
    answer = connection.getresponse()
    if answer.status != 201:
        raise SystemExit(f"{registry.who}: {answer.status} to a manifest: {answer.read()[:300]!r}")
    answer.read()
    connection.close()
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def warm(registry: Registry) -> None:
    """Let each of its processes load what it needs for large and small blobs."""
    for number in range(8):
        small(registry, "warm", f"t{number}")
        connection = http.client.HTTPConnection("127.0.0.1", registry.port)
        put(registry, connection, "warm", random.Random(number).randbytes(5 << 20))
        connection.close()


def put(registry: Registry, connection: http.client.HTTPConnection, name: str, data: bytes) -> dict[str, object]:
    """Push a blob by POST and PUT; digest and size, for a descriptor."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    connection.request("POST", f"/v2/{name}/blobs/uploads/")
    answer = connection.getresponse()
    answer.read()
    where = answer.headers["Location"]
    where = "/" + where.split("/", 3)[3] if where.startswith("http") else where
    connection.request("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 201:
        raise SystemExit(f"{registry.who}: {answer.status} to a blob")
    return {"digest": digest, "size": len(data)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="blobs,manifests,small,push,crowd")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one run of GETs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--crowd", type=int, default=200, help="clients")
    parser.add_argument("--crowd-seconds", type=float, default=600.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores, {options.workers} workers\n\n"
          "| what | who | median | range | ratio | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="lamina-") as work:
        bench = Bench(options, Path(work))
        parts: dict[str, Callable[[], None]] = {"blobs": bench.blobs, "manifests": bench.manifests, "small": bench.small,
                                                "push": bench.push, "crowd": bench.crowd}
        for part in options.only.split(","):
            parts[part]()
    print("\n| bar | figure | aimed at | reached |\n|---|---|---|---|")
    for bar in bench.bars:
        sign = "≤" if bar["at"] == "most" else "≥"
        print(f"| {bar['what']} | {bar['figure']} | {sign} {bar['bar']} | {'yes' if bar['holds'] else '**no**'} |")
    if options.json:
        options.json.write_text(json.dumps({"machine": processor(), "rows": bench.rows, "bars": bench.bars}, indent=1) + "\n")


if __name__ == "__main__":
    main()
