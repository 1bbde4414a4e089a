"""The scanner on streams made by hand: what is segment, what is content, and what each header field becomes."""

from __future__ import annotations

import mmap
import struct
import threading

import numpy as np
import pytest
from tarscan_readers import cell, cells, scan
from tarscan_samples import (
    BLOCK,
    END,
    GNU,
    V7,
    base256,
    header,
    member,
    padded,
    pairs,
    pax,
    record,
    sparse_bytes,
)

from lamina._native.tarscan import MAX_FEED, EntryColumns, TarScanner

LARGE = bytes(range(256)) * 4


def only(raw: bytes) -> EntryColumns:
    """The columns of a stream that holds exactly one member."""
    entries = scan(raw).entries
    assert entries is not None and len(entries.kind) == 1
    return entries


def fields(entries: EntryColumns, *names: str) -> list[int]:
    return [int(getattr(entries, name)[0]) for name in names]


def is_refused(raw: bytes, segment: int = 0) -> bool:
    """Whether the stream is not tar from `segment` on, and lists nothing."""
    spans, entries, _ = scan(raw)
    head = [(0, segment)] if segment else []
    return entries is None and spans == [*head, (3, len(raw) - segment)]


# -------------------------------------------------------------------------------------------- spans


def test_small_contents_ride_along_and_large_ones_stand_alone() -> None:
    raw = member(b"s" * 511) + member(b"l" * 512) + member(b"m" * 513) + END
    assert scan(raw).spans == [(0, 512 + 512 + 512), (3, 512), (0, 512), (3, 513), (0, 511 + 1024)]


def test_the_inline_limit_is_the_callers() -> None:
    raw = member(b"abc") + END
    assert scan(raw, inline_limit=4).spans == [(0, len(raw))]
    assert scan(raw, inline_limit=3).spans == [(0, 512), (3, 3), (0, 509 + 1024)]
    assert scan(member(b"") + END, inline_limit=0).spans == [(0, 512 + 1024)]


def test_content_comes_in_the_pieces_that_were_fed() -> None:
    scanner = TarScanner()
    kinds, lengths = scanner.feed(header(size=1000))
    assert (kinds.tolist(), lengths.tolist(), scanner.content_left) == ([0], [512], 1000)
    assert kinds.dtype == np.uint8 and lengths.dtype == np.int64
    kinds, lengths = scanner.feed(bytes(999))
    assert (kinds.tolist(), lengths.tolist(), scanner.content_left) == ([1], [999], 1)
    kinds, lengths = scanner.feed(bytes(1 + 24 + 100))
    assert (kinds.tolist(), lengths.tolist(), scanner.pending) == ([3, 0], [1, 24], 100)
    kinds, lengths = scanner.finish()
    assert (kinds.tolist(), lengths.tolist(), scanner.position) == ([0], [100], 512 + 1000 + 24 + 100)


def test_extensions_and_their_padding_are_segment() -> None:
    raw = pax([(b"comment", b"c" * 3000)]) + member(b"n" * 900 + b"\0", type=b"L") + member(LARGE) + END
    spans, entries, _ = scan(raw)
    assert spans == [(0, len(raw) - len(LARGE) - len(END)), (3, len(LARGE)), (0, len(END))]
    assert entries is not None
    assert fields(entries, "header", "offset") == [0, len(raw) - len(LARGE) - len(END)]


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1024, 5000])
def test_what_is_not_tar_is_content(size: int) -> None:
    raw = b"\1" * size
    _, entries, scanner = scan(raw)
    assert is_refused(raw) and not scanner.is_tar and entries is None
    assert scanner.content_left == (-1 if size else 0)


def test_what_stops_being_tar_is_content_from_there() -> None:
    raw = member(b"abc") + b"\1" * 700
    spans, entries, scanner = scan(raw)
    assert spans == [(0, 1024), (3, 700)]
    assert entries is not None and scanner.is_tar and scanner.content_left == -1


def test_a_content_may_be_followed_by_what_is_not_tar() -> None:
    raw = member(LARGE) + b"\1" * BLOCK
    assert scan(raw).spans == [(0, 512), (3, 1024), (3, 512)]


