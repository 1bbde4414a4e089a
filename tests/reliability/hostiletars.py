"""Tars that no sane program writes.  Each oddity comes in three places: in the outer tar of an archive, before what makes the
image; as the layer of an image; and as a root file system to import.

A layer is content, whatever is in it: it must come in, bit for bit, if its digest is right.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from _native.tarscan_samples import BLOCK, END, GNU, V7, base256, header, member, padded, pairs, pax
from archive.builders import Image, layer, podman, tar
from reliability.hostilecase import LAYER, REFUSED, TAKEN, Case

from lamina.digest import Digest

EVIL = "docker.io/library/evil:1"
PLAIN = layer(71, 2000)
HUGE = 10**30


def x(*records: tuple[bytes, bytes]) -> bytes:
    """An extended header for the next member."""
    return pax(list(records))


def g(*records: tuple[bytes, bytes]) -> bytes:
    """A global extended header."""
    return pax(list(records), b"g")


def raw_pax(data: bytes) -> bytes:
    return pax(data)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's header for a name that is too long."""
    return member(name, name=b"././@LongLink", type=kind, magic=GNU)


FILE = member(b"content", name=b"file")


def sparse_old(pieces: list[tuple[int, int]], real: int, stored: bytes) -> bytes:
    """An old GNU sparse member of up to four pieces."""
    return header(
        name=b"sparse",
        type=b"S",
        magic=GNU,
        size=len(stored),
        extra={386: pairs(pieces[:4]).ljust(96, b"\0"), 483: b"%011o\0" % real},
    ) + padded(stored)


def sparse_1_0(text: bytes, stored: bytes = b"", real: bytes = b"5") -> bytes:
    """A PAX sparse member with its map before its data."""
    data = padded(text) + stored
    return x(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s"), (b"GNU.sparse.realsize", real)
    ) + member(data, name=b"GNUSparseFile.0/s")


def sparse_0_1(pieces: bytes, count: bytes, real: bytes = b"9999", stored: bytes = b"x" * 10) -> bytes:
    """A PAX sparse member with its map in its records."""
    return x((b"GNU.sparse.size", real), (b"GNU.sparse.numblocks", count), (b"GNU.sparse.map", pieces)) + member(stored)


def segments(count: int, step: int = 1024) -> bytes:
    """A map of 1.0 with that many pieces of one byte."""
    return b"%d\n" % count + b"".join(b"%d\n1\n" % (number * step) for number in range(count))


