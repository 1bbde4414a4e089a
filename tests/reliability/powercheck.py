"""What must hold of a store after a power cut, whatever the model left of its files."""

from __future__ import annotations

import hashlib
import io
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from reliability.faults import Forks
from reliability.powerloss import Tree, materialise
from reliability.powerwork import OUT, STORE, Line, archive, describe_layer, finish, layer, small
from store.storekit import full, live_packs, pack_files, problems

import lamina
from lamina.images import ImageStore
from lamina.store import indexmerge

NEW = 99  # the image that is loaded afterwards

Saved = dict[str, str]  # name -> digest of what `save` gives


@dataclass(frozen=True, slots=True)
class Promise:
    """What has been reported when one of the commands ends: the images by name, and files written by `save`."""

    images: Saved
    files: Saved = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """At one moment: what was reported before, and what the command that is at work will report (each whole, or not at all).

    `may`: images that commands which were killed may have left; `started`: the store has been made; `covered`: bytes on disk of
    the layer of that seed which is not whole yet.
    """

    before: Promise
    after: Promise
    may: Saved
    started: bool
    covered: tuple[int, int]


def saved(store: ImageStore, name: str) -> str:
    """The digest of an image's archive."""
    out = io.BytesIO()
    store.save([name], out)
    return hashlib.sha256(out.getvalue()).hexdigest()


def snapshot(root: Path) -> Promise:
    """What is in the store below `root`, and in the files beside it."""
    images: Saved = {}
    if (root / STORE).exists():
        with lamina.open(root / STORE) as store:
            images = {name: saved(store, name) for name in store.names()}
    out = root / OUT
    places = sorted(out.iterdir()) if out.exists() else []
    return Promise(images, {place.name: file_digest(place) for place in places if not place.name.startswith(".")})


def file_digest(place: Path) -> str:
    """Of an archive its own; of a layout in a directory that of all images that it has."""
    if not place.is_dir():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    aside = place.with_name(f".{place.name}.store")
    try:
        with lamina.open(aside) as store:
            store.load(place)
            return repr(sorted((name, saved(store, name)) for name in store.names()))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check(forks: Forks, tree: Tree, expected: Expected, place: Path, *, without_catalog: bool = False) -> list[str]:
    """What is wrong when the store is used again; empty when all is well.  `without_catalog`: that is lost as well."""
    place.mkdir()
    try:
        materialise(tree, place)
        if without_catalog:
            for path in (place / STORE / "state").glob("catalog.sqlite*"):
                path.unlink()
            # A pack that a partial names may be taken for the store's own then, and be collected.
            expected = replace(expected, covered=(0, 0))
        ended = forks.run("reliability.powercheck:checked", [str(place), asdict(expected)])
        return [f"exit {ended.code}: {ended.err}"] if ended.code else ended.value
    finally:
        shutil.rmtree(place)


def checked(place: str, expected: dict[str, Any]) -> list[str]:
    """The same of files that are there, in a process of its own, after a restart of the machine."""
    small()
    indexmerge._boot = lambda: "another"
    before, after = (Promise(**expected.pop(which)) for which in ("before", "after"))
    try:
        return _check(Expected(before, after, **expected), Path(place))
    except Exception as error:  # in place of an answer: a loss, too
        return [f"{type(error).__name__}: {error}"]


def _check(expected: Expected, place: Path) -> list[str]:
    wrong = list(_check_files(expected, place))
    if expected.started:
        with lamina.open(place / STORE, create=False):  # not made anew: it has been reported
            pass
    with lamina.open(place / STORE) as store:
        wrong += _check_images(store, expected)
        wrong += [f"verify: {each}" for each in problems(store.blobs)]
        store.blobs.collect(max_unused=0)
        wrong += _check_left(store)
        wrong += _check_resuming(store, *expected.covered)
        store.load(io.BytesIO(archive(NEW)))
        store.blobs.collect(max_unused=0)
        names = set(store.names())
        wrong += [] if f"image{NEW}:latest" in names else ["what was loaded afterwards is not there"]
        wrong += _check_images(store, expected, {f"image{NEW}:latest", f"pulled{expected.covered[0]}:latest"})
        wrong += [f"verify in the end: {each}" for each in problems(store.blobs)]
        wrong += _check_left(store)
    return wrong


def _check_images(store: ImageStore, expected: Expected, beside: set[str] | frozenset[str] = frozenset()) -> list[str]:
    """The names are those of before or after, and lead to what they led to."""
    found = {name: saved(store, name) for name in store.names() if name not in beside}
    for wanted in (expected.before.images, expected.after.images):
        kept = {name: digest for name, digest in wanted.items() if name not in beside}
        more = {name: digest for name, digest in found.items() if name not in kept}
        if kept.items() <= found.items() and more.items() <= expected.may.items():
            return []
    return [f"images: {sorted(found)} instead of {sorted(expected.before.images)} or {sorted(expected.after.images)}"]


def _check_files(expected: Expected, place: Path) -> list[str]:
    """What `save` has written is there; what it was writing is there as before, or whole."""
    wrong = []
    for name in expected.before.files.keys() | expected.after.files.keys():
        path = place / OUT / name
        allowed = {expected.before.files.get(name), expected.after.files.get(name)}
        try:
            found = file_digest(path) if path.exists() else None
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found not in allowed:
            wrong.append(f"saved file {name}: {found}")
    return wrong


def _check_left(store: ImageStore) -> list[str]:
    """Nothing is left over but what partials name."""
    blobs = store.blobs
    named = blobs.partials.named()
    left = [each.name for each in blobs.backend.temporaries() if each.name not in named]
    left += [path.name for path in (blobs.state_dir / "leases").iterdir()]
    left += [path.name for path in blobs.state_dir.iterdir() if ".new" in path.name]
    wrong = [f"left over: {each}" for each in left]
    if pack_files(blobs) != live_packs(blobs):
        wrong.append(f"{len(pack_files(blobs))} pack files, {len(live_packs(blobs))} packs")
    return wrong


def _check_resuming(store: ImageStore, seed: int, covered: int) -> list[str]:
    """A download that was cut off goes on from where it was said to be."""
    if not covered:
        return []
    line = Line(layer(seed)[0])
    with store.blobs.session() as session:
        if session.exists(describe_layer(seed)):
            return []
        session.push(describe_layer(seed), line)
        finish(session, seed)
    if full(f"pulled{seed}") not in {ref.name for ref in store.blobs.catalog.refs()}:
        return ["what was pulled is not there"]
    most = describe_layer(seed).size - covered
    return [] if line.given <= most else [f"{line.given} bytes are downloaded again, of which {most} were not there"]
