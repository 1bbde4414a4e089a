"""What the tests of the store share: small images, and views of what lies on disk."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from contracts.samples import put_image

from lamina.content.verify import read_all
from lamina.oci import Descriptor
from lamina.store import BlobStore, layout
from lamina.store.packs import pack_path
from lamina.store.schema import LIVE
from lamina.store.session import Session

EVERY = 1 << 40
_WORDS = [b"%05d" % number for number in range(5000)]


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress and are no tar."""
    return random.Random(seed).randbytes(size)


def words(seed: int, size: int) -> bytes:
    """Bytes that compress."""
    return b" ".join(random.Random(seed).choices(_WORDS, k=size // 6 + 1))[:size]


def tar_of(files: Mapping[str, bytes], *, mtime: int = 0) -> bytes:
    """A tar of files, the same each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layer(seed: int, size: int = 60_000) -> bytes:
    """A layer with a large file, a small one and a tiny one."""
    return tar_of({f"large{seed}": noise(seed, size), f"text{seed}": words(seed, 3000), f"tiny{seed}": b"%d" % seed})


def full(name: str) -> str:
    """A name as the catalog has it."""
    return f"docker.io/library/{name}:latest"


def push(session: Session, name: str, *layers: bytes) -> Descriptor:
    """Push an image and name it."""
    manifest = put_image(session, *layers)
    session.tag(Descriptor(manifest.media_type, manifest.digest, manifest.size), full(name))
    return manifest


def load(store: BlobStore, name: str, *layers: bytes) -> Descriptor:
    """A session of its own for one image."""
    with store.session() as session:
        manifest = push(session, name, *layers)
        session.commit()
    return manifest


def remove(store: BlobStore, *names: str) -> None:
    """Take names away."""
    with store.session() as session:
        for name in names:
            session.untag(full(name))
        session.commit()


def read(store: BlobStore, digest: str) -> bytes:
    """A blob, verified as it leaves."""
    with store.reading() as reading:
        reader = reading.fetch(store.resolve(digest))
        try:
            return read_all(reader, EVERY)
        finally:
            reader.close()


def names(store: BlobStore) -> dict[str, str]:
    """Names and the digests that they lead to."""
    return {ref.name: ref.digest for ref in store.catalog.refs()}


def problems(store: BlobStore) -> list[str]:
    """What verify says."""
    return [f"{problem.what} ({problem.where})" for problem in store.verify().problems]


def leftovers(store: BlobStore) -> list[str]:
    """Temporaries and leases."""
    places = [store.path / "tmp", store.path / "state" / "leases"]
    return sorted(str(path) for place in places if place.exists() for path in place.iterdir())


def pack_files(store: BlobStore) -> set[str]:
    """Names of the pack files there are."""
    return {name.rpartition("/")[2] for name, _ in store.backend.list("packs/")}


def live_packs(store: BlobStore) -> set[str]:
    """Names of the packs that the catalog says there are."""
    return {pack.name for pack in store.catalog.packs(LIVE)}


def assert_whole(store: BlobStore, *layers: bytes) -> None:
    """Everything checks out, nothing is left over, and these layers come back."""
    assert problems(store) == []
    assert leftovers(store) == []
    assert pack_files(store) == live_packs(store)
    for data in layers:
        found = next(row for row in store.catalog.blobs() if row.size == len(data) and read(store, row.digest) == data)
        assert found.kind == "layer"


def record_at(store: BlobStore, kind: int) -> tuple[Path, np.void]:
    """The file and the footer row of the first record of a kind."""
    for pack in store.catalog.packs(LIVE):
        for row in store.packs.footer(pack.number).records:
            if row["type"] == kind:
                return store.path / pack_path(pack.name), row
    raise AssertionError(f"no record of kind {kind} in any of {layout.FRAMES} and others")


def flip(path: Path, at: int, bit: int = 1) -> None:
    """Damage one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))
