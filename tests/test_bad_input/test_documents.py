"""manifest.json, configs, manifests and indexes that are huge, deep, of the wrong types, or say a thing twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive.builders import ONE, Layout, Member, docker_20, oci, tar, write_directory

from lamina.digest import Digest
from lamina.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from test_bad_input.kit import NEW, Home, Pipe, Said, assert_refused, command, edited, loading, replaced

Way = Callable[[bytes], Callable[[Home], Said]]

DEEP = b"[" * 100_000
HUGE = b'{"a":"' + b"a" * (5 << 20) + b'"}'
MANY = b"[" + b"0," * 300_000 + b"0]"

# Each is put for any document.
STRANGE: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" " * 99,
    "text": b'"text"',
    "bytes": b"\xff\xfe\x00" * 9,
    "deep": DEEP,
    "huge": HUGE,
    "many": b'{"a":' + MANY + b"}",
    "long number": b'{"a":' + b"9" * 100_000 + b"}",
    "twice": b'{"a":1,"a":2}',
    "surrogate": b'{"a":"\\ud800"}',
    "nan": b'{"a":NaN}',
    "trailing": b'{} {}',
}
REFUSED = "is not|is too large|too deep|too many|is refused|cannot|Invalid|twice"


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_manifest_json(home: Home, strange: str) -> None:
    assert_refused(home, loading(tar(replaced(docker_20(NEW), "manifest.json", STRANGE[strange]))), REFUSED)


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_config(home: Home, strange: str) -> None:
    members = [*docker_20(NEW), Member("config", STRANGE[strange])]
    assert_refused(home, loading(edited(members, Config="config", Layers=[])), REFUSED + "|no regular file")


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_manifest(home: Home, strange: str) -> None:
    layout = Layout()
    root = layout.put(STRANGE[strange], OCI_MANIFEST)
    assert_refused(home, loading(tar(layout.members([root]))), REFUSED + "|missing|no OCI|no image|schema|config")


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_config_of_a_manifest(home: Home, strange: str) -> None:
    layout = Layout()
    config = layout.put(STRANGE[strange], OCI_CONFIG)
    document = {"schemaVersion": 2, "config": config.to_json(), "layers": []}
    root = layout.put(json.dumps(document).encode(), OCI_MANIFEST)
    assert_refused(home, loading(tar(layout.members([root]))), REFUSED + "|missing")


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_index(home: Home, tmp_path: Path, strange: str) -> None:
    # As index.json, from a directory; and as an index that this one names, from a stream.
    layout = write_directory(tmp_path / "layout", replaced(oci(NEW), "index.json", STRANGE[strange]))
    assert_refused(home, loading(layout), REFUSED + "|names no image")
    nested = Layout()
    root = nested.put(STRANGE[strange], OCI_INDEX)
    assert_refused(home, loading(tar(nested.members([root]))), REFUSED + "|missing|names no image|no manifest")


def test_by_the_command(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "deep.tar"
    path.write_bytes(tar(replaced(docker_20(NEW), "manifest.json", DEEP)))
    assert_refused(home, command("load", "-q", "-i", path), f"manifest.json is nested too deep, {path}, at most")


# -- wrong types, field by field

_LEAF: tuple[Any, ...] = (None, True, -1, 1.5, "x", [], {}, [1], {"x": 1}, "\0", "../x", "/etc/passwd")


def wrong(document: Any) -> list[Any]:
    """The document, with each of its values in turn replaced by one of another type."""
    found: list[Any] = []
    leaves = itertools.cycle(_LEAF)
    fields = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in fields:
        for leaf in itertools.islice(leaves, 3):  # others for the next field: all of them would take half a minute
            if type(leaf) is not type(value):
                found.append(_with(document, key, leaf))
        if isinstance(value, (dict, list)):
            found += [_with(document, key, inner) for inner in wrong(value)]
    return found


def _with(document: Any, key: Any, value: Any) -> Any:
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = value
    return copy


def outcomes(home: Home, archives: list[bytes]) -> tuple[int, set[str]]:
    """Load them all: each is taken or is refused in one line, without what `assert_refused` asks each time."""
    taken, said = 0, set()
    for data in archives:
        result = loading(data)(home)
        if result.code == 0:
            taken += 1
        else:
            (line,) = result.lines
            assert line.isprintable()
            said.add(line)
        assert home.leftovers() == []
    assert home.settle().problems == ()
    return taken, said


def test_wrong_types_in_manifest_json(home: Home) -> None:
    document = json.loads(next(one.data for one in docker_20(ONE) if one.name == "manifest.json"))
    changed = [json.dumps(one).encode() for one in wrong(document)]
    taken, said = outcomes(home, [tar(replaced(docker_20(ONE), "manifest.json", data)) for data in changed])
    assert len(said) > 5
    assert taken < len(changed) / 3  # null and [] for RepoTags mean no names


def test_wrong_types_in_a_config(home: Home) -> None:
    document = json.loads(NEW.config) | {
        "config": {"Env": ["A=1"], "Cmd": ["sh"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "User": "0"},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}],
    }
    changed = [json.dumps(one).encode() for one in wrong(document)]
    archives = []
    for data in changed:
        members = [Member("config", data), *docker_20(NEW)]
        archives.append(edited(members, Config="config"))
    _, said = outcomes(home, archives)
    assert len(said) > 20
    with home.open() as store:  # what was taken can be shown
        for row in store.images(all=True):
            store.inspect([row.image_id])
            store.history(row.image_id)
        store.tree()


def test_wrong_types_in_a_manifest_and_an_index(home: Home) -> None:
    layout = Layout()
    root = layout.image(ONE)
    document = json.loads(layout.blobs[root.digest])
    archives = []
    for one in wrong(document):
        other = Layout(dict(layout.blobs))
        archives.append(tar(other.members([other.put(json.dumps(one).encode(), OCI_MANIFEST)])))
    members = layout.members([root])
    index = json.loads(next(one.data for one in members if one.name == "index.json"))
    archives += [tar(replaced(members, "index.json", json.dumps(one).encode())) for one in wrong(index)]
    _, said = outcomes(home, archives)
    assert len(said) > 20


# -- too many of a thing


def test_100_000_images_that_name_nothing(home: Home) -> None:
    items = json.dumps([{"Config": "none.json", "RepoTags": None, "Layers": []}] * 100_000).encode()
    assert_refused(home, loading(tar(replaced(docker_20(NEW), "manifest.json", items))), "too large|elements|too many")
    items = b"[" + b",".join([b"{}"] * 100_000) + b"]"
    assert_refused(home, loading(tar(replaced(docker_20(NEW), "manifest.json", items))), "100000 elements|missing")


def test_100_000_manifests_that_are_not_there(home: Home) -> None:
    layout = Layout()
    entries = [{"mediaType": OCI_MANIFEST, "digest": Digest.of(str(number).encode()), "size": 2} for number in range(100_000)]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    root = layout.put(index, OCI_INDEX)
    assert_refused(home, loading(tar(layout.members([root]))), "large")
    few = json.dumps({"schemaVersion": 2, "manifests": entries[:20_000]}).encode()
    assert_refused(home, loading(tar(layout.members([layout.put(few, OCI_INDEX)]))), "elements|missing")


def test_an_index_in_a_loop_of_sizes(home: Home) -> None:
    """An index cannot name itself by digest, but can name one blob in many ways."""
    layout = Layout()
    root = layout.image(NEW)
    for _ in range(70):
        root = layout.index([root])
    assert_refused(home, loading(tar(layout.members([root]))), "deep|nested")


# -- names


@pytest.mark.parametrize("tag", ["", "UPPER:1", "a b:1", "x:" + "t" * 200, "a/../b:1", "x@sha256:1", ":", "\u202e:1", "a\nb:1"])
def test_a_tag_that_is_no_name(home: Home, tag: str) -> None:
    """The image is kept without it, and that is said aloud."""
    result = home.load(Pipe(edited(docker_20(NEW), RepoTags=[tag])))
    assert [(one.reference, one.image_id) for one in result.loaded] == [("", NEW.id)]
    (warning,) = result.warnings
    assert "is no image name" in warning
    assert warning.isprintable()
    assert len(warning) < 500
    assert home.settle().problems == ()
