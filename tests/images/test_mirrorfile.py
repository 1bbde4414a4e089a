"""The file of `mirror`: what it may say, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import InvalidContent, LimitExceeded, NotFound, StorageError
from lamina.images import mirrorfile
from lamina.images.mirrorfile import Entry, parse_mirror, read_mirror
from lamina.oci import Platform
from lamina.reference import Reference

APP = Reference("r.test", "app")


def one(text: str) -> Entry:
    return parse_mirror(text, "m.yaml")[0]


def test_a_name_is_enough() -> None:
    assert one("- from: r.test/app") == Entry("m.yaml:1", APP, APP)
    assert one("- from: app").destination.name == "docker.io/library/app"


def test_all_that_can_be_said() -> None:
    assert one("""
- from: r.test/app
  to: s.test/mirror/app
  tags: ["3.*", 3.10, v1]
  exclude: "*-rc*"
  platforms: [linux/amd64, linux/aarch64]
  referrers: true
  prune: yes
""") == Entry("m.yaml:2", APP, Reference("s.test", "mirror/app"), False, ("3.*", "3.10", "v1"), ("*-rc*",),
              (Platform("linux", "amd64"), Platform("linux", "arm64")), True, True)


@pytest.mark.parametrize(("to", "place"), [("store", "store:r.test/app"), ("store:other", "store:other"), ("other", "other")])
def test_destinations(to: str, place: str) -> None:
    entry = one(f"- from: r.test/app\n  to: {to}")
    assert (entry.place, entry.to_store) == (place, to.startswith("store"))


@pytest.mark.parametrize(("tag", "wanted"), [("3.1", True), ("3.1-rc1", False), ("3", False), ("edge", True), ("EDGE", False)])
def test_patterns(tag: str, wanted: bool) -> None:
    assert one('- {from: a, tags: ["3.*", edge], exclude: ["*-rc*"]}').wants(tag) is wanted


@pytest.mark.parametrize(("text", "where", "what"), [
    ("", "m.yaml", "no list of repositories"),
    ("a: b", "m.yaml", "no list"),
    ("[]", "m.yaml", "no list"),
    ("text", "m.yaml", "no list"),
    ("- from: [", "m.yaml:1", "no YAML"),
    ("- from: a\n\t- b", "m.yaml:2", "no YAML"),
    ("- &a\n  from: *b", "m.yaml:2", "no YAML"),
    ("- from: a\n- b", "m.yaml:2", "entry 2 is no mapping"),
    ("- to: store", "m.yaml:1", "entry 1 has no 'from'"),
    ("- from: a\n  form: b", "m.yaml:2", "entry 1 has the unknown key 'form'"),
    ("- from: a\n  [x]: b", "m.yaml:2", "entry 1 has the unknown key"),
    ("- from: a\n  from: b", "m.yaml:2", "entry 1 has 'from' twice"),
    ("- from: a:1", "m.yaml:1", "has a tag or digest in 'from'"),
    ("- from: a\n  to: b:1", "m.yaml:2", "has a tag or digest in 'to'"),
    ("- from: No/Good", "m.yaml:1", "no name of a repository"),
    ("- from: a\n  to: 'store:'", "m.yaml:2", "no name of a repository"),
    ("- from: ~", "m.yaml:1", "no text for 'from'"),
    ("- from: {a: b}", "m.yaml:1", "no text for 'from'"),
    ("- from: a\n  to:", "m.yaml:2", "no text for 'to'"),
    ("- from: r.test/a\n  to: r.test/a", "m.yaml:2", "goes to where it comes from"),
    ("- from: a\n  tags: []", "m.yaml:2", "0 values for 'tags'"),
    ("- from: a\n  tags: [[b]]", "m.yaml:2", "no text for 'tags'"),
    ("- from: a\n  tags: {b: c}", "m.yaml:2", "no text for 'tags'"),
    ("- from: a\n  exclude: ['']", "m.yaml:2", "no text for 'exclude'"),
    ("- from: a\n  platforms: [a/b/c/d]", "m.yaml:2", "invalid platform"),
    ("- from: a\n  prune: maybe", "m.yaml:2", "neither true nor false for 'prune'"),
    ("- from: a\n  prune: 1", "m.yaml:2", "neither true nor false"),
    ("- from: a\n  referrers: [true]", "m.yaml:2", "neither"),
    ("- from: a\n- from: b\n- from: a\n  prune: true", "m.yaml:3", "store:a is the destination of two entries"),
])
def test_what_is_wrong_is_said_with_its_line(text: str, where: str, what: str) -> None:
    with pytest.raises(InvalidContent) as caught:
        parse_mirror(text, "m.yaml")
    assert caught.value.where == where
    assert what in caught.value.what
    assert "\n" not in str(caught.value)


def test_anchors_are_for_repeating() -> None:
    first, second = parse_mirror("- from: a\n  tags: &t ['1.*']\n- from: b\n  tags: *t", "m.yaml")
    assert first.tags == second.tags == ("1.*",)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("MAX_FILE", "- from: abcdefgh"), ("MAX_ENTRIES", "- from: a\n" * 9)):
        monkeypatch.setattr(mirrorfile, name, 8)
        with pytest.raises(LimitExceeded):
            parse_mirror(text, "m.yaml")
        monkeypatch.undo()
    for deep in ("[" * 500_000, "- from: a\n  tags: " + "[" * 17 + "]" * 17, "- " * 5_000):
        with pytest.raises(LimitExceeded, match="deep"):
            parse_mirror(deep, "m.yaml")
    monkeypatch.setattr(mirrorfile, "MAX_PATTERNS", 2)
    with pytest.raises(InvalidContent, match="3 values"):
        parse_mirror("- from: a\n  tags: [a, b, c]", "m.yaml")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("- from: r.test/app")
    assert read_mirror(path)[0].source == APP
    with pytest.raises(NotFound):
        read_mirror(tmp_path / "none")
    with pytest.raises(StorageError):
        read_mirror(tmp_path)
    path.write_bytes(b"- from: \xff")
    with pytest.raises(InvalidContent, match="UTF-8"):
        read_mirror(path)