def oddities() -> dict[str, tuple[bytes, str]]:
    """Name -> (bytes that stand before a good tar, what an archive that begins with them comes to: '' or the error)."""
    broken = "no image archive|damaged|ends|too large|announces|cut short"
    pieces = [(0, 5), (3, 5)]
    return {
        # sizes
        "size of 8 GiB less one": (header(name=b"a", size=b"777777777777") + b"x" * BLOCK, broken),
        "size 2^63 - 1": (header(name=b"a", size=base256(2**63 - 1, 12)) + b"x" * BLOCK, broken),
        "size 2^63": (header(name=b"a", size=base256(2**63, 12)) + b"x" * BLOCK, broken),
        "size -1": (header(name=b"a", size=base256(-1, 12)), broken),
        "size -512": (header(name=b"a", size=base256(-512, 12)), broken),
        "size in letters": (header(name=b"a", size=b"xyz"), broken),
        "pax size 10^30": (x((b"size", b"%d" % HUGE)) + FILE, broken),
        "pax size 2^63": (x((b"size", b"%d" % 2**63)) + FILE, broken),
        "pax size 2^63 - 1": (x((b"size", b"%d" % (2**63 - 1))) + FILE, broken),
        "pax size -1": (x((b"size", b"-1")) + FILE, broken),
        "pax size 1e3": (x((b"size", b"1e3")) + FILE, broken),
        "pax size that is empty": (x((b"size", b"")) + FILE, ""),
        "pax size with NUL": (x((b"size", b"7\x00")) + FILE, broken),
        "pax size in arabic digits": (x((b"size", "٧".encode())) + FILE, broken),
        "pax size of 5000 digits": (x((b"size", b"9" * 5000)) + FILE, broken),
        "pax size smaller than the field": (x((b"size", b"3")) + FILE, ""),
        "pax size larger than the field": (x((b"size", b"1024")) + member(b"content", name=b"f") + bytes(BLOCK), ""),
        # records
        "record without newline": (raw_pax(b"11 path=abc"), broken),
        "record that says less": (raw_pax(b"5 path=abc\n"), broken),
        "record that says more": (raw_pax(b"99 path=abc\n"), broken),
        "record of length 0": (raw_pax(b"0 path=abc\n"), broken),
        "record of length -9": (raw_pax(b"-9 path=abc\n"), broken),
        "record of length 10^30": (raw_pax(b"%d path=abc\n" % HUGE), broken),
        "record without a length": (raw_pax(b" path=abc\n"), broken),
        "record without =": (raw_pax(b"8 path\n\n"), broken),
        "record without a key": (x((b"", b"v")) + FILE, broken),
        "NUL in a path": (x((b"path", b"a\0b")) + FILE, broken),
        "NUL in a link": (x((b"linkpath", b"a\0b")) + member(type=b"2", name=b"l"), broken),
        "NUL in a key": (x((b"a\0b", b"v")) + FILE, broken),
        "NUL in an attribute": (x((b"SCHILY.xattr.user.a", b"a\0b")) + FILE, ""),
        "extended header of nothing": (raw_pax(b"") + FILE, ""),
        "two extended headers in a row": (x((b"path", b"a")) + x((b"path", b"b")) + FILE, ""),
        "a thousand extended headers": (x((b"path", b"a")) * 1000 + FILE, ""),
        "extended header and nothing": (x((b"path", b"a")), "named but not there"),  # it renames what follows
        "extended header of 2 MiB": (x((b"comment", b"c" * (2 << 20))) + FILE, broken),
        "extended header of 10 GiB": (header(name=b"x", type=b"x", size=10 << 30), broken),
        "extended header of size 2^63 - 1": (header(name=b"x", type=b"x", size=base256(2**63 - 1, 12)), broken),
        "50,000 records": (x(*[(b"k%d" % number, b"v") for number in range(50_000)]) + FILE, ""),
        "20,000 attributes": (x(*[(b"SCHILY.xattr.user.%d" % number, b"v") for number in range(20_000)]) + FILE, ""),
        # global headers
        "global header that says a size": (g((b"size", b"99999")) + FILE, ""),
        "global header that says manifest.json": (g((b"path", b"manifest.json")) + FILE, ""),
        "global header of rubbish": (pax(b"rubbish", b"g") + FILE, broken),
        "a thousand global headers": (g((b"comment", b"c")) * 1000 + FILE, ""),
        # GNU's long names
        "long name of nothing": (long_name(b"") + FILE, ""),
        "long name of NULs": (long_name(b"\0" * 300) + FILE, ""),
        "long name without its member": (long_name(b"n" * 300), "named but not there"),
        "long name of 900 KB": (long_name(b"n" * 900_000) + FILE, ""),
        "long name of 2 MiB": (long_name(b"n" * (2 << 20)) + FILE, broken),
        "long name of 10 GiB": (header(name=b"L", type=b"L", magic=GNU, size=10 << 30), broken),
        "chain of long names": ((long_name(b"n" * 200) + long_name(b"l" * 200, b"K")) * 500 + FILE, ""),
        "long name that leads out": (long_name(b"../" * 100 + b"etc/passwd\0") + FILE, ""),
        "long name of escapes": (long_name(b"\x1b]0;evil\x07\x1b[31m" * 20 + b"\0") + FILE, ""),
        # other numbers
        "times and owners below zero": (header(name=b"a", mtime=base256(-(2**62), 12), uid=base256(-5, 8)), ""),
        "times beyond 64 bits": (header(name=b"a", mtime=b"\x80" + b"\xff" * 11), broken),
        "pax time 10^30": (x((b"mtime", b"%d" % HUGE)) + FILE, broken),
        "pax time of 5000 digits": (x((b"mtime", b"1." + b"1" * 5000)) + FILE, ""),
        "pax owner 2^63": (x((b"uid", b"%d" % 2**63)) + FILE, broken),
        "devices beyond measure": (header(name=b"d", type=b"3", devmajor=b"77777777", devminor=b"77777777"), ""),
        # kinds
        "a file without a name": (member(b"content", name=b""), ""),
        "names of 0xff": (member(b"content", name=b"\xff" * 100), ""),
        "names of newlines": (member(b"content", name=b"\n\r\x1b[2J\x08"), ""),
        "a directory with content": (member(b"content", name=b"d/", type=b"5"), broken),
        "a link with content": (member(b"content", name=b"l", type=b"2", link=b"manifest.json"), broken),
        "a hard link with content": (member(b"content", name=b"l", type=b"1", link=b"manifest.json"), broken),
        "links in a circle": (header(name=b"a", type=b"2", link=b"b") + header(name=b"b", type=b"2", link=b"a"), ""),
        "a hard link to itself": (header(name=b"a", type=b"1", link=b"a"), ""),
        "absolute names and links": (header(name=b"/etc/passwd", type=b"2", link=b"/etc/shadow"), ""),
        "a volume that goes on": (member(b"content", name=b"v", type=b"M", magic=GNU), ""),
        "a label and a dump": (
            header(name=b"v", type=b"V", magic=GNU) + member(b"Yfile\0\0", name=b"d", type=b"D", magic=GNU),
            "",
        ),
        "kinds that nobody knows": (b"".join(member(b"q", name=b"q", type=bytes([kind])) for kind in b"QRZ\xff\x01"), ""),
        "no magic": (member(b"content", name=b"old", magic=V7), ""),
        "a wrong checksum": (header(name=b"a")[:-1] + b"x", broken),
        # sparse files
        "sparse: pieces overlap": (sparse_old(pieces, 100, b"x" * 10), broken),
        "sparse: pieces descend": (sparse_old([(50, 5), (0, 5)], 100, b"x" * 10), broken),
        "sparse: pieces beyond the end": (sparse_old([(95, 50)], 100, b"x" * 50), broken),
        "sparse: 8 EiB of nothing": (
            x((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % (2**63 - 1)))
            + member(padded(b"0\n")),
            "",
        ),
        "sparse: a map without an end": (
            header(name=b"s", type=b"S", magic=GNU, size=0, extra={482: b"\x01"}) + (b"\0" * 504 + b"\x01" + b"\0" * 7) * 64,
            broken,
        ),
        "sparse: 5,000 segments": (sparse_1_0(segments(5000), b"x" * 5000, b"9999999"), ""),
        "sparse: a count of 10^6 and one piece": (sparse_1_0(b"1000000\n0\n1\n", b"x"), broken),
        "sparse: a count of 10^30": (sparse_1_0(b"%d\n" % HUGE), broken),
        "sparse: a count below zero": (sparse_1_0(b"-1\n"), broken),
        "sparse: pieces of size 2^63 - 1": (sparse_1_0(b"2\n0\n%d\n1\n%d\n" % (2**63 - 1, 2**63 - 1)), broken),
        "sparse 0.1: 20,000 segments": (sparse_0_1(b",".join(b"%d,0" % n for n in range(20_000)), b"20000", b"30000", b""), ""),
        "sparse 0.1: a count that lies": (sparse_0_1(b"0,5", b"1000000"), broken),
        "sparse 0.1: an odd number of numbers": (sparse_0_1(b"0,5,7", b"1"), broken),
        "sparse 0.1: letters": (sparse_0_1(b"a,b", b"1"), broken),
        # what is no header
        "one block of zeros, then more": (bytes(BLOCK) + FILE, broken),
        "text": (b"this is no tar\n" * 100 + b" " * 548, broken),
    }


