"""The page as a parser sees it: well formed, with every picture, and nothing hostile that a browser would obey."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.results import HOSTILE, digest, made_up
from lamina.bench.report import page

SPACE = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
CHARTS = {f"chart-{name}" for name in ("stages-in", "stages-out", "times-in", "times-out", "scatter", "layers", "dedup")}


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_every_picture_is_there_with_its_table() -> None:
    root = parsed(page(made_up()))
    charts = {svg.get("id"): svg for svg in root.iter(f"{SVG}svg")}
    assert set(charts) == CHARTS
    for name, svg in charts.items():
        assert svg.get("role") == "img" and svg.get("aria-label"), name
        assert float(svg.get("height", 0)) > 50, name
        assert list(svg.iter(f"{SVG}title")), f"{name} has no tooltip"
    assert len(list(root.iter(f"{SPACE}table"))) == len(CHARTS)
    numbers = [float(rect.get("width", "").rstrip("%")) for rect in root.iter(f"{SVG}rect")]
    assert numbers and all(0 <= number <= 100 for number in numbers)


def test_nothing_hostile_gets_through() -> None:
    text = page(made_up())
    root = parsed(text)
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "<script" not in text
    assert "<script>alert(1)</script>" in "".join(root.itertext())  # shown, as text


def test_nothing_comes_from_elsewhere() -> None:
    text = page(made_up(name="plain"))
    assert not re.search(r"(src|href|action)\s*=|@import|url\(", text)
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}


def test_long_lists_are_cut_and_it_is_said() -> None:
    text = page(made_up(layers=60, images=50, name="plain"))
    root = parsed(text)
    layers = next(svg for svg in root.iter(f"{SVG}svg") if svg.get("id") == "chart-layers")
    assert sum(text.get("class") == "name code" for text in layers.iter(f"{SVG}text")) == 40
    assert "The 40 largest of 60." in text and "The first 30 of 50 images." in text
    assert digest(59) in text and "sha256:" + "0" * 64 not in "".join(layers.itertext())


def test_what_is_missing_is_left_out() -> None:
    result = made_up(out=False, runs=1)
    result.dedup, result.layers = None, []
    charts = {svg.get("id") for svg in parsed(page(result)).iter(f"{SVG}svg")}
    assert charts == CHARTS - {"chart-stages-out", "chart-dedup", "chart-layers"}


@pytest.mark.parametrize("name", [HOSTILE, "x" * 10_000, "\ud800"])
def test_it_can_be_written(name: str) -> None:
    text = page(made_up(name=name))
    assert len(text.encode()) < 200_000
