"""Agreement with Python's tarfile, GNU tar and bsdtar on archives that real tools write, and where these disagree.

Where they disagree the scanner does what Go's archive/tar does, since that is what container engines read layers
with. DISAGREEMENTS is the table: each case is a stream, what Go and the scanner list, and what the others list where
that differs (`None`: the same). The column of Go was checked with go1.26 when the table was made.
"""

from __future__ import annotations

import io
import os
import subprocess
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tarscan_readers import Member, by_bsdtar, by_gnu, by_tarfile, cells, listed, real_header, scan
from tarscan_samples import BLOCK, END, GNU, V7, base256, header, member, padded, pairs, pax

# -------------------------------------------------------------------------------------------- archives of real tools


def tree(root: Path) -> Path:
    """Files of each sort; the names are as long as ustar can hold."""
    top = root / "tree"
    deep = top / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (top / "empty").touch()
    (top / "small").write_bytes(b"small")
    (top / "large").write_bytes(os.urandom(100_000))
    (deep / ("f" * 90)).write_bytes(b"deep" * 500)
    (top / "u\u00e9").write_bytes(b"e")
    (top / "link").symlink_to("small")
    os.link(top / "large", top / "zz-hard")
    os.mkfifo(top / "pipe")
    return top


def long_tree(root: Path) -> Path:
    """The same with names that need an extension header."""
    top = tree(root)
    path = top / ("g" * 200) / ("h" * 200)
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * 700)
    (top / "long-link").symlink_to("t" * 300)
    return top


def sparse_tree(root: Path) -> Path:
    """Files with one hole, with more pieces than an old GNU header holds, and with nothing but a hole."""
    top = root / "tree"
    top.mkdir()
    for name, pieces in (("few", 2), ("many", 60), ("none", 0)):
        with (top / name).open("wb") as file:
            for i in range(pieces):
                file.seek(i * 65536)
                file.write(b"%08d" % i * 512)
            file.truncate(pieces * 65536 + 1_000_000)
    (top / "plain").write_bytes(b"plain" * 300)
    return top


def write(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})


