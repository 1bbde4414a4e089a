"""What states and ends of items are called: by docker's words on a terminal, by our own in events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lamina.cli.say import plain
from lamina.digest import ALGORITHMS

LABEL = 32  # characters of an item's label
WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Words:
    """How a transfer speaks: `said` has docker's words for what the store and registries say, what is not there is shown
    with a capital; `moving` is the state of an item whose bytes move and of which nothing else was said.
    """

    moving: str
    said: Mapping[str, str]


PULL = Words("downloading", {"": "Preparing", "exists": "Already exists", "loaded": "Pull complete", "pulled": "Pull complete",
                             "copied": "Pull complete", "done": "Pull complete"})
PUSH = Words("uploading", {"": "Preparing", "uploading": "Pushing", "exists": "Layer already exists", "copied": "Pushed",
                           "done": "Pushed"})
COPY = Words("copying", {"": "Preparing", "exists": "Already exists", "loaded": "Copied", "saved": "Copied", "pushed": "Copied",
                         "done": "Copied"})


def moving(words: Words | None) -> str:
    """The state of an item whose bytes move: load, save and verify need no word for it."""
    return "" if words is None else words.moving


def worded(words: Words | None, status: str) -> str:
    """The status in docker's words; without any as it came (load, save, verify)."""
    if words is None:
        return plain(status)
    return plain(words.said.get(status) or status[:1].upper() + status[1:])


def noun(words: Words | None) -> str:
    """What so many of so many are: transfers tell of layers, load, save and verify of this and that."""
    return "done" if words is None else "layers"


def title(key: str, label: str = "", longest: int = LABEL) -> str:
    """What an item is called: a blob by the first twelve digits of its digest, another by its label, cut in the middle."""
    algorithm, colon, digits = key.partition(":")
    if colon and algorithm in ALGORITHMS:
        return digits[:12]
    text = plain(label or key)
    if len(text) <= longest:
        return text
    half = longest // 2
    return text[:half - 1] + "…" + text[half - longest:]
