"""What states and ends of items are called: by docker's words on a terminal, by our own in events."""

from __future__ import annotations

from collections.abc import Mapping

from lamina.cli.say import plain
from lamina.digest import ALGORITHMS

LABEL = 32  # characters of an item's label

Words = Mapping[str, str]

_COMMON = {"": "Preparing"}
# What the store and registries say of an item, and docker's word for it.  What is not listed is shown with a capital.
PULL: Words = {**_COMMON, "exists": "Already exists", "loaded": "Pull complete", "pulled": "Pull complete",
               "complete": "Pull complete", "done": "Pull complete"}
PUSH: Words = {**_COMMON, "exists": "Layer already exists", "uploading": "Pushing", "saved": "Pushed", "done": "Pushed"}
COPY: Words = {**_COMMON, "exists": "Already exists", "loaded": "Copied", "saved": "Copied", "pushed": "Copied",
               "done": "Copied"}


def worded(words: Words | None, status: str) -> str:
    """The status in docker's words; without any as it came (load, save, verify)."""
    if words is None:
        return plain(status)
    return plain(words.get(status) or status[:1].upper() + status[1:])


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


def noun(words: Words | None) -> str:
    """What so many of so many are: transfers tell of layers, load, save and verify of this and that."""
    return "done" if words is None else "layers"