def _outer(odd: bytes, says: str) -> tuple[str, Callable[[Path], list[str]], str]:
    def make(place: Path) -> list[str]:
        (place / "evil.tar").write_bytes(odd + tar(podman(Image((PLAIN,), (EVIL,)))))
        return ["load", "-q", "-i", str(place / "evil.tar")]

    return (REFUSED if says else TAKEN), make, says


def as_layer(name: str, make_data: Callable[[], bytes]) -> Case:
    """An image whose layer is this."""

    def make(place: Path) -> list[str]:
        data = make_data()
        (place / LAYER).write_text(Digest.of(data))
        (place / "evil.tar").write_bytes(tar(podman(Image((data,), (EVIL,)))))
        return ["load", "-q", "-i", str(place / "evil.tar")]

    return Case(f"layer: {name}", TAKEN, make)


def as_import(name: str, data: bytes, verdict: str, says: str = "") -> Case:
    """A root file system that is this."""

    def make(place: Path) -> list[str]:
        (place / LAYER).write_text(Digest.of(data))
        (place / "root.tar").write_bytes(data)
        return ["import", str(place / "root.tar"), "evil:1"]

    return Case(f"import: {name}", verdict, make, says)


# What is no root file system: its first block is no header, or it ends in a file.
NO_ROOT = {"a wrong checksum": "no tar archive", "text": "no tar archive", "size of 8 GiB less one": "ends in the middle"}


def tars() -> Iterator[Case]:
    """Every oddity in its three places."""
    for name, (odd, says) in oddities().items():
        verdict, make, says = _outer(odd, says)
        yield Case(f"archive: {name}", verdict, make, says)
        data = odd + member(b"the rest of the layer", name=b"rest") + END
        yield as_layer(name, lambda data=data: data)
        yield as_import(name, data, REFUSED if name in NO_ROOT else TAKEN, NO_ROOT.get(name, ""))


# -- inputs that grow


def packed(make: Callable[[], Iterator[bytes]]) -> Callable[[], bytes]:
    """A stream under gzip, made piece by piece."""

    def pack() -> bytes:
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
            for piece in make():
                file.write(piece)
        return out.getvalue()

    return pack


def loading(name: str, verdict: str, data: Callable[[], bytes], says: str = "", stdin: bool = False) -> Case:
    """An archive that is this."""

    def make(place: Path) -> list[str]:
        (place / "evil.tar").write_bytes(data())
        return ["load", "-q", "-i", "-" if stdin else str(place / "evil.tar")]

    return Case(name, verdict, make, says, stdin="evil.tar" if stdin else "")
