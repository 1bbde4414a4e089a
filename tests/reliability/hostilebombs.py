"""Small inputs that grow: by compression, by number, by length.  Made as streams; the long form has the sizes of the issue."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import zstandard
from _native.tarscan_samples import END, GNU, header, member
from archive.builders import Image, Layout, Member, podman, tar
from reliability.hostilecase import REFUSED, TAKEN, Case
from reliability.hostiledocker import config_for, dumped
from reliability.hostiletars import EVIL, PLAIN, as_layer, loading, packed, segments, sparse_1_0

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

MIB = 1 << 20
NO_IMAGE = "no image archive|without an end"


def zeros(size: int) -> Iterator[bytes]:
    piece = bytes(min(size, MIB))
    for _ in range(size // len(piece)):
        yield piece


class _Packer:
    """One of the compressions, as a stream."""

    def __init__(self, kind: str) -> None:
        self._make = {
            "gzip": lambda: gzip.GzipFile(fileobj=io.BytesIO(), mode="wb"),
            "zstd": zstandard.ZstdCompressor(level=3).compressobj,
            "xz": lambda: lzma.LZMACompressor(preset=0),
            "bzip2": bz2.BZ2Compressor,
        }[kind]
        self.kind = kind

    def pack(self, pieces: Iterator[bytes]) -> bytes:
        if self.kind == "gzip":
            return packed(lambda: pieces)()
        packer = self._make()
        return b"".join([*(packer.compress(piece) for piece in pieces), packer.flush()])


KINDS = ("gzip", "zstd", "xz", "bzip2")


def digest_of(pieces: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return f"sha256:{found.hexdigest()}"


def rle_frame(plain: int) -> bytes:
    """A zstd frame of zeros, 4 bytes for each 128 KiB."""
    block = 128 << 10
    count = plain // block
    blocks = b"".join((block << 3 | 1 << 1 | (number == count - 1)).to_bytes(3, "little") + b"\0" for number in range(count))
    return b"\x28\xb5\x2f\xfd" + bytes([0, (17 - 10) << 3]) + blocks


def windowed(log: int, data: bytes = b"") -> bytes:
    """A zstd frame that asks for a window of 2^log bytes, of one raw block."""
    block = (len(data) << 3 | 1).to_bytes(3, "little") + data
    return b"\x28\xb5\x2f\xfd" + bytes([0, (log - 10) << 3]) + block


def compressed_layer(
    name: str, data: Callable[[], bytes], diff_id: Callable[[], str], verdict: str, says: str = "", kind: str = "gzip"
) -> list[Case]:
    """An image of one compressed layer, as a docker-archive and as a layout."""

    def docker(place: Path) -> list[str]:
        config = dumped(config_for([diff_id()]))
        items = [{"Config": "config", "RepoTags": [EVIL], "Layers": ["layer"]}]
        members = [Member("config", config), Member("layer", data()), Member("manifest.json", dumped(items))]
        (place / "evil.tar").write_bytes(tar(members))
        return ["load", "-q", "-i", str(place / "evil.tar")]

    def oci(place: Path) -> list[str]:
        layout = Layout()
        blob = layout.put(data(), f"{OCI_LAYER}+{kind}")
        config = layout.put(dumped(config_for([diff_id()])), OCI_CONFIG)
        root = layout.put(dumped({"schemaVersion": 2, "config": config.to_json(), "layers": [blob.to_json()]}), OCI_MANIFEST)
        (place / "evil.tar").write_bytes(tar(layout.members([root])))
        return ["load", "-q", "-i", str(place / "evil.tar")]

    return [Case(f"docker-archive: {name}", verdict, docker, says), Case(f"layout: {name}", verdict, oci, says)]


def many_windows(count: int) -> Callable[[], bytes]:
    """A layout of images whose layers each ask for a window of 128 MiB, and fill it."""

    def make() -> bytes:
        layout = Layout()
        packer = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=False, compression_level=1)
        )
        layers = []
        diff_ids = []
        for number in range(count):
            plain = b"%d" % number * 16 + bytes(130 * MIB)
            out = packer.compressobj()
            layers.append(layout.put(out.compress(plain) + out.flush(), f"{OCI_LAYER}+zstd"))
            diff_ids.append(str(Digest.of(plain)))
        config = layout.put(dumped(config_for(diff_ids)), OCI_CONFIG)
        document = {"schemaVersion": 2, "config": config.to_json(), "layers": [one.to_json() for one in layers]}
        return tar(layout.members([layout.put(dumped(document), OCI_MANIFEST)]))

    return make


def ratios(long: bool) -> Iterator[Case]:
    """Bombs by their ratio."""
    size = (8 << 30) if long else 48 * MIB
    for kind in KINDS:
        whole = (2 << 30 if kind == "bzip2" else size) if long else size
        yield loading(
            f"archive: {kind} of zeros", REFUSED, lambda kind=kind, whole=whole: _Packer(kind).pack(zeros(whole)), NO_IMAGE
        )
        if kind in ("gzip", "zstd"):
            made = {"data": lambda kind=kind: _Packer(kind).pack(zeros(size)), "kind": kind}
            honest = compressed_layer(f"{kind} of zeros", diff_id=lambda: digest_of(zeros(size)), verdict=TAKEN, **made)
            lying = compressed_layer(
                f"{kind} of zeros, a diff id that lies",
                diff_id=lambda: str(Digest.of(b"")),
                verdict=REFUSED,
                says="digest|diff id|plain tar",
                **made,
            )
            if long and kind == "zstd":  # a layer that stays compressed inflates to 1032 times its size, beyond a gigabyte
                honest[1] = replace(honest[1], verdict=REFUSED, says="cannot be decompressed")
                lying[1] = replace(lying[1], says="cannot be decompressed")
            yield from honest
            yield from lying
    runs = (32 << 30) if long else 256 * MIB
    yield loading("archive: zstd of runs", REFUSED, lambda: rle_frame(runs), NO_IMAGE)
    of_runs = compressed_layer(
        "zstd of runs, a diff id that lies",
        lambda: rle_frame(runs),
        lambda: str(Digest.of(b"")),
        REFUSED,
        "digest|plain tar",
        "zstd",
    )
    if long:  # beyond the same bound
        of_runs[1] = replace(of_runs[1], says="cannot be decompressed")
    yield from of_runs
    yield loading("archive: zeros behind gzip", REFUSED, lambda: gzip.compress(tar([])) + bytes(size), NO_IMAGE)
    yield loading(
        "archive: zeros behind an image",
        REFUSED if long else TAKEN,
        packed(lambda: chain([tar(podman(Image((PLAIN,), (EVIL,))))], zeros(size))),
        NO_IMAGE,
    )
    yield loading(
        "archive: rubbish behind an image",
        TAKEN,
        packed(lambda: iter([tar(podman(Image((PLAIN,), (EVIL,)))), b"rubbish " * 100_000])),
    )


def nests(long: bool) -> Iterator[Case]:
    """Compression within compression, tars within tars; members, frames and streams without number."""
    image = tar(podman(Image((PLAIN,), (EVIL,))))
    deep = image
    for _ in range(10):
        deep = gzip.compress(deep, 1, mtime=0)
    yield loading("archive: gzip in gzip ten deep", REFUSED, lambda: deep, NO_IMAGE)
    mixed = lzma.compress(bz2.compress(zstandard.compress(gzip.compress(image))))
    yield loading("archive: four compressions in one another", REFUSED, lambda: mixed, NO_IMAGE)
    inner = gzip.compress(bytes(4 * MIB), mtime=0)
    # A docker-archive does not say how a layer is compressed: a plain one is told by its bytes.
    docker, layout = compressed_layer(
        "gzip in gzip", lambda: gzip.compress(inner, mtime=0), lambda: str(Digest.of(inner)), TAKEN
    )
    yield replace(docker, verdict=REFUSED, says="plain tar")
    yield layout
    boxes = PLAIN
    for number in range(30):
        boxes = tar([Member(f"box{number}", boxes)])
    yield as_layer("thirty tars in one another", lambda: boxes)
    yield as_layer(
        "a tar in a tar under gzip in a tar", lambda: tar([Member("a.tgz", gzip.compress(tar([Member("b", image)]), mtime=0))])
    )
    yield loading("archive: an archive in an archive", REFUSED, lambda: tar([Member("image.tar", image)]), NO_IMAGE)
    count = 1_000_000 if long else 20_000
    empty = {
        "gzip": gzip.compress(b"", mtime=0),
        "zstd": zstandard.compress(b""),
        "xz": lzma.compress(b""),
        "bzip2": bz2.compress(b"x"),
    }
    for kind, one in empty.items():
        some = count // 10 if kind == "bzip2" else count
        yield loading(
            f"archive: {some} of {kind} in a row",
            REFUSED,
            lambda one=one, some=some: one * some,
            NO_IMAGE + "|damaged|something else",
        )
    yield loading(
        "archive: an image in members of 16 bytes",
        TAKEN,
        lambda: b"".join(gzip.compress(image[at : at + 16], 1, mtime=0) for at in range(0, len(image), 16)),
    )
    skips = (b"\x50\x2a\x4d\x18" + struct.pack("<I", 0)) * count
    yield loading("archive: zstd frames to pass over", REFUSED, lambda: skips, NO_IMAGE + "|damaged")
    yield loading(
        "archive: a zstd frame of 4 GiB to pass over",
        REFUSED,
        lambda: b"\x50\x2a\x4d\x18" + b"\xff" * 4 + bytes(99),
        "too early|damaged",
    )


def headers(long: bool) -> Iterator[Case]:
    """What the first bytes of compressed data demand."""
    limit = "window beyond 128 MiB|damaged"
    for log in (28, 31, 41):
        yield loading(f"archive: a zstd window of 2^{log}", REFUSED, lambda log=log: windowed(log, b"data"), limit)
        yield from compressed_layer(
            f"a zstd window of 2^{log}",
            lambda log=log: windowed(log, b"data"),
            lambda: str(Digest.of(b"data")),
            REFUSED,
            limit + "|decompressed",
            "zstd",
        )
    dictionary = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    big = bytearray(lzma.compress(bytes(MIB), filters=[dictionary[0] | {"dict_size": 1 << 20}]))
    yield loading("archive: an xz dictionary of 1.5 GiB", REFUSED, lambda: _xz_dictionary(bytes(big), 37), limit)
    yield loading("archive: an xz dictionary of 4 GiB", REFUSED, lambda: _xz_dictionary(bytes(big), 40), limit)
    name = b"n" * ((64 if long else 2) * MIB)
    yield loading(
        "archive: a gzip header with a name without an end",
        REFUSED,
        lambda: b"\x1f\x8b\x08\x08" + bytes(5) + b"\x03" + name,
        "damaged|too early",
    )
    yield loading(
        "archive: a gzip header with all fields",
        REFUSED,
        lambda: b"\x1f\x8b\x08\x1e" + bytes(5) + b"\x03\xff\xff" + bytes(65535) + b"n\0c\0\0\0",
        "damaged|too early",
    )
    for kind in KINDS:
        data = _Packer(kind).pack(iter([tar(podman(Image((PLAIN,), (EVIL,))))]))
        yield loading(
            f"archive: {kind} and rubbish behind", REFUSED, lambda data=data: data + b"rubbish" * 9, "something else|damaged"
        )
        yield loading(f"archive: half of {kind}", REFUSED, lambda data=data: data[: len(data) // 2], "too early|damaged")
        yield loading(f"archive: ten bytes of {kind}", REFUSED, lambda data=data: data[:10], "too early|damaged")
        yield loading(
            f"archive: {kind} with its end turned",
            REFUSED,
            lambda data=data: data[:-9] + bytes(9),
            "damaged|too early|something else",
        )
    yield loading(
        "windows of 128 MiB, two side by side" if not long else "windows of 128 MiB, twelve",
        TAKEN,
        many_windows(12 if long else 2),
    )


def _xz_dictionary(data: bytes, code: int) -> bytes:
    """The same stream, its first block header asking for another dictionary, the header's checksum made right."""
    at = 12
    size = (data[at] + 1) * 4
    head = bytearray(data[at : at + size - 4])
    place = head.index(bytes([0x21, 1])) + 2
    head[place] = code
    import zlib

    return data[:at] + bytes(head) + struct.pack("<I", zlib.crc32(bytes(head))) + data[at + size :]


