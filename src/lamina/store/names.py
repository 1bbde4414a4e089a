"""What the journals of all packs say of names (FORMAT.md, "Journal")."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lamina.digest import Digest
from lamina.errors import InvalidDigest, StoreDamaged
from lamina.jsonlimits import natural, utf8
from lamina.store.schema import RefRow


def parse_journal(data: bytes, where: str) -> dict[str, Any]:
    """A journal record, all of its fields looked at; `StoreDamaged`."""
    try:
        journal: dict[str, Any] = json.loads(data)
        natural(journal["seq"])
        for field in ("part", "parts"):
            natural(journal.get(field, 0))
        for name in journal["set"]:
            utf8(name["name"]), Digest(name["digest"]), utf8(name["media_type"]), natural(name["size"]), natural(name["time"])
        for removed in [*journal.get("remove", ()), *journal.get("pin", {}).keys()]:
            utf8(removed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidDigest) as error:
        raise StoreDamaged("a journal of names cannot be read", where, "run lamina verify") from error
    return journal


def names_of(journals: Iterable[dict[str, Any]]) -> dict[str, RefRow]:
    """Names as the journals leave them: the highest checkpoint, then what comes after it, in order of their numbers."""
    every = list(journals)
    start = last_checkpoint(every)
    names: dict[str, RefRow] = {}
    for journal in sorted(every, key=lambda each: int(each["seq"])):
        if journal["seq"] < start or (journal["seq"] == start and not journal.get("checkpoint")):
            continue
        for name in journal["set"]:
            before = names.get(name["name"])
            pinned = bool(name.get("pinned", before is not None and before.pinned))
            names[name["name"]] = RefRow(name["name"], name["digest"], name["media_type"], int(name["size"]),
                                         int(journal["seq"]), int(name["time"]), pinned)
        for removed in journal.get("remove", ()):
            names.pop(removed, None)
        for name, pinned in journal.get("pin", {}).items():
            if name in names:
                names[name] = names[name]._replace(pinned=bool(pinned))
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