@pytest.mark.parametrize(("cut", "spans"), [
    (100, [(3, 100)]),
    (512, [(0, 512)]),
    (513, [(0, 512), (3, 1)]),
    (1535, [(0, 512), (3, 1023)]),
    (1536, [(0, 512), (3, 1024)]),
    (1600, [(0, 512), (3, 1024), (0, 64)]),
    (1024 + 512 + 512 + 7, [(0, 512), (3, 1024), (0, 519)]),
])  # fmt: skip
def test_truncation_anywhere_is_covered(cut: int, spans: list[tuple[int, int]]) -> None:
    assert scan((member(LARGE) + END)[:cut]).spans == spans


def test_zeros_after_the_end_are_segment() -> None:
    raw = member(b"abc") + END + bytes(20 * BLOCK + 77)
    spans, _, scanner = scan(raw)
    assert spans == [(0, len(raw))] and scanner.is_tar


def test_archives_in_a_row() -> None:
    raw = member(b"a", name=b"a") + END + bytes(8 * BLOCK) + member(LARGE, name=b"b") + END
    spans, entries, _ = scan(raw)
    assert entries is not None and cells(entries.path) == [b"a", b"b"]
    assert spans == [(0, len(raw) - 1024 - len(LARGE)), (3, len(LARGE)), (0, 1024)]


def test_bytes_after_the_end_are_content_from_their_block_on() -> None:
    raw = member(b"a") + END + bytes(10) + b"trailing"
    assert scan(raw).spans == [(0, 2048), (3, 18)]
    raw = member(b"a") + END + bytes(10) + b"trailing" + bytes(1000)
    assert scan(raw).spans == [(0, 2048), (3, 1018)]


def test_nothing_may_follow_a_lone_zero_block() -> None:
    raw = member(b"a") + bytes(BLOCK) + member(b"b")
    assert scan(raw).spans == [(0, 1536), (3, 1024)]


@pytest.mark.parametrize(("raw", "expected"), [
    (b"", False), (bytes(511), False), (bytes(512), True), (END, True), (header(), True), (END + header(), True),
    (END + b"\1" * 512, False), (b"\1" * 512, False), (header() + b"\1" * 512, True),
])  # fmt: skip
def test_is_tar(raw: bytes, expected: bool) -> None:
    assert scan(raw).scanner.is_tar is expected


def test_skipped_content_counts_and_is_not_returned() -> None:
    raw = member(LARGE, name=b"a") + member(bytes(600), name=b"b") + END
    scanner = TarScanner()
    scanner.feed(raw[:612])
    scanner.skip(scanner.content_left)
    assert scanner.position == 512 + 1024 and scanner.content_left == 0
    kinds, lengths = scanner.feed(raw[1536:])
    assert list(zip(kinds.tolist(), lengths.tolist(), strict=True)) == [(0, 512), (3, 600), (0, 424 + 1024)]
    scanner.finish()
    entries = scanner.take_entries()
    assert entries is not None and entries.offset.tolist() == [512, 2048]


def test_content_skipped_in_part_still_ends() -> None:
    scanner = TarScanner()
    scanner.feed(header(size=1000))
    scanner.skip(998)
    kinds, lengths = scanner.feed(b"ab" + bytes(24))
    assert (kinds.tolist(), lengths.tolist()) == ([3, 0], [2, 24])


def test_a_skip_that_ends_a_begun_content_leaves_nothing_open() -> None:
    scanner = TarScanner()
    scanner.feed(header(size=1024) + bytes(10))
    scanner.skip(1014)
    assert [part.tolist() for part in scanner.finish()] == [[], []]


# -------------------------------------------------------------------------------------------- misuse and limits


def test_misuse_is_told() -> None:
    with pytest.raises(ValueError, match="inline_limit"):
        TarScanner(-1)
    scanner = TarScanner()
    with pytest.raises(ValueError, match="skip"):
        scanner.skip(1)
    scanner.feed(header(size=1000))
    for wrong in (1001, -1):
        with pytest.raises(ValueError, match="skip"):
            scanner.skip(wrong)
    scanner.finish()
    for use in (lambda: scanner.feed(b""), scanner.finish, lambda: scanner.skip(0)):
        with pytest.raises(ValueError, match="finished"):
            use()


