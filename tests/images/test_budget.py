"""`gc --max-size`: which images go, in which order, how many; and the figures."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina.errors import Conflict, StorageError, StoreDamaged
from lamina.images import ImageStore, budget, uses
from lamina.images.view import Entry, Root, View
from lamina.oci import Platform
from lamina.store import BlobStore
from lamina.store.replacing import alone

from .archives import Built, docker_archive, tar_of
from .views import World


def order(view: View, **noted: int) -> list[str]:
    """The names of the images that may go (of one without, its layers), in their order."""
    known = {entry.image.manifest: noted[name] for entry in view.entries.values() for name in map(of, [entry]) if name in noted}
    return [of(entry) for entry in budget.order(view, known)]


def of(entry: Entry) -> str:
    return (entry.tags or [f"bare{len(entry.image.diff_ids)}:"])[0].partition(":")[0]


def test_those_without_a_name_first_then_by_last_use() -> None:
    world = World()
    for number, name in enumerate(("a", "b", "", "c")):
        world.image(f"image {number}", "klmn"[number], name)
    assert order(world.view(), a=30, b=10, c=20) == ["bare1", "b", "c", "a"]
    assert order(world.view(), a=30, b=10, c=20, bare1=99)[0] == "bare1"


def test_a_name_that_was_set_was_used() -> None:
    world = World()
    world.image("one", "k", "a")
    world.image("two", "l", "b")
    world.roots = [other_root(root, 50.0 if "a:" in root.name else 0.0) for root in world.roots]
    assert order(world.view(), b=40) == ["b", "a"]
    assert order(world.view(), b=60) == ["a", "b"]


def other_root(root: Root, time: float, *, pinned: bool = False) -> Root:
    return Root(root.name, root.digest, root.media_type, root.size, time, root.reference, pinned)


def test_a_parent_goes_after_its_children() -> None:
    world = World()
    world.image("base", "k", "base")
    world.image("child", "kl", "child")
    world.image("grandchild", "klm", "grand")
    world.image("other", "x", "other")
    assert order(world.view(), base=1, child=2, grand=9, other=5) == ["other", "grand", "child", "base"]
    assert order(world.view(), base=9, child=1, grand=1, other=5) == ["grand", "child", "other", "base"]


def test_what_is_pinned_stays_and_its_parents() -> None:
    world = World()
    world.image("base", "k", "base")
    world.image("child", "kl", "child:1 child:2")
    world.image("other", "x", "other")
    world.roots = [other_root(root, 0, pinned=root.name.endswith("child:2")) for root in world.roots]
    assert order(world.view()) == ["other"]


SHARED = random.Random(99).randbytes(200_000)
IMAGES = [Built(tar_of({"shared": SHARED}), tar_of({f"own{number}": random.Random(number).randbytes(150_000 + number)}))
          for number in range(5)]
LAST = tar_of({"more": random.Random(7).randbytes(100_000)})
CHILD = Built(*IMAGES[0].layers, LAST)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    """image0 to image4 and a child of image0; used last: image1, before it the child."""
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: Platform("linux", "amd64")))
    monkeypatch.setattr("time.time", lambda: 1000.0)
    with lamina.open(tmp_path / "store") as opened:
        for number, image in enumerate(IMAGES):
            opened.load(docker_archive((image, [f"image{number}"])))
        opened.load(docker_archive((CHILD, ["child"])))
        monkeypatch.setattr("time.time", lambda: 2000.0)
        opened.save(["child"], io.BytesIO())
        monkeypatch.setattr("time.time", lambda: 3000.0)
        opened.save(["image1"], io.BytesIO())
        yield opened


def files(store: ImageStore) -> int:
    return sum(size for _, size in store.blobs.backend.list("packs/"))


def left(store: ImageStore) -> set[str]:
    return {row.repository for row in store.images(all=True)}


@pytest.mark.parametrize(("size", "expected"), [
    (10_000_000, "child image0 image1 image2 image3 image4"), (950_000, "child image0 image1 2 of the others"),
    (700_000, "child image0 image1"), (550_000, "image0 image1")])
def test_until_it_fits(store: ImageStore, size: int, expected: str) -> None:
    """image2 to image4 were used at the same time: any of them may go first."""
    before = files(store)
    foretold = store.shrink(size, dry_run=True)
    assert (files(store), len(left(store)), foretold.collected) == (before, 6, None)
    done = store.shrink(size)
    assert done.collected is not None and done.collected.problems == []
    assert (done.events, done.unused_freed) == (foretold.events, foretold.unused_freed)
    assert done.collected.unused_freed == foretold.unused_freed
    assert done.size == files(store) <= foretold.size
    assert done.size <= size
    names, _, others = expected.partition(" 2 of")
    assert left(store) >= set(names.split())
    assert len(left(store) - set(names.split())) == (2 if others else 0)
    assert store.verify().problems == []


def test_what_is_dead_goes_before_any_image(store: ImageStore) -> None:
    store.remove(["image4"])
    dead = store.df().total.dead
    done = store.shrink(files(store) - dead + 20_000)
    assert done.events == [] and done.unused_freed == dead
    assert len(left(store)) == 5


def test_pins_alone_may_be_too_much(store: ImageStore) -> None:
    """Then nothing goes: a command that fails changes nothing."""
    store.pin(["image2", "child"])
    before, images = files(store), left(store)
    for dry_run in (True, False):
        with pytest.raises(Conflict, match=r"what may not go takes .* MB, more than 0\.1 MB, .*, nothing was removed"):
            store.shrink(100_000, dry_run=dry_run)
    assert (files(store), left(store)) == (before, images)
    done = store.shrink(1_000_000)
    assert done.size == files(store) <= 1_000_000
    assert left(store) >= {"image0", "image2", "child"}  # the child's parent takes no room of its own


def test_chunks_that_two_sessions_wrote(tmp_path: Path, store: ImageStore) -> None:
    with lamina.open(tmp_path / "store") as other, store.blobs.session() as one, other.blobs.session() as two:
        from contracts.samples import put_image
        layers = [tar_of({"twice": random.Random(55).randbytes(300_000)})]
        for session, name in ((one, "one"), (two, "two")):
            session.tag(put_image(session, *layers), f"docker.io/library/{name}:latest")
        one.commit()
        two.commit()
    for size in (1_300_000, 800_000, 500_000):
        foretold = store.shrink(size, dry_run=True)
        done = store.shrink(size)
        assert done.collected is not None and done.collected.unused_freed == foretold.unused_freed == done.unused_freed
        assert done.size <= size


def test_damage_is_said_and_nothing_goes(store: ImageStore) -> None:
    row = next(store.blobs.catalog.blobs("layer"))
    with store.blobs.catalog.transaction() as tx:
        tx.move_blobs([(row.digest, row.pack, 9999)])
    with pytest.raises(StoreDamaged, match="run lamina repair"):
        store.shrink(1000)
    assert len(left(store)) == 6


def test_noting_a_use_fails_no_command(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageError("no space left", "here")

    monkeypatch.setattr("lamina.store.uses.Uses.note", fail)
    uses.used(store.blobs, ["sha256:1"])
    assert store.save(["image1"], io.BytesIO()).bytes > 0


@pytest.mark.parametrize("change", ["moved", "named again", "pinned", "removed"])
def test_what_changes_meanwhile_is_looked_at_again(store: ImageStore, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A name is given to another image, or pinned, while the recipes are streamed over: it does not go by the old plan."""
    real, done = budget.plan, []

    def plan(blobs: BlobStore, size: int) -> object:
        found = real(blobs, size)
        if not done:
            done.append(change)
            monkeypatch.setattr("time.time", lambda: 5000.0)
            if change == "removed":
                store.remove(["image2"])
            elif change == "pinned":
                store.pin(["image2"])
            else:
                built = Built(tar_of({"new": b"new" * 1000})) if change == "moved" else IMAGES[2]
                store.load(docker_archive((built, ["image2"])))
        return found

    monkeypatch.setattr(budget, "plan", plan)
    store.shrink(700_000)
    assert ("image2" in left(store)) is (change != "removed")


def test_nothing_goes_while_another_collection_runs(store: ImageStore) -> None:
    with alone(store.blobs, "collect"), pytest.raises(Conflict, match="another collection"):
        store.shrink(0)
    assert len(left(store)) == 6
