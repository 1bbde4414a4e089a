"""R7: single flipped bits.  Each is found, or touches what nothing uses; what is lost is named exactly, and comes back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from reliability.losses import copy, fill, name, own, packs, saved, seen, touched
from store.storekit import flip

import lamina
from lamina.errors import LaminaError
from lamina.storage.local import LocalHandle
from lamina.store import layout
from lamina.store.packs import read_footer

SHORT, LONG = 40, 1000


def places(rng: random.Random, store: Path) -> tuple[Path, int, str]:
    """A file, a byte of it, and what it belongs to: each part of packs as often as any other, however small."""
    kind = rng.choice(["header", "record header", "content", "segment", "meta", "head", "document", "journal", "padding",
                       "footer", "tail", "anywhere", "catalog", "catalog", "index"])
    if kind in ("catalog", "index"):
        found = sorted((store / "state").glob("catalog.sqlite")) if kind == "catalog" else sorted(
            (store / "state" / "index").glob("*.idx"))
        file = rng.choice(found)
        return file, rng.randrange(file.stat().st_size), kind
    file = rng.choice(packs(store))
    footer = read_footer(LocalHandle(file.name, file))
    size = file.stat().st_size
    spans = {"header": (0, layout.HEADER.size), "footer": (footer.tail.at, size - layout.TAIL.size),
             "tail": (size - layout.TAIL.size, size), "anywhere": (0, size)}
    if kind == "padding":
        last = int((footer.records["offset"] + footer.records["stored"]).max())
        spans[kind] = (last, footer.tail.at) if last < footer.tail.at else (0, size)
    if kind not in spans:
        number = {"content": 1, "segment": 2, "meta": 3, "head": 4, "document": 5, "journal": 6}.get(kind)
        rows = [row for row in footer.records if number is None or row["type"] == number]
        row = rng.choice(rows or list(footer.records))
        at = int(row["offset"])
        spans[kind] = (at - layout.RECORD_HEADER.size, at) if number is None else (at, at + int(row["stored"]))
    begin, end = spans[kind]
    return file, rng.randrange(begin, end), kind


def test_flipped_bits(tmp_path: Path, long: bool, tally: Callable[..., None]) -> None:
    original = tmp_path / "original"
    archives = fill(original, tmp_path / "archives")
    with lamina.open(original) as store:
        whole = seen(store)
        assert not store.verify().problems
    counts: Counter[str] = Counter()
    rng = random.Random(7)
    for number in range(LONG if long else SHORT):
        path = copy(original, tmp_path / "copy")
        if number % 2:  # else chunks alone are read of blobs that were read back before
            (path / "state" / "proofs").unlink()
        file, at, kind = places(rng, path)
        bit = rng.randrange(8)
        own(file)
        flip(file, at, 1 << bit)
        label = f"flip {number}: bit {bit} of byte {at} of {file.name} ({kind})"
        check(path, archives, whole, label, kind, file, counts)
        counts["flips"] += 1
    tally("R7", **dict(counts))
    assert counts["flips"] == counts["found"] + counts["harmless"]


def check(path: Path, archives: list[str], whole: object, label: str, kind: str, file: Path, counts: Counter[str]) -> None:
    """One flip: found or harmless, named exactly, repaired."""
    with lamina.open(path) as store:
        notes = list(store.blobs.notes)
        try:
            found = store.verify()
            failing = touched(saved(store))
        except LaminaError as error:
            assert kind == "catalog", (label, error)
            found, failing = None, set()
        told = store.repair(dry_run=True)
        if kind not in ("catalog", "index"):
            assert found is not None and found.problems, label
            named = set(found.images)
            quick = store.verify(stored=True)
            assert quick.problems and failing <= set(quick.images), (label, failing, quick.problems)
            # A document is read from the catalog when its record is damaged: named, and still whole.
            documents = {image for problem in found.problems for image in problem.images if "record" in problem.what
                         and all(store.blobs.catalog.document(digest) for digest in problem.digests)}
            assert failing <= named and named - failing <= documents, (label, failing, named, found.problems)
        seen_wrong = bool(found is None or found.problems or told.packs or told.catalog or told.lost or notes)
        counts["found" if seen_wrong else "harmless"] += 1
        counts["images_lost_before_repair"] += len(failing)
        if not seen_wrong:
            assert seen(store) == whole, label
        result = store.repair(archives)
        assert not result.lost and not result.warnings, (label, result)
        if kind not in ("catalog", "index"):
            assert (path / "quarantine" / file.name).is_file(), label
        assert not store.verify().problems, label
        assert seen(store) == whole, label
        again = store.repair()
        assert not (again.packs or again.catalog or again.restored or again.names), (label, again)
    (path / "state" / "catalog.sqlite").unlink()
    with lamina.open(path) as store:
        assert seen(store) == whole, label
        counts["images_repaired"] += len(failing)


def test_the_same_chunk_is_never_taken_from_elsewhere(tmp_path: Path) -> None:
    """What a source has under the digest, but not whole, is not taken."""
    original = tmp_path / "original"
    archives = fill(original, tmp_path / "archives")
    for file in packs(original):
        # Where a record lies is up to the threads; a chunk longer than the steps below is wrong in the archive too.
        for row in read_footer(LocalHandle(file.name, file)).records:
            if row["type"] == 1 and row["stored"] > 9_000:
                flip(file, int(row["offset"]) + 100, 1)
    wrong = Path(archives[4])
    data = bytearray(wrong.read_bytes())
    for at in range(5_000, len(data) - 5_000, 9_000):
        data[at] ^= 1
    wrong.write_bytes(data)
    with lamina.open(original) as store:
        result = store.repair([str(wrong)])
        assert result.lost and name(4) in result.lost
        assert store.verify().problems