def test_what_is_not_tar_cannot_be_skipped() -> None:
    scanner = TarScanner()
    scanner.feed(b"\1" * 600)
    with pytest.raises(ValueError, match="skip"):
        scanner.skip(1)


def test_a_feed_has_a_limit() -> None:
    scanner = TarScanner()
    with mmap.mmap(-1, MAX_FEED + 1) as untouched, pytest.raises(ValueError, match="at most"):
        scanner.feed(untouched)
    assert scanner.position == 0 and scanner.feed(b"")[0].size == 0


def test_a_buffer_in_pieces_is_refused() -> None:
    with pytest.raises(BufferError):
        TarScanner().feed(memoryview(b"abcd")[::2])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda raw: np.frombuffer(raw, np.uint8)])
def test_any_contiguous_buffer_is_taken(kind: type) -> None:
    scanner = TarScanner()
    assert scanner.feed(kind(member(LARGE)))[1].tolist() == [512, 1024]


def test_two_threads_may_scan_two_streams() -> None:
    raw = member(LARGE) * 2000 + END
    counts = []

    def work() -> None:
        counts.append(scan(raw).scanner.entry_count)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2000, 2000]


def test_entries_come_in_the_takes_that_ask_for_them() -> None:
    scanner = TarScanner()
    assert scanner.take_entries() is None
    scanner.feed(header(name=b"one", uname=b"u") + pax([(b"path", b"two")]))
    assert (scanner.entries_ready, scanner.entry_count) == (1, 1)
    first = scanner.take_entries()
    assert first is not None and cells(first.path) == [b"one"] and scanner.entries_ready == 0
    scanner.feed(header())
    second = scanner.take_entries()
    assert second is not None and cells(second.path) == [b"two"] and cells(second.uname) == [b""]
    assert second.header.tolist() == [512] and scanner.entry_count == 2


def test_entries_are_due_by_number_or_by_bytes() -> None:
    scanner = TarScanner()
    scanner.feed(header() * 8192)
    assert not scanner.entries_due
    scanner.feed(header())
    assert scanner.entries_due
    scanner.take_entries()
    assert not scanner.entries_due
    scanner.feed((member(b"n" * (1 << 20), type=b"L") + header()) * 9)
    assert scanner.entries_ready == 9 and scanner.entries_due


def test_without_entries_they_are_only_counted() -> None:
    scanner = TarScanner(entries=False)
    scanner.feed(member(b"abc") * 3)
    assert (scanner.entry_count, scanner.file_bytes, scanner.entries_ready) == (3, 9, 0)
    assert scanner.take_entries() is None


def test_file_bytes_are_those_of_regular_files() -> None:
    hole = header(type=b"S", magic=GNU, size=0, realsize=5000)
    raw = member(LARGE) + header(type=b"1", size=1024) + header(type=b"5", size=7) + hole + END
    assert scan(raw).scanner.file_bytes == 1024 + 5000


def test_sizes_near_the_limit_neither_overflow_nor_wrap() -> None:
    head = header(size=base256(2**63 - 1, 12))
    spans, entries, scanner = scan(head + bytes(700))
    assert spans == [(0, 512), (3, 700)] and entries is not None
    assert fields(entries, "size", "stored", "offset") == [2**63 - 1, 2**63 - 1, 512]
    assert scanner.content_left == 2**63 - 1 - 700
    hole = header(type=b"S", magic=GNU, size=0, realsize=base256(2**63 - 1, 12))
    assert scan(hole * 3).scanner.file_bytes == 2**63 - 1


def test_a_skip_cannot_carry_the_position_over() -> None:
    scanner = TarScanner()
    scanner.feed(header(size=base256(2**63 - 1, 12)))
    with pytest.raises(ValueError, match="skip"):
        scanner.skip(2**63 - 1)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_extension_data_has_go_s_limit(kind: bytes) -> None:
    largest = 1 << 20
    data = record(b"comment", bytes(largest - len(b"1048576 comment=\n"))) if kind in b"xg" else b"n" * largest
    assert len(data) == largest
    assert scan(member(data, type=kind) + header()).scanner.entry_count == 1
    assert is_refused(member(data + b"\n", type=kind))


