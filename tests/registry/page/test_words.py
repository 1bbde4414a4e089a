"""Texts and numbers on the page."""

from __future__ import annotations

import html

import pytest

from lamina.registry.server.page import words

from .fakes import HOSTILE, NOW


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_plain_and_short(text: str) -> None:
    shown = words.safe(text)
    assert not set("<>\"'") & set(shown)
    assert html.unescape(shown).isprintable()
    assert len(html.unescape(shown)) <= 10 * words.LONGEST + 1  # one character is ten at most, as an escape
    assert shown.encode()  # lone surrogates could not go out


def test_what_cannot_be_seen_is_told() -> None:
    assert words.safe("a\x1b\u202e\x85\n\ud800b") == r"a\x1b\u202e\x85\n\ud800b"
    assert words.safe("Zürich — 東京 🎉 &") == "Zürich — 東京 🎉 &amp;"
    assert words.safe("a" * 1000, 10) == "a" * 10 + "…"
    assert words.isolated("<") == "<bdi>&lt;</bdi>"


def test_paths_need_not_be_text() -> None:
    assert words.from_bytes(b"a/\xffb") == r"a/\xffb"
    assert words.from_bytes("ü".encode()) == "ü"
    assert words.from_bytes(b"x" * 900_000, 10) == "x" * 40 + "…"


@pytest.mark.parametrize(("count", "shown"), [
    (0, "0B"), (999, "999B"), (1000, "1kB"), (1_050_000_000, "1.05GB"), (999_600, "1MB"), (182_000_000, "182MB"),
    (1 << 62, "4.61EB"), (10**24, "1e+06EB")])
def test_sizes(count: int, shown: str) -> None:
    assert words.size(count) == shown


def test_numbers() -> None:
    assert words.plural(1, "repository") == "1 repository" and words.plural(12_000, "repository") == "12,000 repositories"
    assert words.ratio(10, 4) == "2.5×" and words.ratio(1, 0) == "–" and words.ratio(0, 1) == "–"
    assert words.percent(0.5) == "50%" and words.percent(0.012) == "1.2%" and words.percent(0) == "0%"


@pytest.mark.parametrize(("past", "shown"), [
    (0, "just now"), (-500, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (86400 * 9, "1 week ago"),
    (86400 * 800, "2 years ago")])
def test_the_past(past: float, shown: str) -> None:
    told = words.ago(NOW - past, NOW)
    assert f">{shown}<" in told and 'title="20' in told and 'datetime="20' in told


@pytest.mark.parametrize("nonsense", [0, -1, 1e300, float("inf"), float("nan")])
def test_no_moment(nonsense: float) -> None:
    assert words.moment(nonsense) == "" and "unknown" in words.ago(nonsense)


def test_addresses_hold_anything() -> None:
    assert words.item_url("a/b", "latest") == "/r/a/b:latest"
    assert words.item_url("a/b", "sha256:ab") == "/r/a/b@sha256:ab"
    assert words.item_url("a\"<b?#%2e", "x&y") == "/r/a%22%3Cb%3F%23%252e:x%26y"
    assert words.files_url("a", "sha256:1", "sha256:2", b"\xff&/ ", 7) == (
        "/files/a@sha256:1?layer=sha256%3A2&amp;prefix=%FF%26%2F+&amp;start=7")
    assert words.repository_url("\ud800") == "/r/%3F"
