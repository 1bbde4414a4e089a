"""Journals of names as packs hold them, and what no journal is."""

from __future__ import annotations

import json

import pytest

from lamina.digest import Digest
from lamina.errors import StoreDamaged
from lamina.store.names import last_checkpoint, names_of, parse_journal

DIGEST = Digest.of(b"")
NAME = {"name": "docker.io/library/a:1", "digest": DIGEST, "media_type": "a/b", "size": 1, "time": 2}
GOOD = {"seq": 3, "set": [NAME], "remove": ["docker.io/library/b:1"]}


def test_a_journal() -> None:
    journal = parse_journal(json.dumps(GOOD).encode(), "here")
    assert names_of([journal])[NAME["name"]] == (NAME["name"], DIGEST, "a/b", 1, 3, 2, False)
    part = parse_journal(json.dumps({"seq": 5, "checkpoint": True, "part": 0, "parts": 1, "set": []}).encode(), "here")
    assert last_checkpoint([journal, part]) == 5 and names_of([journal, part]) == {}


@pytest.mark.parametrize("change", [
    {"seq": None}, {"seq": "3"}, {"seq": -1}, {"seq": 1 << 63}, {"seq": float("inf")}, {"set": None}, {"set": [5]},
    {"set": [NAME | {"digest": "sha256:zz"}]}, {"set": [NAME | {"name": []}]}, {"set": [NAME | {"name": "\ud800"}]},
    {"set": [{}]}, {"set": [NAME | {"size": 1e300}]}, {"set": [NAME | {"time": None}]}, {"set": [NAME | {"media_type": 5}]},
    {"remove": [[]]}, {"remove": 5}, {"part": "x"}, {"parts": []},
])
def test_what_is_none(change: dict[str, object]) -> None:
    with pytest.raises(StoreDamaged):
        parse_journal(json.dumps(GOOD | change).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"[]", b"5", b"null", b"\xff", b"[" * 100_000])
def test_bytes_that_are_none(data: bytes) -> None:
    with pytest.raises(StoreDamaged):
        parse_journal(data, "here")