def test_a_million_repeated_records_take_no_time_that_grows() -> None:
    records = record(b"SCHILY.xattr.user.a", b"") * 40000
    entries = only(pax(records[: 1 << 20]) + header())
    assert len(entries.xattrs.data) > 1 << 18


# -------------------------------------------------------------------------------------------- header fields


def test_the_fields_of_a_header() -> None:
    entries = only(header(name=b"dev", type=b"3", mode=0o4755, uid=1000, gid=1001, mtime=0o14000000000,
                          devmajor=8, devminor=17, uname=b"root", gname=b"disk"))  # fmt: skip
    assert fields(entries, "kind", "mode", "uid", "gid", "size", "stored") == [ord("3"), 0o4755, 1000, 1001, 0, 0]
    assert fields(entries, "mtime", "mtime_ns", "devmajor", "devminor") == [0o14000000000, 0, 8, 17]
    assert [cell(column, 0) for column in (entries.path, entries.uname, entries.gname)] == [b"dev", b"root", b"disk"]


def test_the_dtypes_of_the_columns() -> None:
    entries = only(header())
    kinds = {"kind": "u1"} | dict.fromkeys(("mode", "mtime_ns", "devmajor", "devminor"), "u4")
    large = dict.fromkeys(("uid", "gid", "size", "stored", "offset", "header", "mtime"), "i8")
    assert {name: getattr(entries, name).dtype.str[1:] for name in kinds | large} == kinds | large
    for name in ("path", "link", "uname", "gname", "xattrs", "sparse"):
        column = getattr(entries, name)
        assert column.starts.dtype == np.uint32 and isinstance(column.data, bytes)


def test_names_that_fill_their_fields() -> None:
    entries = only(header(name=b"n" * 100, prefix=b"p" * 155, link=b"l" * 100, uname=b"u" * 32, gname=b"g" * 32))
    assert cell(entries.path, 0) == b"p" * 155 + b"/" + b"n" * 100
    assert (cell(entries.link, 0), cell(entries.uname, 0)) == (b"l" * 100, b"u" * 32)


def test_a_v7_header_has_neither_prefix_nor_owner_names() -> None:
    entries = only(header(magic=V7, name=b"old", uname=b"not", prefix=b"not", devmajor=b"x"))
    assert (cell(entries.path, 0), cell(entries.uname, 0)) == (b"old", b"")


def test_a_gnu_header_has_no_prefix_unless_old_go_wrote_it() -> None:
    assert cell(only(header(magic=GNU, atime=0o1234, ctime=0o1234)).path, 0) == b"name"
    assert cell(only(header(magic=GNU, prefix=b"dir")).path, 0) == b"dir/name"
    assert cell(only(header(magic=GNU, prefix=b"d\xefr")).path, 0) == b"name"


def test_a_star_header_has_a_shorter_prefix() -> None:
    star = {"star_mark": b"tar\0", "star_atime": 5}
    entries = only(header(star_prefix=b"p" * 131, **star))
    assert cell(entries.path, 0) == b"p" * 131 + b"/name"
    assert is_refused(header(star_prefix=b"p", **(star | {"star_atime": b"x"})))


@pytest.mark.parametrize(("kind", "name", "expected"), [
    (b"\0", b"f", b"0"), (b"\0", b"d/", b"5"), (b"0", b"d/", b"0"), (b"7", b"f", b"0"), (b"D", b"d", b"D"),
    (b"V", b"v", b"V"), (b"Z", b"z", b"Z"), (b"1", b"h", b"1"), (b"6", b"p", b"6"),
])  # fmt: skip
def test_kinds(kind: bytes, name: bytes, expected: bytes) -> None:
    assert fields(only(header(type=kind, name=name)), "kind") == [expected[0]]


@pytest.mark.parametrize("kind", b"123456")
def test_types_without_data_have_none_whatever_their_size(kind: int) -> None:
    entries = scan(header(type=bytes([kind]), size=3000) + header(name=b"next")).entries
    assert entries is not None and cells(entries.path) == [b"name", b"next"]
    assert (entries.size.tolist(), entries.stored.tolist()) == ([3000, 0], [0, 0])


@pytest.mark.parametrize("kind", b"07DMVZ")
def test_types_with_data(kind: int) -> None:
    assert scan(member(LARGE, type=bytes([kind]))).spans == [(0, 512), (3, 1024)]


