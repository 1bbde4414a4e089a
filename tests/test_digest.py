"""Digests: `algorithm:hex`."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from lamina.digest import ALGORITHMS, Digest
from lamina.errors import InvalidDigest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_parts_of_a_digest() -> None:
    digest = Digest(EMPTY)
    assert (digest.algorithm, digest.hex, digest.raw) == ("sha256", EMPTY[7:], bytes.fromhex(EMPTY[7:]))
    assert digest == EMPTY
    assert {digest: 1}[EMPTY] == 1
    assert Digest(digest) is digest
    assert pickle.loads(pickle.dumps(digest)) == digest


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_of_bytes(algorithm: str) -> None:
    digest = Digest.of(b"abc", algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, b'abc').hexdigest()}"
    hasher = digest.hasher()
    hasher.update(b"ab")
    hasher.update(memoryview(b"c"))
    assert Digest.done(algorithm, hasher) == digest


def test_known_digest() -> None:
    assert Digest.of(b"") == Digest.of(bytearray()) == EMPTY


@pytest.mark.parametrize("text", [
    "", "sha256", "sha256:", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), "sha256:" + EMPTY[7:].upper(),
    "sha256:" + "g" * 64, "SHA256:" + EMPTY[7:], " " + EMPTY, EMPTY + "\n", "sha512:" + EMPTY[7:], "md5:" + "0" * 32,
    "sha256:" + "0" * 100_000, "sha256:../../../../etc/passwd", "sha256:" + "١" * 64, EMPTY[7:],
])
def test_no_digest(text: str) -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [None, 1, b"sha256:", ["sha256"]])
def test_other_types(value: object) -> None:
    with pytest.raises(InvalidDigest):
        Digest(value)  # type: ignore[arg-type]


def test_unknown_algorithm_is_named() -> None:
    with pytest.raises(InvalidDigest, match=r"unknown digest algorithm 'blake3'.*known are sha256"):
        Digest("blake3:" + "0" * 64)
