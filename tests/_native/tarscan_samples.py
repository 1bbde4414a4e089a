"""Tar streams for the scanner's tests: blocks made by hand, and pieces of streams, good and bad, to put together."""

from __future__ import annotations

import struct
from random import Random

BLOCK = 512
END = bytes(2 * BLOCK)

FIELDS = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "link": (157, 100), "magic": (257, 8), "uname": (265, 32), "gname": (297, 32),
    "devmajor": (329, 8), "devminor": (337, 8), "prefix": (345, 155), "star_prefix": (345, 131),
    "atime": (345, 12), "ctime": (357, 12), "realsize": (483, 12), "star_atime": (476, 12), "star_mark": (508, 4),
}  # fmt: skip
USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \x00", b""


def base256(value: int, width: int) -> bytes:
    """A number as GNU tar writes what octal digits cannot hold."""
    raw = bytearray((value % (1 << 8 * width)).to_bytes(width, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pairs(pieces: list[tuple[int, int]]) -> bytes:
    """Sparse pieces as old GNU headers hold them, and as EntryColumns do."""
    return b"".join(b"%011o\0%011o\0" % piece for piece in pieces)


def sparse_bytes(pieces: list[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack("<qq", *piece) for piece in pieces)


def header(signed: bool = False, extra: dict[int, bytes] | None = None, **fields: bytes | int) -> bytes:
    """A header block with a right checksum; ints become octal, `extra` puts bytes anywhere."""
    block = bytearray(BLOCK)
    values = {"name": b"name", "mode": 0o644, "size": 0, "type": b"0", "magic": USTAR} | fields
    for key, value in values.items():
        at, width = FIELDS[key]
        raw = b"%0*o" % (width - 1, value) if isinstance(value, int) else value
        assert len(raw) <= width, key
        block[at : at + len(raw)] = raw
    for at, raw in (extra or {}).items():
        block[at : at + len(raw)] = raw
    block[148:156] = b" " * 8
    total = sum(block) - (256 * sum(byte > 127 for byte in block) if signed else 0)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def member(data: bytes = b"", **fields: bytes | int) -> bytes:
    return header(**{"size": len(data)} | fields) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record; its length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    size = len(body)
    while size != len(body) + len(str(size)):
        size = len(body) + len(str(size))
    return str(size).encode() + body


def pax(records: list[tuple[bytes, bytes]] | bytes, kind: bytes = b"x") -> bytes:
    data = records if isinstance(records, bytes) else b"".join(record(*pair) for pair in records)
    return member(data, name=b"PaxHeaders/x", type=kind)


NUMBERS = [
    b"", b"0", b"7", b"0000644\0", b" 17 ", b"\0 5\0", b"8", b"-1", b"1 2", b"+7", base256(5, 8), base256(-3, 8),
    b"\x80", b"\xff" * 8, b"\xbf" + b"\xff" * 7, b"\xc0" + b"\0" * 7, b"77777777",
]  # fmt: skip
SIZES = [
    b"0", b"1", b"3", b"777", b"1000", b"1001", b"2000", base256(700, 12), base256(-1, 12), base256(2**63 - 1, 12),
    base256(2**63, 12), base256(2**62, 12), b"777777777777", b"00000003777 ", b"x", b"4000001", b"4000000",
]  # fmt: skip
TYPES = [b"0", b"\0", b"7", b"1", b"2", b"3", b"4", b"5", b"6", b"S", b"D", b"V", b"M", b"Z", b"x", b"g", b"L", b"K"]
NAMES = [b"", b"a", b"dir/", b"/", b"\xff\xfe", b"n" * 100, b"a\0b", b"p/q"]
TEXTS = [b"", b"v", b"dir/", b"0", b"1", b"2", b"-1", b"+3", b"512", b"1000", b"1.5", b"-1.25", b"1.", b".5", b"-0.5",
         b"1.1234567899", b"1.x", b"99999999999999999999", b"9223372036854775807", b"-9223372036854775808.5", b"a\0b",
         b"0,1", b"0,1,5,2", b"0,1,", b"3,1,2,1", b"a,b", b"0,700", b"\xff", b"a=b", b"x\ny"]  # fmt: skip
KEYS = [b"path", b"linkpath", b"uname", b"gname", b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime", b"comment",
        b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.numblocks", b"GNU.sparse.map", b"GNU.sparse.name",
        b"GNU.sparse.realsize", b"GNU.sparse.size", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"SCHILY.xattr.user.a",
        b"SCHILY.xattr.", b"a\0b", b""]  # fmt: skip
MAPS = [b"0\n", b"1\n0\n5\n", b"2\n0\n1\n512\n1\n", b"1\n5\n0\n", b"-1\n", b"+1\n+0\n-0\n", b"\n", b"1\n0\n",
        b"1\n0\n9223372036854775807\n", b"x\n", b"9223372036854775808\n", b"3\n", b"0" * 600 + b"1\n0\n7\n",
        b"99999999999\n1\n", b"40\n" + b"0\n0\n" * 40, b"200\n" + b"0\n0\n" * 200]  # fmt: skip


def _fields(random: Random) -> dict[str, bytes | int]:
    """Header fields, most of them sound."""
    fields: dict[str, bytes | int] = {"type": random.choice(TYPES), "magic": random.choice([USTAR, USTAR, GNU, V7])}
    fields["size"] = random.choice(SIZES if random.random() < 0.3 else SIZES[:6])
    for name in ("mode", "uid", "gid", "mtime", "devmajor", "devminor", "atime"):
        if random.random() < 0.15:
            fields[name] = random.choice(NUMBERS)
    for name in ("name", "link", "prefix", "uname"):
        if random.random() < 0.3:
            fields[name] = random.choice(NAMES)[: FIELDS[name][1]]
    return fields


def _records(random: Random) -> bytes:
    chosen = [(random.choice(KEYS), random.choice(TEXTS)) for _ in range(random.randrange(5))]
    raw = b"".join(record(*pair) for pair in chosen)
    if random.random() < 0.1:
        raw += random.choice([b"5 a=\n", b"6 a=\n", b"+6 a=\n", b"x", b"99 a=b\n", b"006 =\n", b"4 =\n"])
    return raw


def _sparse_pax(random: Random) -> bytes:
    """Records of a PAX sparse member, and the member; often sound."""
    minor = random.choice([b"0", b"1"])
    real = (b"GNU.sparse.realsize", random.choice([b"5", b"1000", b"700"]))
    if random.random() < 0.5:
        data = padded(random.choice(MAPS)) + bytes(random.randrange(700))
        return pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), real]) + member(data, name=b"sparse")
    pieces = random.choice([b"0,1", b"0,1,5,2", b"", b"0,512,600,100", b"5,1,0,1"])
    count = str((pieces.count(b",") + 1) // 2).encode()
    if random.random() < 0.5:
        listed = [(b"GNU.sparse.map", pieces)]
    else:
        keys = [b"GNU.sparse.offset", b"GNU.sparse.numbytes"]
        listed = [(keys[i % 2], number) for i, number in enumerate(pieces.split(b","))]
    versions = [(b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", minor)] if random.random() < 0.7 else []
    return pax([*versions, (b"GNU.sparse.numblocks", count), real, *listed]) + member(bytes(9), name=b"sparse")


def _sparse_gnu(random: Random) -> bytes:
    """An old GNU sparse member with up to three continuation blocks."""
    blocks = random.randrange(4)
    first = pairs([(10 * i, 10) for i in range(random.randrange(5))])
    head = header(type=b"S", magic=random.choice([GNU, GNU, GNU, USTAR]), size=40, realsize=random.choice([40, 4000, 3]),
                  extra={386: first, 482: bytes([blocks > 0])})  # fmt: skip
    for i in range(blocks):
        raw = pairs([(100 * i + 50 + j, 1) for j in range(random.randrange(22))])
        head += raw + bytes(504 - len(raw)) + bytes([i + 1 < blocks]) + bytes(7)
    return head + padded(bytes(40))


def piece(random: Random) -> bytes:
    """Some blocks of a stream."""
    choice = random.randrange(12)
    if choice < 3:
        return member(random.randbytes(random.choice([0, 1, 511, 512, 513, 2000])), name=random.choice(NAMES))
    if choice < 5:
        head = header(signed=random.random() < 0.2, **_fields(random))
        return head + bytes(512 * random.randrange(3))
    if choice == 5:
        return member(random.choice(NAMES) + random.choice([b"", b"\0", b"n" * 200]), type=random.choice([b"L", b"K"]))
    if choice < 8:
        return pax(_records(random), random.choice([b"x", b"x", b"x", b"g"]))
    if choice == 8:
        return _sparse_gnu(random)
    if choice == 9:
        return _sparse_pax(random)
    return [bytes(BLOCK), END, END, random.randbytes(BLOCK), b"", bytes(random.randrange(600))][random.randrange(6)]


def stream(seed: int) -> bytes:
    """A stream of some pieces, now and then cut off or with a few bytes changed."""
    random = Random(seed)
    raw = bytearray(b"".join(piece(random) for _ in range(random.randrange(1, 9))))
    if random.random() < 0.2:
        del raw[random.randrange(len(raw) + 1) :]
    if raw and random.random() < 0.15:
        for _ in range(random.randrange(1, 4)):
            raw[random.randrange(len(raw))] = random.randrange(256)
    return bytes(raw)