@pytest.mark.parametrize(("raw", "expected"), [
    (b"", 0), (b"  17 \0", 15), (b"\0\x0017\0\0", 15), (b"0000017\0", 15), (b"1\x007", 1), (b"77777777", 0o77777777),
    (base256(-1, 8), -1), (base256(-(2**55), 8), -(2**55)), (base256(2**54, 8), 2**54), (b"\x80\0\0\0\0\0\0\5", 5),
])  # fmt: skip
def test_numbers(raw: bytes, expected: int) -> None:
    assert fields(only(header(uid=raw)), "uid") == [expected]


@pytest.mark.parametrize("raw", [b"8", b"1 7", b"-1", b"0x1", b"+7"])
def test_what_is_no_number_is_not_tar(raw: bytes) -> None:
    assert is_refused(header(uid=raw))


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, 2**94, -(2**64)])
def test_numbers_beyond_64_bits_are_not_tar(size: int) -> None:
    assert is_refused(header(mtime=base256(size, 12)))


def test_the_ends_of_the_range() -> None:
    assert fields(only(header(mtime=base256(-(2**63), 12))), "mtime") == [-(2**63)]
    assert fields(only(header(mtime=base256(2**63 - 1, 12))), "mtime") == [2**63 - 1]
    assert is_refused(header(size=base256(-1, 12)))


def test_checksums_signed_and_unsigned() -> None:
    for signed in (False, True):
        assert cell(only(header(signed=signed, name=b"\xff\x80\x7f" * 9)).path, 0) == b"\xff\x80\x7f" * 9
    for at in (0, 99, 200, 511):
        broken = bytearray(header())
        broken[at] ^= 4
        assert is_refused(bytes(broken))


# -------------------------------------------------------------------------------------------- extensions


def test_pax_records_override_the_header() -> None:
    raw = pax([(b"path", b"p/\xc3\xa9"), (b"linkpath", b"l" * 300), (b"size", b"1024"), (b"uid", b"-5"),
               (b"gid", b"9999999999"), (b"uname", b"u"), (b"gname", b"g"), (b"mtime", b"-1.25")])  # fmt: skip
    entries = only(raw + header(prefix=b"lost", uid=1, uname=b"lost") + LARGE + END)
    assert cell(entries.path, 0) == b"p/\xc3\xa9" and cell(entries.link, 0) == b"l" * 300
    assert fields(entries, "size", "stored", "uid", "gid") == [1024, 1024, -5, 9999999999]
    assert (cell(entries.uname, 0), cell(entries.gname, 0)) == (b"u", b"g")
    assert fields(entries, "mtime", "mtime_ns") == [-2, 750_000_000]


@pytest.mark.parametrize(("text", "seconds", "nanos"), [
    (b"1", 1, 0), (b"1.", 1, 0), (b"1.5", 1, 500_000_000), (b"1.0000000019", 1, 1), (b"-0.5", -1, 500_000_000),
    (b"-1.0", -1, 0), (b"+3.1", 3, 100_000_000), (b"-9223372036854775808.5", -(2**63), 500_000_000),
])  # fmt: skip
def test_pax_times(text: bytes, seconds: int, nanos: int) -> None:
    assert fields(only(pax([(b"mtime", text)]) + header()), "mtime", "mtime_ns") == [seconds, nanos]


@pytest.mark.parametrize("key", [b"mtime", b"atime", b"ctime", b"size", b"uid"])
@pytest.mark.parametrize("text", [b".5", b"x", b"1.x", b"9223372036854775808", b" 1", b"1 ", b"--1"])
def test_pax_values_that_do_not_parse_are_not_tar(key: bytes, text: bytes) -> None:
    extension = pax([(key, text)])
    assert is_refused(extension + header(), segment=len(extension))


def test_of_a_repeated_record_the_last_counts_even_if_it_is_empty() -> None:
    assert cell(only(pax([(b"path", b"one"), (b"path", b"two")]) + header()).path, 0) == b"two"
    assert cell(only(pax([(b"path", b"one"), (b"path", b"")]) + header()).path, 0) == b"name"


