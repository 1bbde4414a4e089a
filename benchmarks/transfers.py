"""Pushes and pulls against docker, podman and skopeo, through Debian's docker-registry on loopback, in one run.

    python benchmarks/transfers.py DIR [--runs N] [--only push,pull,second,resume] [--json FILE]

DIR holds docker-archives (`*.tar`).  What is measured:
- push: the archive nearest to 0.8 GB, and the largest, from a store to an empty registry, against `docker push` (an engine
  of its own); pushed a second time; the largest resident memory of the process;
- pull: the same images (gzip, as pushed) into an empty store, against `podman pull` and `skopeo copy docker:// dir:`;
- second: an image whose earlier version is stored: bytes over the line, and seconds against `curl` of those blobs alone;
- resume: a pull and a push (to docker-registry and to `lamina serve`) of a layer of 300 MB that cannot be compressed, killed
  at half of it, and begun again: what passed the line twice.
Runs alternate between the programs.  Needs root (engines), docker-registry, docker, podman, skopeo, curl; 20 GB below TMPDIR.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import engine, processor
from registries import lamina_serve
from relay import Relay, relay

LAMINA = [sys.executable, "-m", "lamina"]
LAYER = 300_000_000
LINE = 50_000_000  # bytes a second
NEAR = 800_000_000  # bytes of the image that the bars are set for


@contextlib.contextmanager
def docker_registry(work: Path) -> Iterator[int]:
    """An empty registry; its port."""
    shutil.rmtree(work / "registry", ignore_errors=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (work / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {work}/registry}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n")
    with (work / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", f"{work}/registry.yml"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/v2/"], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit("docker-registry does not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def measured(command: list[str], **extra: str) -> tuple[float, int]:
    """Wall seconds and the largest resident bytes of a command that must succeed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=os.environ | extra, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {said.read().decode(errors='replace').strip()[-2000:]}")
    return seconds, usage.ru_maxrss << 10


