"""Readers that check what passes through."""

from __future__ import annotations

import pytest
from contracts.samples import DrippingReader, EndlessReader, FailingReader, describe, put

from lamina.content.memory import MemoryTarget
from lamina.content.verify import BytesReader, VerifyingReader, read_all, read_blob, verifying
from lamina.digest import Digest
from lamina.errors import DigestMismatch, LimitExceeded, NotFound, SizeMismatch
from lamina.oci import Descriptor

DATA = bytes(range(256)) * 10


def test_passes_bytes_and_ends_verified() -> None:
    reader = VerifyingReader(DrippingReader(DATA), describe(DATA))
    buffer = memoryview(bytearray(4096))
    seen = bytearray()
    while count := reader.readinto(buffer):
        assert not reader.verified
        seen += buffer[:count]
    assert reader.verified
    assert seen == DATA
    assert reader.readinto(buffer) == 0


def test_the_end_is_not_told_before_the_digest_is_right() -> None:
    reader = VerifyingReader(DrippingReader(DATA[::-1]), describe(DATA))
    buffer = memoryview(bytearray(4096))
    for _ in range(3):
        assert reader.readinto(buffer) > 0
    for _ in range(2):
        with pytest.raises(DigestMismatch):
            reader.readinto(buffer)
    assert not reader.verified


def test_too_many_bytes_are_told_at_once() -> None:
    reader = VerifyingReader(DrippingReader(DATA, 1), describe(DATA[:2]))
    buffer = memoryview(bytearray(10))
    assert [reader.readinto(buffer) for _ in range(2)] == [1, 1]
    with pytest.raises(SizeMismatch, match="more than 2"):
        reader.readinto(buffer)


def test_too_few_bytes() -> None:
    with pytest.raises(SizeMismatch, match="ends after 100 of 2560"):
        read_all(VerifyingReader(DrippingReader(DATA[:100]), describe(DATA)), 10_000)


def test_a_size_that_is_announced_wrong_is_not_read() -> None:
    inner = BytesReader(DATA)
    with pytest.raises(SizeMismatch, match="2560 bytes instead of 2559"):
        VerifyingReader(inner, describe(DATA[:-1])).readinto(memoryview(bytearray(10)))
    assert read_all(inner, 10_000) == DATA


def test_what_verifies_already_is_not_hashed_again() -> None:
    inner = VerifyingReader(BytesReader(DATA), describe(DATA))
    assert verifying(inner, describe(DATA)) is inner
    other = Descriptor("x", Digest.of(DATA, "sha512"), len(DATA))
    for wanted in (describe(DATA[:-1]), describe(DATA[::-1]), other, Descriptor("x", inner.verifies.digest, 1)):
        assert verifying(inner, wanted) is not inner
    with pytest.raises(DigestMismatch):
        read_all(verifying(BytesReader(DATA[::-1]), describe(DATA)), 10_000)


def test_errors_of_the_reader_pass_and_stay() -> None:
    reader = VerifyingReader(FailingReader(DATA), describe(DATA))
    for _ in range(2):
        with pytest.raises(OSError, match="cable"):
            read_all(reader, 10_000)


def test_an_empty_buffer_is_misuse() -> None:
    with pytest.raises(ValueError, match="empty buffer"):
        VerifyingReader(BytesReader(DATA), describe(DATA)).readinto(memoryview(b""))


def test_empty_content() -> None:
    assert read_all(VerifyingReader(BytesReader(b""), describe(b"")), 0) == b""


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_every_algorithm(algorithm: str) -> None:
    assert read_all(VerifyingReader(BytesReader(DATA), describe(DATA, algorithm=algorithm)), 10_000) == DATA


@pytest.mark.parametrize("reader", [BytesReader, DrippingReader])
def test_read_all_keeps_its_limit(reader: type[BytesReader]) -> None:
    assert read_all(reader(DATA), len(DATA)) == DATA
    with pytest.raises(LimitExceeded):
        read_all(reader(DATA), len(DATA) - 1)


def test_read_all_of_a_stream_without_end() -> None:
    reader = EndlessReader()
    with pytest.raises(LimitExceeded):
        read_all(reader, 1000)
    assert reader.given <= 2002


def test_read_blob() -> None:
    source = MemoryTarget()
    blob = put(source, DATA)
    assert read_blob(source, blob) == DATA
    with pytest.raises(LimitExceeded):
        read_blob(source, blob, len(DATA) - 1)
    with pytest.raises(SizeMismatch):
        read_blob(source, Descriptor(blob.media_type, blob.digest, blob.size - 1))
    with pytest.raises(NotFound):
        read_blob(source, describe(b"other"))


def test_read_blob_takes_embedded_data() -> None:
    assert read_blob(MemoryTarget(), Descriptor("text/plain", Digest.of(b"{}"), 2, data=b"{}")) == b"{}"


def test_read_blob_does_not_fetch_what_is_too_large() -> None:
    with pytest.raises(LimitExceeded):
        read_blob(MemoryTarget(), describe(DATA), len(DATA) - 1)


def test_what_has_failed_goes_on_failing() -> None:
    class Flaky(BytesReader):
        failed = False

        def readinto(self, buffer: memoryview, /) -> int:
            if not self.failed:
                self.failed = True
                raise OSError("once")
            return super().readinto(buffer)

    reader = VerifyingReader(Flaky(DATA), describe(DATA))
    for _ in range(2):
        with pytest.raises(OSError, match="once"):
            reader.readinto(memoryview(bytearray(10)))