def test_extensions_serve_one_member() -> None:
    raw = pax([(b"path", b"one"), (b"SCHILY.xattr.a", b"v")]) + header() + header(name=b"two")
    entries = scan(raw).entries
    assert entries is not None and cells(entries.path) == [b"one", b"two"]
    assert [len(value) for value in cells(entries.xattrs)] == [10, 0]


def test_a_global_header_is_neither_listed_nor_applied() -> None:
    raw = pax([(b"path", b"every")], b"g") + header(name=b"own")
    entries = only(raw)
    assert cell(entries.path, 0) == b"own" and fields(entries, "header") == [1024]


@pytest.mark.parametrize("data", [
    b"x", b"6 a=\n", b"99 a=b\n", b"6 a=b\r", b"4 =\n", b"6 abc\n", b"0 a=\n", b"12 path=\0abc\n", b"7 \0a=b\n",
])  # fmt: skip
def test_bad_records_end_the_tar_where_they_end(data: bytes) -> None:
    for kind in (b"x", b"g"):
        assert is_refused(pax(data, kind) + header(), segment=BLOCK + len(data))


def test_gnu_long_names_beat_records_and_headers() -> None:
    long = member(b"n" * 300 + b"\0more", type=b"L", magic=GNU) + member(b"t" * 200, type=b"K", magic=GNU)
    raw = pax([(b"path", b"pax"), (b"linkpath", b"pax")]) + long + header(prefix=b"p", type=b"2", link=b"t")
    entries = only(raw)
    assert (cell(entries.path, 0), cell(entries.link, 0)) == (b"n" * 300, b"t" * 200)
    assert fields(entries, "header") == [0]


def test_extended_attributes() -> None:
    capability = bytes(range(20))
    raw = pax([(b"SCHILY.xattr.user.a", b"1"), (b"LIBARCHIVE.xattr.user.a", b"MQ"), (b"SCHILY.xattr.user.empty", b""),
               (b"SCHILY.xattr.security.capability", capability)])  # fmt: skip
    expected = b"".join(struct.pack("<I", len(text)) + text for text in
                        (b"user.a", b"1", b"user.empty", b"", b"security.capability", capability))  # fmt: skip
    assert cell(only(raw + header()).xattrs, 0) == expected


def test_libarchive_attributes_are_decoded() -> None:
    raw = pax([(b"LIBARCHIVE.xattr.user.a%20%3Db%zz%4", b"aGVsbG8"), (b"LIBARCHIVE.xattr.b", b"+/8=")])
    expected = b"".join(struct.pack("<I", len(text)) + text for text in
                        (b"user.a =b%zz%4", b"hello", b"b", b"\xfb\xff"))  # fmt: skip
    assert cell(only(raw + header()).xattrs, 0) == expected


# -------------------------------------------------------------------------------------------- sparse files

PIECES = [(0, 1), (512, 5), (600, 2)]


def versioned(minor: bytes, records: list[tuple[bytes, bytes]]) -> bytes:
    return pax([(b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", minor), (b"GNU.sparse.numblocks", b"3"),
                (b"GNU.sparse.size", b"1000"), (b"GNU.sparse.name", b"real"), *records])  # fmt: skip


def sparse_streams() -> dict[str, bytes]:
    """A sparse file of 1000 bytes, 8 of them stored, in each format."""
    numbers = [b"%d" % number for piece in PIECES for number in piece]
    alternating = [(key, number) for key, number in
                   zip([b"GNU.sparse.offset", b"GNU.sparse.numbytes"] * 3, numbers, strict=True)]  # fmt: skip
    stored = member(b"12345678", prefix=b"p", name=b"fake")
    map_1_0 = padded(b"3\n" + b"".join(number + b"\n" for number in numbers))
    first = pairs(PIECES)
    return {
        "gnu": header(type=b"S", magic=GNU, name=b"real", size=8, realsize=1000, extra={386: first})
        + padded(b"12345678"),
        "0.0": versioned(b"0", alternating) + stored,
        "0.1": versioned(b"1", [(b"GNU.sparse.map", b",".join(numbers))]) + stored,
        "1.0": pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"1000"),
                    (b"GNU.sparse.name", b"real")]) + member(map_1_0 + b"12345678", name=b"fake"),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(form: str) -> None:
    raw = sparse_streams()[form]
    entries = only(raw)
    assert fields(entries, "kind", "size", "stored") == [ord("0"), 1000, 8]
    assert cell(entries.path, 0) == b"real"
    assert cell(entries.sparse, 0) == sparse_bytes(PIECES)
    assert raw[int(entries.offset[0]) :][:8] == b"12345678"


