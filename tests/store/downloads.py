"""Layers that come over a line which breaks, and what is left of them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import lru_cache

from contracts.samples import config_bytes, describe, manifest_bytes
from storekit import full, noise, tar_of

from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import RegistryUnavailable
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor
from lamina.store import BlobStore
from lamina.store.ingest import SEAMLESS
from lamina.store.journalling import BUFFERS, LEAST, MOST, OUTSTANDING, PIECE_LEAST, PIECE_MOST, PIECE_SHARE, SHARE
from lamina.store.session import Session

GZIP_LAYER = f"{OCI_LAYER}+gzip"
MIB = 1 << 20


@lru_cache(8)
def plain(seed: int, size: int) -> bytes:
    return tar_of({f"file{seed}": noise(seed, size), "small": b"x" * 700})


@lru_cache(8)
def layer(seed: int, size: int) -> bytes:
    """A gzip layer of about that many bytes, the same each time."""
    return gzip.compress(plain(seed, size), 1, mtime=0)


def again_at_most(size: int) -> int:
    """Bytes that may have to come again after a kill (the docstring of `journalling` says why)."""
    interval = min(max(size // SHARE, LEAST), MOST)
    piece = min(max(size // PIECE_SHARE, PIECE_LEAST), PIECE_MOST)
    return OUTSTANDING * interval + BUFFERS * piece + MIB + SEAMLESS[2]


class Line(BytesReader):
    """A reader that can begin in the middle, counts what it gives, and breaks after `until` bytes of the blob."""

    def __init__(self, data: bytes, until: int | None = None, error: BaseException | None = None, step: int = 50_000) -> None:
        super().__init__(data)
        self._data, self._until, self._step = data, len(data) if until is None else until, step
        self._error = error or RegistryUnavailable("the line is cut", "registry.example")
        self._at = 0
        self.began: list[int] = []
        self.given = 0

    def start_at(self, offset: int) -> None:
        assert not self.given
        self._at = offset
        self.began.append(offset)

    def readinto(self, buffer: memoryview, /) -> int:
        if self._at >= self._until and self._until < len(self._data):
            raise self._error
        end = min(len(self._data), self._until, self._at + min(len(buffer), self._step))
        count = end - self._at
        buffer[:count] = self._data[self._at : end]
        self._at = end
        self.given += count
        return count


def layer_of(data: bytes) -> Descriptor:
    return describe(data, GZIP_LAYER)


def finish(session: Session, name: str, datas: Sequence[tuple[bytes, bytes]]) -> None:
    """Config, manifest and name over layers (compressed, plain) that have been pushed; commit."""
    config = config_bytes([describe(each) for _, each in datas])
    manifest = manifest_bytes(describe(config, OCI_CONFIG), [layer_of(each) for each, _ in datas])
    for data, kind in ((config, OCI_CONFIG), (manifest, OCI_MANIFEST)):
        session.push(describe(data, kind), BytesReader(data))
    session.tag(describe(manifest, OCI_MANIFEST), full(name))
    session.commit()


def partial_files(store: BlobStore) -> list[str]:
    folder = store.path / "state" / "partials"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def digest_of(data: bytes) -> Digest:
    return Digest.of(data)


def keep_blob(store: BlobStore, name: str, data: bytes) -> None:
    """An artifact over any bytes, from elsewhere than a line."""
    config, blob = b"{}", describe(data, "application/octet-stream")
    manifest = manifest_bytes(describe(config, "application/vnd.oci.empty.v1+json"), [blob])
    with store.session() as session:
        for each, kind in ((data, blob.media_type), (config, "application/vnd.oci.empty.v1+json"), (manifest, OCI_MANIFEST)):
            session.push(describe(each, kind), BytesReader(each))
        session.tag(describe(manifest, OCI_MANIFEST), full(name))
        session.commit()
