"""`import`: a root file system in a tar becomes an image of one layer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.archive.members import open_regular
from lamina.archive.opening import Readable, opening
from lamina.archive.region import OwnedRegion
from lamina.content.inflate import InflatingReader, PrefixReader, peek, read_up_to, sniff
from lamina.content.verify import BytesReader
from lamina.digest import Digest
from lamina.errors import InvalidContent, StorageError, UsageError
from lamina.images import times
from lamina.images.changes import apply_changes
from lamina.images.tagging import Tagger
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Platform, make_manifest
from lamina.reference import Reference
from lamina.store import BlobStore

if TYPE_CHECKING:
    from lamina.content import Reader
    from lamina.content.progress import Progress

DEFAULT_MESSAGE = "Imported from -"

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def import_image(
    store: BlobStore,
    source: Path | Readable,
    reference: str = "",
    *,
    changes: Sequence[str] = (),
    message: str = "",
    platform: str | None = None,
    compression: str = "zstd:1",
    progress: Progress | None = None,
) -> str:
    """Make an image of a tar, plain or compressed, and give its id.

    The same tar, changes, message, platform and SOURCE_DATE_EPOCH give the same image.  `InvalidContent`: no tar.
    """
    name = _name(reference)
    config: dict[str, Any] = {}
    apply_changes(config, changes)
    wanted = Platform.parse(platform) if platform else Platform.host()
    created = _created()
    with store.session(compression=compression, progress=progress) as session:
        file = _open(source)
        reader = _checked_tar(file, source)
        try:
            layer = session.intake(reader, plain=True)
            if isinstance(file, OwnedRegion):
                file.check_unchanged()
            if layer.cut:
                raise InvalidContent("the tar ends in the middle of a file", source, "get it again")
        finally:
            reader.close()
        document = _document(config, layer.digest, wanted, created, message or DEFAULT_MESSAGE)
        manifest = make_manifest(document, [Descriptor(OCI_LAYER, layer.digest, layer.size)])
        root = Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest))
        session.push(Descriptor(OCI_CONFIG, Digest.of(document), len(document)), BytesReader(document))
        session.push(root, BytesReader(manifest))
        session.mark_made(root)
        tagger = Tagger(store, session)
        if name is None:
            tagger.keep(root)
        else:
            tagger.name(root, name)
        tagger.finish()
        session.commit()
    return str(Digest.of(document))


def _name(text: str) -> Reference | None:
    if not text:
        return None
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError("cannot import digest reference", text)
    return reference


def _created() -> str:
    """SOURCE_DATE_EPOCH (reproducible-builds.org) or now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return times.rfc3339(datetime.fromtimestamp(time.time(), UTC))
    try:
        return times.rfc3339(datetime.fromtimestamp(int(epoch), UTC))
    except (ValueError, OverflowError, OSError):
        raise UsageError("SOURCE_DATE_EPOCH is no number of seconds", epoch[:80]) from None


def _document(config: dict[str, Any], diff_id: str, platform: Platform, created: str, message: str) -> bytes:
    document = {
        **platform.to_json(),
        "comment": message,
        "config": config,
        "created": created,
        "history": [{"created": created, "comment": message}],
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _open(source: Path | Readable) -> Reader:
    if isinstance(source, Path):
        with opening(source):
            return open_regular(source)
    return _Stream(source)


def _checked_tar(reader: Reader, source: Path | Readable) -> Reader:
    """The reader, seen to begin as a tar does: with a header whose sum is right, or with zeros."""
    head, fresh = peek(reader)
    if kind := sniff(head):
        fresh = InflatingReader(fresh, kind, source)
        block = read_up_to(fresh, _BLOCK)
        fresh = PrefixReader(block, fresh)
    else:
        block, fresh = peek(fresh, _BLOCK)
    if not _is_header(block):
        fresh.close()
        where = source if isinstance(source, Path) else getattr(source, "name", "the stream")
        raise InvalidContent("no tar archive", where, "import takes a root file system")
    return fresh


def _is_header(block: bytes) -> bool:
    if len(block) < _BLOCK:
        return False
    if not any(block):
        return True
    digits = block[_CHECKSUM].strip(b" \0")
    try:
        stated = int(digits, 8)
    except ValueError:
        return False
    # The sum takes its own field for blanks; some writers add signed bytes.
    others = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(others)
    return stated in (unsigned, unsigned - 256 * sum(byte > 127 for byte in others))


class _Stream:
    """A Python stream as a `Reader`; it stays open."""

    size = None

    def __init__(self, stream: Readable) -> None:
        self._stream, self._where = stream, getattr(stream, "name", "the stream")

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._stream.readinto(buffer)
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}", self._where) from error
        if count is None:
            raise UsageError("a stream that does not wait for its data", self._where)
        return count

    def close(self) -> None:
        """It is the caller's."""
