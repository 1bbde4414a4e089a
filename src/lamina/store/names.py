"""What the journals of all packs say of names (FORMAT.md, "Journal")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamina.store.schema import RefRow


def names_of(journals: Iterable[dict[str, Any]]) -> dict[str, RefRow]:
    """Names as the journals leave them: the highest checkpoint, then what comes after it, in order of their numbers."""
    every = list(journals)
    start = last_checkpoint(every)
    names: dict[str, RefRow] = {}
    for journal in sorted(every, key=lambda each: int(each["seq"])):
        if journal["seq"] < start or (journal["seq"] == start and not journal.get("checkpoint")):
            continue
        for name in journal["set"]:
            names[name["name"]] = RefRow(name["name"], name["digest"], name["media_type"], int(name["size"]),
                                         int(journal["seq"]), int(name["time"]))
        for removed in journal.get("remove", ()):
            names.pop(removed, None)
    return names


def last_checkpoint(journals: Iterable[dict[str, Any]]) -> int:
    """The number of the last checkpoint all parts of which are there; 0 if there is none."""
    parts: dict[int, set[int]] = {}
    wanted: dict[int, int] = {}
    for journal in journals:
        if journal.get("checkpoint"):
            parts.setdefault(int(journal["seq"]), set()).add(int(journal.get("part", 0)))
            wanted[int(journal["seq"])] = int(journal.get("parts", 1))
    return max((seq for seq, found in parts.items() if len(found) == wanted[seq]), default=0)
