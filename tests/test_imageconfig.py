"""Image configs: lenient on gaps, strict on types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lamina.digest import Digest
from lamina.errors import InvalidContent, LimitExceeded
from lamina.imageconfig import MAX_LAYERS, History, chain_ids, parse_config
from lamina.platforms import Platform

ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))


def parse(**fields: Any) -> Any:
    return parse_config(json.dumps(fields).encode(), "here")


def test_reads_a_config() -> None:
    document = {
        "created": "2026-01-02T03:04:05.678Z", "architecture": "arm64", "os": "linux", "variant": "v8",
        "os.version": "1", "author": "somebody",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": "run", "Labels": {"k": "v"}, "Volumes": {"/v": {}}},
        "rootfs": {"type": "layers", "diff_ids": [ONE, TWO]},
        "history": [{"created": "c", "created_by": "by", "author": "a", "comment": "co"}, {"empty_layer": True}],
    }
    found = parse(**document)
    assert (found.created, found.diff_ids) == ("2026-01-02T03:04:05.678Z", (ONE, TWO))
    assert found.platform == Platform("linux", "arm64", "v8", "1")
    assert found.history == (History("c", "by", "a", "co"), History(empty_layer=True))
    assert found.labels == {"k": "v"}
    assert found.config == document["config"]
    assert found.raw == document


@pytest.mark.parametrize("document", [{}, dict.fromkeys(
    ("created", "architecture", "os", "variant", "config", "rootfs", "history")),
    {"rootfs": {"type": "layers", "diff_ids": None}, "config": {"Env": None, "Labels": None, "Cmd": None}}])
def test_gaps_are_empty(document: dict[str, Any]) -> None:
    found = parse(**document)
    assert (found.created, found.architecture, found.os, found.variant) == ("", "", "", "")
    assert (found.diff_ids, found.history, found.labels) == ((), (), {})


@pytest.mark.parametrize(("document", "field"), [
    ({"created": 1}, "created"), ({"os": []}, "os"), ({"architecture": {}}, "architecture"),
    ({"rootfs": []}, "rootfs"), ({"rootfs": {"type": "tree"}}, "rootfs.type"),
    ({"rootfs": {"diff_ids": {}}}, "rootfs.diff_ids"), ({"rootfs": {"diff_ids": [1]}}, r"rootfs.diff_ids\[0\]"),
    ({"rootfs": {"diff_ids": [ONE, "sha256:x"]}}, r"rootfs.diff_ids\[1\] is not a sha256 digest"),
    ({"rootfs": {"diff_ids": ["../../x"]}}, r"rootfs.diff_ids\[0\] is not a digest"),
    ({"history": {}}, "history"), ({"history": [1]}, r"history\[0\]"),
    ({"history": [{"empty_layer": "yes"}]}, r"history\[0\].empty_layer"),
    ({"history": [{}, {"created_by": 1}]}, r"history\[1\].created_by"),
    ({"config": []}, "config"), ({"config": {"Env": "A=b"}}, "config.Env"), ({"config": {"Env": [1]}}, "config.Env"),
    ({"config": {"Cmd": {}}}, "config.Cmd"), ({"config": {"Entrypoint": [[]]}}, "config.Entrypoint"),
    ({"config": {"Labels": {"a": 1}}}, "config.Labels"), ({"config": {"Labels": []}}, "config.Labels"),
    ({"config": {"User": 0}}, "config.User"), ({"config": {"ExposedPorts": ["80"]}}, "config.ExposedPorts"),
])
def test_wrong_types_name_the_field(document: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidContent, match=f"image config: {field}") as caught:
        parse(**document)
    assert caught.value.where == "here"


def test_number_of_layers() -> None:
    assert len(parse(rootfs={"diff_ids": [ONE] * MAX_LAYERS}).diff_ids) == MAX_LAYERS
    with pytest.raises(LimitExceeded):
        parse(rootfs={"diff_ids": [ONE] * (MAX_LAYERS + 1)})


def test_chain_ids() -> None:
    """ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln))."""
    two = Digest.of(f"{ONE} {TWO}".encode())
    assert chain_ids(()) == ()
    assert chain_ids([ONE]) == (ONE,)
    assert chain_ids([ONE, TWO, THREE]) == (ONE, two, Digest.of(f"{two} {THREE}".encode()))
