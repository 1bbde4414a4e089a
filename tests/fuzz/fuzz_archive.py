"""Image archives: docker-archive and OCI layout, as a file and as a stream, and the inflaters.

An archive is read or refused; every blob that comes out of it is the one that its digest names; read as a file and as a stream
it leads to the same images.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator

from _native import tarscan_samples as samples
from archive.builders import GZIP, ONE, Image, Layout, Member, MemoryIntake, docker_20, named
from fuzz.fuzzkit import Feed, accepted, part

from lamina import oci
from lamina.archive import ArchiveSource, open_source
from lamina.content.inflate import InflatingReader, sniff
from lamina.content.verify import BytesReader, VerifyingReader, read_all
from lamina.errors import LaminaError
from lamina.oci import Descriptor

MOST = 1 << 20  # bytes of a blob that are read
BLOBS = 24  # blobs of an archive that are read
NAMES = (b"manifest.json", b"index.json", b"oci-layout", b"repositories", b"blobs/sha256/{%d}", b"{%d}.json", b"{%d}/layer.tar",
         b"a", b"./a/../b", b"../a", b"/a", b"")  # fmt: skip
KINDS = b"0215\0L"
WORDS = (b"{0}", b"{1}", b"{2}", b"[0]", b"[1]", b'"Config":"', b'"Layers":["', b'"RepoTags":["', b'"digest":"sha256:{0}"',
         b'"size":[0]', b'"mediaType":"', b'"manifests":[', b'"diff_ids":["sha256:{0}"]', b'"imageLayoutVersion":"1.0.0"')


def run(data: bytes) -> None:
    feed = Feed(data)
    kind = feed.number() % 3
    if kind == 0:
        accepted(_inflated, feed.rest())
        return
    raw = feed.rest() if kind == 1 else built(feed)
    by_file = accepted(_as_file, raw)
    by_stream = accepted(_as_stream, raw)
    if by_file is not None and by_stream is not None:
        assert by_file == by_stream


def built(feed: Feed) -> bytes:
    """Members whose names and contents may name those before them: `{N}` is the digest of member N in hex, `[N]` its size."""
    out = bytearray()
    blobs: list[bytes] = []
    while feed and len(out) < 1 << 17:
        flags = feed.number()
        kind = KINDS[flags % 6 :][:1]
        which = feed.number()
        name = NAMES[which % 16] if which % 16 < len(NAMES) else feed.part()[:100]
        if b"%" in name and b"%d" in name:
            name %= max(0, len(blobs) - (which >> 4))
        content = _filled(feed.part(), blobs)
        if flags & 64:
            content = samples.member(content, name=b"file") + samples.END
        if flags & 128:
            content = GZIP(content)
        blobs.append(content)
        name = _filled(name, blobs)
        if kind in b"12":
            out += samples.header(name=name[:100], type=kind, link=content[:100])
        else:
            out += samples.member(content, name=name[:100], type=kind)
    return bytes(out + samples.END)


def _filled(text: bytes, blobs: list[bytes]) -> bytes:
    def digest(found: re.Match[bytes]) -> bytes:
        number = int(found[1])
        return oci.Digest.of(blobs[number]).hex.encode() if number < len(blobs) else found[0]

    def size(found: re.Match[bytes]) -> bytes:
        number = int(found[1])
        return b"%d" % len(blobs[number]) if number < len(blobs) else found[0]

    return re.sub(rb"\[(\d{1,2})\]", size, re.sub(rb"\{(\d{1,2})\}", digest, text))


def _as_file(raw: bytes) -> list[tuple[str, Descriptor]]:
    number = os.memfd_create("archive")
    try:
        os.write(number, raw)
        os.lseek(number, 0, os.SEEK_SET)
        with open_source(number, intake=MemoryIntake()) as source:
            return _read(source)
    finally:
        os.close(number)


def _as_stream(raw: bytes) -> list[tuple[str, Descriptor]]:
    intake = MemoryIntake()
    with open_source(io.BytesIO(raw), intake=intake) as source:
        return _read(source, intake)


def _read(source: ArchiveSource, intake: MemoryIntake | None = None) -> list[tuple[str, Descriptor]]:
    source.complete(intake)
    found = list(source.references())
    assert all(isinstance(warning, str) and len(warning) < 1 << 10 for warning in source.warnings)
    waiting = [root for _, root in found]
    seen = set()
    while waiting and len(seen) < BLOBS:
        one = waiting.pop()
        if one.digest in seen:
            continue
        seen.add(one.digest)
        waiting += _children(source, one)
    for name, root in found[:4]:
        if name:
            assert source.resolve(name).digest == root.digest
        list(source.referrers(root))
    return found


def _children(source: ArchiveSource, one: Descriptor) -> tuple[Descriptor, ...]:
    """What a document names, when it can be read; a blob is only read."""
    try:
        reader = VerifyingReader(source.fetch(one), one)
        try:
            data = read_all(reader, MOST)
        finally:
            reader.close()
        assert oci.Digest.of(data, one.digest.algorithm) == one.digest
        return oci.children(one.media_type, data)
    except LaminaError:
        return ()


def _inflated(data: bytes) -> None:
    kind = sniff(data)
    if kind:
        reader = InflatingReader(BytesReader(data), kind, "a layer")
        try:
            read_all(reader, 1 << 22)
        finally:
            reader.close()


def _given(members: list[Member]) -> bytes:
    """Members as an input."""
    out = b"\2"
    for member in members:
        name = member.name.encode()
        kind = b"\1" if member.link else b"\0"
        which = bytes([NAMES.index(name)]) if name in NAMES else b"\x0f" + part(name)
        out += kind + which + part(member.link.encode() if member.link else member.data)
    return out


def seeds() -> Iterator[bytes]:
    small = Image((samples.member(b"x" * 20),), ("docker.io/library/one:1",))
    yield _given([one for one in docker_20(small) if not one.name.endswith(("VERSION", "/json"))])
    layout = Layout()
    root = layout.image(small)
    yield _given(layout.members([named(root, ref="a:1"), layout.index([root])]))
    config = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:{0}"]}}'
    manifest = (b'{"schemaVersion":2,"config":{"mediaType":"%s","digest":"sha256:{1}","size":[1]},"layers":[{"mediaType":"%s",'
                b'"digest":"sha256:{0}","size":[0]}]}' % (oci.OCI_CONFIG.encode(), oci.OCI_LAYER.encode()))
    index = (b'{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:{2}","size":[2],"annotations":'
             b'{"org.opencontainers.image.ref.name":"b"}}]}' % oci.OCI_MANIFEST.encode())
    layer = b"\x40\4" + part(b"hello")
    docker = b'[{"Config":"blobs/sha256/{1}","RepoTags":["c:1"],"Layers":["blobs/sha256/{0}"]}]'
    every = layer + b"\0\4" + part(config) + b"\0\4" + part(manifest) + b"\0\1" + part(index)
    every += b"\0\2" + part(b'{"imageLayoutVersion":"1.0.0"}')
    yield b"\2" + every
    yield b"\2" + every + b"\0\0" + part(docker)
    yield b"\2" + layer + b"\0\4" + part(config) + b"\0\0" + part(docker) + b"\1\7" + part(b"manifest.json")
    yield b"\2" + b"\1\0" + part(b"a") + b"\1\7" + part(b"manifest.json")
    yield b"\1" + samples.member(b"[]", name=b"manifest.json") + samples.END
    for data in (GZIP(ONE.layers[1][:700]), b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd\4\0\1", b"\x50\x2a\x4d\x18\1\0\0\0x"):
        yield b"\0" + data