class Bench:
    """What is measured, and where."""

    def __init__(self, archives: list[Path], runs: int, work: Path) -> None:
        self.archives, self.runs, self.work = archives, runs, work
        self.rows: list[dict[str, object]] = []
        self.bars: list[dict[str, object]] = []

    def row(self, what: str, who: str, seconds: list[float], base: float | None, **more: object) -> None:
        """Note and print one line."""
        median = statistics.median(seconds)
        ratio = round(median / base, 2) if base else 1.0
        self.rows.append({"what": what, "who": who, "median_s": round(median, 3), "min_s": round(min(seconds), 3),
                          "max_s": round(max(seconds), 3), "ratio": ratio, **more})
        extra = ", ".join(f"{value} {key}" for key, value in more.items())
        print(f"| {what} | {who} | {median:.2f} | {min(seconds):.2f}–{max(seconds):.2f} | {ratio} | {extra} |", flush=True)

    def bar(self, what: str, figure: float, wanted: float, *, most: bool = False) -> None:
        """Note a figure that should be at least (or at most) so much."""
        self.bars.append({"what": what, "figure": round(figure, 3), "bar": wanted, "at": "most" if most else "least",
                          "holds": figure <= wanted if most else figure >= wanted})

    def chosen(self) -> list[Path]:
        """The archive nearest to 0.8 GB, and the largest."""
        near = min(self.archives, key=lambda path: abs(path.stat().st_size - NEAR))
        return list(dict.fromkeys([near, max(self.archives, key=lambda path: path.stat().st_size)]))

    def lamina(self, store: str, *words: str) -> tuple[float, int]:
        """A command of ours on one of the stores."""
        return measured([*LAMINA, "--store", str(self.work / store), *words])

    def fresh(self, store: str) -> None:
        """An empty store."""
        shutil.rmtree(self.work / store, ignore_errors=True)

    # -- push and pull

    def push(self) -> None:
        """From a store, and from an engine, to an empty registry."""
        for archive in self.chosen():
            what = f"push {archive.stem} ({archive.stat().st_size / 1e9:.2f} GB)"
            name = name_in(archive)
            with engine(self.work) as environment:
                subprocess.run(["docker", "load", "-q", "-i", str(archive)], env=os.environ | environment, check=True,
                               stdout=subprocess.DEVNULL)
                ours: list[float] = []
                theirs: list[float] = []
                again: list[float] = []
                peak = 0
                for _ in range(self.runs):
                    self.fresh("push")  # what was pushed before is remembered in the store
                    self.lamina("push", "load", "-q", "-i", str(archive))
                    with docker_registry(self.work) as port:
                        target = f"127.0.0.1:{port}/bench:1"
                        self.lamina("push", "tag", name, target)
                        seconds, rss = self.lamina("push", "push", "-q", target)
                        ours.append(seconds)
                        peak = max(peak, rss)
                        again.append(self.lamina("push", "push", "-q", target)[0])
                    with docker_registry(self.work) as port:
                        target = f"127.0.0.1:{port}/bench:1"
                        subprocess.run(["docker", "tag", name, target], env=os.environ | environment, check=True)
                        theirs.append(measured(["docker", "push", "-q", target], **environment)[0])
            base = statistics.median(ours)
            size = archive.stat().st_size
            self.row(what, "lamina push", ours, None, **{"MB/s": round(size / base / 1e6), "MiB resident": peak >> 20})
            self.row(what, "docker push", theirs, base, **{"MB/s": round(size / statistics.median(theirs) / 1e6)})
            self.row(what, "lamina push, the second time", again, base)
            self.bar(f"{what}, times faster than docker push", statistics.median(theirs) / base, 8)
            self.bar(f"{what}, MiB resident", peak / (1 << 20), 300, most=True)

    def pull(self) -> None:
        """What was pushed, into an empty store each time."""
        for archive in self.chosen():
            what = f"pull {archive.stem} ({archive.stat().st_size / 1e9:.2f} GB)"
            with docker_registry(self.work) as port:
                reference = self.publish(archive, port, "bench:1")
                podman = ["podman", "--root", f"{self.work}/podman", "--runroot", f"{self.work}/run"]
                taken: dict[str, list[float]] = {"lamina pull": [], "podman pull": [], "skopeo copy dir:": []}
                peak = 0
                for _ in range(self.runs):
                    self.fresh("pull")
                    seconds, rss = self.lamina("pull", "pull", "-q", reference)
                    taken["lamina pull"].append(seconds)
                    peak = max(peak, rss)
                    subprocess.run([*podman, "rmi", "-a", "-f"], capture_output=True, check=False)
                    taken["podman pull"].append(measured([*podman, "pull", "-q", "--tls-verify=false", reference])[0])
                    shutil.rmtree(self.work / "dir", ignore_errors=True)
                    taken["skopeo copy dir:"].append(measured(
                        ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", f"docker://{reference}",
                         f"dir:{self.work}/dir"])[0])
                subprocess.run([*podman, "rmi", "-a", "-f"], capture_output=True, check=False)
            medians = {who: statistics.median(seconds) for who, seconds in taken.items()}
            base = medians["lamina pull"]
            for who, seconds in taken.items():
                more = {"MB/s": round(archive.stat().st_size / medians[who] / 1e6)}
                if who == "lamina pull":
                    more["MiB resident"] = peak >> 20
                self.row(what, who, seconds, None if who == "lamina pull" else base, **more)
            self.bar(f"{what}, times faster than podman pull", medians["podman pull"] / base, 4)
            self.bar(f"{what}, times faster than skopeo", medians["skopeo copy dir:"] / base, 1.5)
            self.bar(f"{what}, MiB resident", peak / (1 << 20), 300, most=True)

    def publish(self, archive: Path, port: int, name: str) -> str:
        """Put an archive's image into a registry by a store that is not measured; its reference there."""
        self.fresh("source")
        self.lamina("source", "load", "-q", "-i", str(archive))
        reference = f"127.0.0.1:{port}/{name}"
        self.lamina("source", "tag", name_in(archive), reference)
        self.lamina("source", "push", "-q", reference)
        return reference

    # -- only what is new

    def second(self) -> None:
        """A later version of an image whose first one is stored."""
        versions = sorted(path for path in self.archives if path.stem.startswith("science"))[:2]
        if len(versions) < 2:
            print("no science_1 and science_2: left out", file=sys.stderr)
            return
        with docker_registry(self.work) as port, relay(port) as line:
            for number, archive in enumerate(versions):
                self.publish(archive, port, f"bench:{number}")
            self.fresh("pull")
            self.lamina("pull", "pull", "-q", f"{line.host}/bench:0")
            old = set(layers(port, "bench", "0"))
            before = line.down
            seconds = self.lamina("pull", "pull", "-q", f"{line.host}/bench:1")[0]
            came = line.down - before
            new = [blob for blob in layers(port, "bench", "1") if blob not in old]
            started = time.perf_counter()
            for digest, _ in new:
                address = f"http://{line.host}/v2/bench/blobs/{digest}"
                subprocess.run(["curl", "-sf", "-o", f"{self.work}/blob", address], check=True)
            bare = time.perf_counter() - started
        compressed = sum(size for _, size in new)
        what = f"pull {versions[1].stem}, {versions[0].stem} is stored"
        self.row(what, "lamina pull", [seconds], None,
                 **{"MB came": round(came / 1e6, 1), "MB of new layers": round(compressed / 1e6, 1)})
        self.row(what, "curl of the new layers", [bare], seconds)
        self.bar(f"{what}, bytes that came against those of new layers", came / compressed, 1.01, most=True)

    # -- killed and begun again

    def resume(self) -> None:
        """A layer of 300 MB, killed at half: over a line of 50 MB/s, and over one that is faster than the store."""
        layout(self.work / "layout", LAYER)
        for rate, line_is in ((LINE, f"a line of {LINE // 10**6} MB/s"), (0, "loopback")):
            with docker_registry(self.work) as port, relay(port, rate) as line:
                subprocess.run([*LAMINA, "--store", f"{self.work}/none", "copy", f"oci:{self.work}/layout:1",
                                f"docker://127.0.0.1:{port}/big:1"], check=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
                self.fresh("pull")
                self._killed("pull", line_is, ["pull", "-q", f"{line.host}/big:1"], line, "down")
                self.lamina("pull", "verify")
        with docker_registry(self.work) as theirs, lamina_serve(self.work, 1) as ours:
            for who, port in (("docker-registry", theirs), ("lamina serve", ours.port)):
                with relay(port, LINE) as line:
                    self.fresh("push")
                    target = f"{line.host}/big:2"
                    self.lamina("push", "copy", f"oci:{self.work}/layout:1", f"store:{target}")
                    self._killed("push", f"a line of {LINE // 10**6} MB/s, {who}", ["push", "-q", target], line, "up")

    def _killed(self, what: str, line_is: str, words: list[str], line: Relay, way: str) -> None:
        command = [*LAMINA, "--store", str(self.work / what), *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = getattr(line, way)
        line.when(LAYER // 2, lambda: process.send_signal(signal.SIGKILL))
        status = process.wait()
        if status != -signal.SIGKILL:
            raise SystemExit(f"{what} ended by itself: {status}")
        first = getattr(line, way) - before
        middle = getattr(line, way)
        seconds = measured(command)[0]
        second = getattr(line, way) - middle
        again = (first + second - LAYER) / LAYER
        self.row(f"{what} of a 300 MB layer, killed at half, the second try; {line_is}", "lamina", [seconds], None,
                 **{"MB before": round(first / 1e6, 1), "MB after": round(second / 1e6, 1), "% twice": round(100 * again, 2)})
        self.bar(f"{what} killed at half, {line_is}: % of the layer moved again", 100 * again, 2, most=True)


def name_in(archive: Path) -> str:
    """The first name in a docker-archive."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        return str(json.load(manifest)[0]["RepoTags"][0])


def layers(port: int, repository: str, tag: str) -> list[tuple[str, int]]:
    """(digest, bytes) of the layers of an image in a registry."""
    accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    said = subprocess.run(["curl", "-sf", "-H", accept, f"http://127.0.0.1:{port}/v2/{repository}/manifests/{tag}"], check=True,
                          capture_output=True).stdout
    return [(layer["digest"], layer["size"]) for layer in json.loads(said)["layers"]]


def layout(directory: Path, size: int) -> None:
    """An OCI layout of one image with one gzip layer that holds a file of random bytes."""
    shutil.rmtree(directory, ignore_errors=True)
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = tarfile.TarInfo("random")
        info.size = size
        source = random.Random(4)
        tar.addfile(info, io.BytesIO(b"".join(source.randbytes(size // 100) for _ in range(100))))
    packed = gzip.compress(plain.getvalue(), 0, mtime=0)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image"
    diff_id = f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"
    config = put(json.dumps({"architecture": "amd64", "os": "linux",
                             "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode(), f"{kind}.config.v1+json")
    layer = put(packed, f"{kind}.layer.v1.tar+gzip")
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": config,
                               "layers": [layer]}).encode(), f"{kind}.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="push,pull,second,resume")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores\n\n| what | who | median s | range | ratio | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="lamina-") as work:
        bench = Bench(sorted(options.directory.glob("*.tar")), options.runs, Path(work))
        parts: dict[str, Callable[[], None]] = {"push": bench.push, "pull": bench.pull, "second": bench.second,
                                                "resume": bench.resume}
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