def entries(count: int) -> Iterator[bytes]:
    """Empty files, a thousand at a time."""
    for number in range(0, count, 1000):
        yield b"".join(header(name=b"d%d/f%d" % (number, one)) for one in range(min(1000, count - number)))


def numbers(long: bool) -> Iterator[Case]:
    """Bombs by their number of members, and by the length of names."""
    image = tar(podman(Image((PLAIN,), (EVIL,))))
    yield loading("archive: 15,000 empty files", TAKEN, packed(lambda: (*entries(15_000), image)))
    if long:
        yield loading(
            "archive: 10^6 empty files", REFUSED, packed(lambda: (*entries(1_000_000), image)), "more than 100000 members"
        )
    some = 1_000_000 if long else 30_000
    yield as_layer(f"{some} empty files", lambda: b"".join(entries(some)) + END)
    pieces = 1_000_000 if long else 100_000
    yield as_layer(f"a map of {pieces} segments", lambda: sparse_1_0(segments(pieces), b"x" * pieces, b"9999999999") + END)
    size = (100 if long else 4) * MIB
    for kind in (b"L", b"K"):

        def named(kind: bytes = kind) -> Iterator[bytes]:
            return iter([header(name=b"L", type=kind, magic=GNU, size=size), *_letters(size), image])

        yield loading(
            f"archive: a name of {size >> 20} MiB ({kind.decode()})", REFUSED, packed(named), NO_IMAGE + "|damaged|header"
        )
        yield as_layer(f"a name of {size >> 20} MiB ({kind.decode()})", lambda named=named: b"".join(named()))
    names = 8_000 if long else 100
    name = b"n" * 900_000

    def long_names() -> Iterator[bytes]:
        for number in range(names):
            yield member(b"%06d" % number + name, name=b"L", type=b"L", magic=GNU) + header(name=b"f")
        yield image

    yield loading(f"archive: {names} names of 900 KB", TAKEN, packed(long_names))

    def long_links() -> Iterator[bytes]:
        for number in range(names):
            yield member(b"%06d" % number + name, name=b"K", type=b"K", magic=GNU) + header(name=b"l%d" % number, type=b"2")
        yield image

    yield loading(f"archive: {names} links of 900 KB", TAKEN, packed(long_links))
    shorter = b"n" * 4000
    yield loading(
        "archive: 10,000 names of 4,000 characters",
        REFUSED,
        packed(
            lambda: iter(
                [
                    member(b"%05d" % number + shorter, name=b"L", type=b"L", magic=GNU) + header(name=b"f")
                    for number in range(10_000)
                ]
            )
        ),
        "names of all members are too long",
    )
    steps = b"a/" * 400_000
    yield loading(
        "archive: a name of 400,000 parts",
        TAKEN,
        packed(lambda: iter([member(steps, name=b"L", type=b"L", magic=GNU) + header(name=b"f"), image])),
    )
    yield loading("archive: 15,000 of one name", TAKEN, packed(lambda: iter([header(name=b"manifest.json") * 15_000, image])))
    longer = (b"b" * 99 + b"/") * 9_000
    yield loading(
        "archive: a link chain through 900 KB",
        REFUSED,
        lambda: (
            tar([Member("manifest.json", dumped([{"Config": "c", "RepoTags": None, "Layers": []}]))], end=False)
            + member(longer, name=b"K", type=b"K", magic=GNU)
            + header(name=b"c", type=b"2")
            + END
        ),
        "no regular file",
    )
    documents = [Member(f"{number}.json", b'{"a":"' + b" " * (3 * MIB) + b'"}') for number in range(60 if long else 25)]
    yield loading(
        "archive: documents beyond what is kept",
        TAKEN,
        packed(lambda: iter([*(tar([one], end=False) for one in documents), image])),
    )


def _letters(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield b"n" * MIB


def bombs(long: bool) -> Iterator[Case]:
    """All that grow."""
    yield from ratios(long)
    yield from nests(long)
    yield from headers(long)
    yield from numbers(long)