def gnu_tar(make: Callable[[Path], Path], *options: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        top = make(root)
        write("tar", "-C", top.parent, *options, "-cf", root / "a.tar", top.name)

    return build


def bsd_tar(make: Callable[[Path], Path], *options: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        top = make(root)
        write("bsdtar", "-C", top.parent, *options, "-cf", root / "a.tar", top.name)

    return build


def python_tar(form: int) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        with tarfile.open(root / "a.tar", "w", format=form, encoding="utf-8") as tar:
            tar.add(tree(root), "tree")
            for name, kind in (("chr", tarfile.CHRTYPE), ("blk", tarfile.BLKTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.devmajor, info.devminor = kind, 8, 17
                tar.addfile(info)
            info = tarfile.TarInfo("numbers")
            if form != tarfile.USTAR_FORMAT:
                info.uid, info.gid, info.mtime = 1 << 40, 1 << 31, -1000
            tar.addfile(info)

    return build


WRITTEN = {
    "gnu v7": gnu_tar(sparse_tree, "--format=v7"),
    "gnu ustar": gnu_tar(tree, "--format=ustar"),
    "gnu oldgnu": gnu_tar(long_tree, "--format=oldgnu"),
    "gnu gnu": gnu_tar(long_tree, "--format=gnu"),
    "gnu pax": gnu_tar(long_tree, "--format=pax"),
    "gnu incremental": gnu_tar(tree, "--format=gnu", "--incremental"),
    "gnu sparse": gnu_tar(sparse_tree, "--sparse", "--format=gnu"),
    "gnu sparse 0.0": gnu_tar(sparse_tree, "--sparse", "--format=pax", "--sparse-version=0.0"),
    "gnu sparse 0.1": gnu_tar(sparse_tree, "--sparse", "--format=pax", "--sparse-version=0.1"),
    "gnu sparse 1.0": gnu_tar(sparse_tree, "--sparse", "--format=pax", "--sparse-version=1.0"),
    "python ustar": python_tar(tarfile.USTAR_FORMAT),
    "python gnu": python_tar(tarfile.GNU_FORMAT),
    "python pax": python_tar(tarfile.PAX_FORMAT),
}
WRITTEN_BY_BSDTAR = {
    "bsd v7": bsd_tar(sparse_tree, "--format=v7", "--no-read-sparse"),
    "bsd ustar": bsd_tar(tree, "--format=ustar"),
    "bsd gnutar": bsd_tar(long_tree, "--format=gnutar"),
    "bsd pax": bsd_tar(long_tree, "--format=pax"),
    "bsd pax sparse": bsd_tar(sparse_tree, "--format=pax", "--read-sparse"),
}


def slashed(info: tarfile.TarInfo) -> bytes:
    """The name as the header has it: tarfile takes the slash of a directory away."""
    return info.name.encode("utf-8", "surrogateescape") + (b"/" if info.isdir() else b"")


def agree_with_tarfile(raw: bytes) -> None:
    entries, infos = scan(raw).entries, by_tarfile(raw)
    assert entries is not None and infos
    assert cells(entries.path) == [slashed(info) for info in infos]
    for column, values in {
        "size": [info.size for info in infos],
        "offset": [info.offset_data for info in infos],
        "header": [info.offset for info in infos],
        "uid": [info.uid for info in infos],
        "gid": [info.gid for info in infos],
        "mode": [info.mode for info in infos],
        "mtime": [int(info.mtime // 1) for info in infos],
        "devmajor": [info.devmajor for info in infos],
        "devminor": [info.devminor for info in infos],
    }.items():
        assert getattr(entries, column).tolist() == values, column
    for column, texts in {
        "link": [info.linkname for info in infos],
        "uname": [info.uname for info in infos],
        "gname": [info.gname for info in infos],
    }.items():
        assert cells(getattr(entries, column)) == [text.encode("utf-8", "surrogateescape") for text in texts], column


def agree_with_gnu(path: Path, raw: bytes) -> None:
    entries, lines = scan(raw).entries, by_gnu(path)
    assert entries is not None
    assert listed(raw) == [line[1] for line in lines]
    # GNU tar counts its own extension headers as part of the member, but not those of PAX
    starts = [int(start) if raw[start + 156 : start + 157] in (b"L", b"K") else real_header(raw, int(start))
              for start in entries.header]  # fmt: skip
    assert starts == [BLOCK * line[0] for line in lines]


def check_sparse_pieces(raw: bytes) -> None:
    """The pieces in the map add up to what is stored, and are within the size."""
    entries = scan(raw).entries
    assert entries is not None
    for pieces, stored, size in zip(cells(entries.sparse), entries.stored, entries.size, strict=True):
        table = np.frombuffer(pieces, "<i8").reshape(-1, 2)
        if pieces:
            assert table[:, 1].sum() == stored and table.sum(axis=1).max() <= size


@pytest.mark.parametrize("how", WRITTEN)
def test_archives_of_gnu_tar_and_python(how: str, tmp_path: Path) -> None:
    WRITTEN[how](tmp_path)
    raw = (tmp_path / "a.tar").read_bytes()
    if how != "gnu incremental":  # tarfile takes its times for a prefix of the name
        agree_with_tarfile(raw)
    agree_with_gnu(tmp_path / "a.tar", raw)
    check_sparse_pieces(raw)
    if "sparse" in how:
        entries = scan(raw).entries
        assert entries is not None and (entries.size != entries.stored).sum() == 3


@pytest.mark.interop
@pytest.mark.parametrize("how", WRITTEN | WRITTEN_BY_BSDTAR)
def test_archives_as_bsdtar_sees_and_writes_them(how: str, tmp_path: Path) -> None:
    (WRITTEN | WRITTEN_BY_BSDTAR)[how](tmp_path)
    raw = (tmp_path / "a.tar").read_bytes()
    entries = scan(raw).entries
    assert entries is not None
    data = (entries.kind == ord("0")) | (entries.kind == ord("D"))
    ours = [Member(item.name, item.size if has else 0) for item, has in zip(listed(raw), data, strict=True)]
    assert by_bsdtar(tmp_path / "a.tar") == ours
    if how in WRITTEN_BY_BSDTAR:
        agree_with_tarfile(raw)
        agree_with_gnu(tmp_path / "a.tar", raw)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_layer_of_the_standard_library(form: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as tar:
        for name in ("json", "email", "encodings", "ctypes"):
            tar.add(Path(sysconfig.get_path("stdlib")) / name, f"usr/lib/python/{name}")
    raw = path.read_bytes()
    agree_with_tarfile(raw)
    agree_with_gnu(path, raw)
    result = scan(raw, range(0, len(raw), 1 << 16))
    infos = by_tarfile(raw)
    assert result.scanner.file_bytes == sum(info.size for info in infos if info.isreg())
    assert [length for kind, length in result.spans if kind] == [info.size for info in infos if info.size >= 512]


def test_numbers_and_attributes_as_python_writes_them(tmp_path: Path) -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {"SCHILY.xattr.user.k": "v", "mtime": "1700000000.123456789", "size": "8589934592"}
    raw = info.tobuf(tarfile.PAX_FORMAT)
    entries = scan(raw).entries
    assert entries is not None
    assert (entries.mtime.tolist(), entries.mtime_ns.tolist()) == ([1700000000], [123456789])
    assert entries.size.tolist() == [8589934592] and cells(entries.xattrs) == [b"\6\0\0\0user.k\1\0\0\0v"]


# -------------------------------------------------------------------------------------------- the table


class Case(NamedTuple):
    raw: bytes
    go: list[tuple[bytes, int]]
    tarfile: list[tuple[bytes, int]] | None = None
    gnu: list[tuple[bytes, int]] | None = None
    bsdtar: list[tuple[bytes, int]] | None = None


OWN = member(b"abc", name=b"own")
AFTER = member(b"z" * 5, name=b"after") + END
DATA = bytes(600)
OWN_ROW, NEXT_ROW = (b"own", 3), (b"after", 5)

DISAGREEMENTS = {
    "a global header is not applied":
        Case(pax([(b"path", b"g")], b"g") + OWN + AFTER, [OWN_ROW, NEXT_ROW],
             tarfile=[(b"g", 3), (b"g", 5)], gnu=[(b"g", 3), (b"g", 5)]),
    "an extended header before a global one is lost":
        Case(pax([(b"path", b"long")]) + pax([(b"comment", b"c")], b"g") + OWN + AFTER, [OWN_ROW, NEXT_ROW],
             tarfile=[(b"long", 3), NEXT_ROW], gnu=[(b"long", 3), NEXT_ROW], bsdtar=[(b"long", 3), NEXT_ROW]),
    "of two extended headers the second counts":
        Case(pax([(b"path", b"one")]) + pax([(b"mtime", b"5")]) + OWN + AFTER, [OWN_ROW, NEXT_ROW],
             tarfile=[(b"one", 3), NEXT_ROW]),
    "an empty record is none":
        Case(pax([(b"path", b"")]) + OWN + AFTER, [OWN_ROW, NEXT_ROW],
             tarfile=[(b"", 3), NEXT_ROW], gnu=[(b"", 3), NEXT_ROW]),
    "a GNU long name beats a record":
        Case(pax([(b"path", b"pax")]) + member(b"gnu\0", type=b"L", magic=GNU) + OWN + AFTER,
             [(b"gnu", 3), NEXT_ROW],
             tarfile=[(b"pax", 3), NEXT_ROW], gnu=[(b"pax", 3), NEXT_ROW], bsdtar=[(b"pax", 3), NEXT_ROW]),
    "a hard link with a size has no data":
        Case(header(type=b"1", link=b"t", size=600, name=b"h") + AFTER, [(b"h", 600), NEXT_ROW],
             gnu=[(b"h", 0), NEXT_ROW], bsdtar=[(b"h", 0), NEXT_ROW]),
    "a symbolic link with a size has no data":
        Case(header(type=b"2", link=b"t", size=600, name=b"s") + AFTER, [(b"s", 600), NEXT_ROW],
             gnu=[(b"s", 600)], bsdtar=[(b"s", 0), NEXT_ROW]),
    "a directory with a size has no data":
        Case(header(type=b"5", size=600, name=b"d/") + AFTER, [(b"d/", 600), NEXT_ROW],
             bsdtar=[(b"d/", 0), NEXT_ROW]),
    "a fifo with a size has no data":
        Case(header(type=b"6", size=600, name=b"p") + AFTER, [(b"p", 600), NEXT_ROW],
             gnu=[(b"p", 600)], bsdtar=[(b"p", 0), NEXT_ROW]),
    "a GNU header has times where ustar has a prefix":
        Case(header(magic=GNU, atime=0o1234, name=b"own") + AFTER, [(b"own", 0), NEXT_ROW],
             tarfile=[(b"00000001234/own", 0), NEXT_ROW]),
    "archives in a row (Go stops; the scanner goes on, as GNU tar -i does)":
        Case(OWN + END + AFTER, [OWN_ROW, NEXT_ROW], tarfile=[OWN_ROW], gnu=[OWN_ROW], bsdtar=[OWN_ROW]),
    "a negative size is not tar":
        Case(header(size=base256(-1, 12)) + AFTER, [], tarfile=[(b"name", -1), NEXT_ROW], gnu=[NEXT_ROW]),
    "a number that is none is not tar":
        Case(header(uid=b"9", name=b"own") + AFTER, [], gnu=[(b"own", 0), NEXT_ROW]),
    "bad records are not tar":
        Case(pax(b"99 a=b\n") + OWN + AFTER, [],
             tarfile=[OWN_ROW, NEXT_ROW], gnu=[OWN_ROW, NEXT_ROW], bsdtar=[OWN_ROW, NEXT_ROW]),
    "after a bad checksum nothing is tar":
        Case(OWN + b"\1" + OWN[1:] + AFTER, [OWN_ROW], gnu=[OWN_ROW, NEXT_ROW], bsdtar=[OWN_ROW, NEXT_ROW]),
    "a sparse map beyond the size is not tar":
        Case(header(type=b"S", magic=GNU, size=40, realsize=10, name=b"s", extra={386: pairs([(0, 40)])})
             + padded(bytes(40)) + AFTER, [],
             tarfile=[(b"s", 10), NEXT_ROW], gnu=[(b"s", 10), NEXT_ROW], bsdtar=[(b"s", 10), NEXT_ROW]),
    "a volume label is listed":
        Case(header(type=b"V", magic=GNU, name=b"v") + AFTER, [(b"v", 0), NEXT_ROW],
             gnu=[(b"v--Volume Header--", 0), NEXT_ROW], bsdtar=[NEXT_ROW]),
    "a continued file is listed":
        Case(member(b"abc", type=b"M", magic=GNU, name=b"m") + AFTER, [(b"m", 3), NEXT_ROW],
             gnu=[(b"m--Continued at byte 0--", 3), NEXT_ROW]),
    "an unknown type has data":
        Case(member(DATA, type=b"Z", name=b"u") + AFTER, [(b"u", 600), NEXT_ROW],
             gnu=[("u unknown file type \u2018Z\u2019".encode(), 600), NEXT_ROW]),
    # and where all agree
    "a contiguous file": Case(member(b"abc", type=b"7", name=b"own") + AFTER, [OWN_ROW, NEXT_ROW]),
    "an old directory": Case(header(type=b"\0", magic=V7, name=b"d/") + AFTER, [(b"d/", 0), NEXT_ROW]),
    "a file with a trailing slash": Case(member(b"abc", name=b"d/") + AFTER, [(b"d/", 3), NEXT_ROW]),
    "a dumped directory": Case(member(b"Yf\0\0", type=b"D", magic=GNU, name=b"d/") + AFTER, [(b"d/", 4), NEXT_ROW]),
    "a signed checksum": Case(header(signed=True, name=b"\xff\xfea") + AFTER, [(b"\xff\xfea", 0), NEXT_ROW]),
    "a size in a record": Case(pax([(b"size", b"600")]) + header(size=3, name=b"own") + padded(DATA) + AFTER,
                               [(b"own", 600), NEXT_ROW]),
    "a lone zero block": Case(OWN + bytes(BLOCK) + AFTER, [OWN_ROW]),
}  # fmt: skip


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_the_scanner_does_as_go(name: str) -> None:
    case = DISAGREEMENTS[name]
    assert listed(case.raw) == case.go


@pytest.mark.interop
@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_the_others_do_as_the_table_says(name: str, tmp_path: Path) -> None:
    case = DISAGREEMENTS[name]
    path = tmp_path / "a.tar"
    path.write_bytes(case.raw)
    python = [(slashed(info), info.size) for info in by_tarfile(case.raw)]
    assert python == (case.go if case.tarfile is None else case.tarfile)
    assert [line[1] for line in by_gnu(path)] == (case.go if case.gnu is None else case.gnu)
    assert by_bsdtar(path) == (case.go if case.bsdtar is None else case.bsdtar)


def test_gnu_tar_goes_on_to_the_second_archive_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(OWN + END + AFTER)
    assert [line[1] for line in by_gnu(path, "-i")] == listed(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), ignore_zeros=True) as tar:
        assert [info.name for info in tar] == ["own", "after"]