def test_an_old_gnu_map_goes_on_in_more_blocks() -> None:
    pieces = [(1000 * i, 10) for i in range(4 + 21 + 3)]
    head = header(type=b"S", magic=GNU, size=280, realsize=50000, extra={386: pairs(pieces[:4]), 482: b"\1"})
    raw = head + pairs(pieces[4:25]) + b"\1" + bytes(7) + padded(pairs(pieces[25:])) + padded(b"d" * 280)
    entries = only(raw)
    assert cell(entries.sparse, 0) == sparse_bytes(pieces)
    assert fields(entries, "header", "offset", "stored", "size") == [0, 1536, 280, 50000]


def test_a_map_of_1_0_may_take_many_blocks() -> None:
    pieces = [(1000 * i, 10) for i in range(300)]
    text = padded(b"300\n" + b"".join(b"%d\n%d\n" % piece for piece in pieces))
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"300000")]
    spans, entries, _ = scan(pax(records) + member(text + b"d" * 3000))
    assert entries is not None and cell(entries.sparse, 0) == sparse_bytes(pieces)
    assert spans[:2] == [(0, 1536 + len(text)), (3, 3000)]


@pytest.mark.parametrize(("pieces", "real"), [
    ([(0, 5), (4, 1)], 100), ([(10, 1), (0, 1)], 100), ([(0, 101)], 100), ([(99, 2)], 100), ([(2**30, 1)], 100),
])  # fmt: skip
def test_maps_that_do_not_fit_are_not_tar(pieces: list[tuple[int, int]], real: int) -> None:
    assert is_refused(header(type=b"S", magic=GNU, realsize=real, extra={386: pairs(pieces)}) + bytes(BLOCK))


@pytest.mark.parametrize("text", [b"x\n", b"-1\n", b"1\n0\n", b"\n", b"1\n-5\n1\n", b"9999999\n", b"1\n1 \n1\n"])
def test_bad_maps_of_1_0_end_the_tar_at_their_block(text: bytes) -> None:
    head = pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")])
    data = padded(text) + b"\1" * 100
    spans, entries, _ = scan(head + member(data))
    assert entries is None and spans[-1][0] == 3
    assert spans[0] in [(0, len(head) + 512), (0, len(head) + 1024)]


def test_a_sparse_directory_and_a_sparse_ustar_are_not_tar() -> None:
    head = versioned(b"1", [(b"GNU.sparse.map", b"0,1,2,1,4,1")])
    assert is_refused(head + header(type=b"5"), segment=len(head))
    assert is_refused(header(type=b"S", realsize=10))


def test_an_unknown_sparse_version_is_a_plain_file() -> None:
    raw = pax([(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.size", b"9")]) + member(LARGE)
    assert fields(only(raw), "size", "stored") == [1024, 1024]


def test_endless_map_blocks_are_refused() -> None:
    head = header(type=b"S", magic=GNU, realsize=10, extra={482: b"\1"})
    block = bytes(504) + b"\1" + bytes(7)
    spans, entries, _ = scan(head + block * 3000)
    assert entries is None and spans == [(0, 512 * 2048), (3, 512 * 953)]


def test_a_map_of_1_0_has_the_limit_of_extensions() -> None:
    head = pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")])
    for count, listed in ((262_000, 1), (262_200, 0)):
        data = padded(b"%d\n" % count + b"0\n0\n" * count)
        assert scan(head + member(data)).scanner.entry_count == listed


def test_a_negative_size_is_not_tar_even_if_a_record_replaces_it() -> None:
    head = pax([(b"size", b"5")])
    assert is_refused(head + header(size=base256(-1, 12)), segment=len(head))


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"5", b"6"])
def test_a_negative_size_of_what_has_no_data_is_none(kind: bytes) -> None:
    assert fields(only(header(type=kind, size=base256(-5, 12))), "size", "stored") == [0, 0]
