"""Anonymous and shared memory do not grow with what passes through.

benchmarks/memory.py measures whole commands at full size.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import hashlib, random, sys
from pathlib import Path
from storekit import EVERY, tar_of
from lamina.digest import Digest
from lamina.oci import Descriptor, OCI_LAYER
from lamina.store import BlobStore

def large():
    # 400 MB in one file, an eighth of it new: what is kept in memory by mistake is more than the bound.
    rng = random.Random(1)
    known = rng.randbytes(1 << 20)
    yield tar_of({"large": b""})[:124] + b"%011o" % (400 << 20) + b"\\0"  # a header whose checksum is wrong: no tar
    for number in range(400):
        yield rng.randbytes(1 << 20) if number % 8 == 0 else known

def empty():
    # 600,000 empty files: entries, and nothing else.
    piece = tar_of({f"some/directory/with/a/name/file{number:08}": b"" for number in range(2000)})[:1024000]
    for _ in range(300):
        yield piece

def small():
    # 200,000 files of 512 bytes: a chunk and a span each.
    piece = tar_of({f"{number:08}": random.Random(number).randbytes(512) for number in range(1000)})[:1024000]
    for _ in range(200):
        yield piece

class Stream:
    size = None
    def __init__(self, pieces):
        self.pieces, self.rest = pieces, memoryview(b"")
    def readinto(self, buffer):
        if not self.rest:
            self.rest = memoryview(next(self.pieces, b""))
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count
    def close(self):
        pass

make = globals()[sys.argv[2]]
whole, size = hashlib.sha256(), 0
for piece in make():
    whole.update(piece)
    size += len(piece)
blob = Descriptor(OCI_LAYER, Digest.done("sha256", whole), size)
with BlobStore.open(Path(sys.argv[1])) as store:
    print("begin", flush=True)
    with store.session() as session:
        session.push(blob, Stream(make()))
        session.root(blob)
        session.commit()
    print(store.catalog.blob(blob.digest).entries, flush=True)
    for columns in store.entries(blob.digest):
        pass
    store.usage()
    assert store.verify().problems == []
    with store.session() as session:
        session.drop_root(blob.digest)
        session.push(blob, Stream(make()))
        session.commit()
    store.collect(max_unused=0)
"""


def anonymous(pid: int) -> int:
    """RssAnon and RssShmem in MiB."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(rows.get(key, "0 kB").split()[0]) for key in ("RssAnon", "RssShmem")) >> 10


@pytest.mark.parametrize(("case", "entries"), [("large", 0), ("empty", 600_000), ("small", 200_000)])
def test_memory_is_steady(tmp_path: Path, case: str, entries: int) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "store"), case], env=env, text=True,
                               stdout=subprocess.PIPE)
    peak = 0
    try:
        while True:
            try:
                process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, anonymous(process.pid))
        assert process.stdout is not None
        assert process.stdout.read().split() == ["begin", str(entries)]
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    print(f"{case}: {peak} MiB")
    # Some 150 in use, a third of it frames read ahead; the bound for all commands is 300.
    assert 10 < peak < 200
