"""The page's library over a real store."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina.errors import NotFound, StoreDamaged
from lamina.images import ImageStore
from lamina.images.showcase import Showcase, files, kept, series, sharing, showcase
from lamina.images.showcase.counting import Counting
from lamina.images.showcase.kept import Kept
from lamina.images.showcase.series import HOUR, MOST, Series
from lamina.images.showcase.sharing import Counted
from lamina.registry.server.page.library import Busy, Image, Index, Library, Point, Traffic
from lamina.store.schema import LIVE

from .archives import Built, docker_archive, layer, oci_archive, sha256, tar_of

COMMON = bytes(range(256)) * 400  # 102 kB in a file of its own
BASE = Built(tar_of({"base/big": COMMON, "base/small": b"s"}))
CHILD = Built(*BASE.layers, tar_of({"child": b"c" * 200_000}), Env=["A=b"], Cmd=["sh"], Labels={"k": "v"},
              history=[{"created_by": "ADD base"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "ADD child"}])
COUSIN = Built(tar_of({"other/place": COMMON, "own": b"o" * 70_000}))  # no layer in common, one file is
ALL = lambda _: True  # noqa: E731


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with lamina.open(tmp_path / "store") as opened:
        opened.load(docker_archive((BASE, ["base:1"]), (CHILD, ["ghcr.io/team/child:1", "ghcr.io/team/child:2"]),
                                   (COUSIN, ["cousin"])))
        yield opened


@pytest.fixture
def shown(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Showcase]:
    monkeypatch.setattr(showcase, "PATIENCE", 60.0)  # on a busy machine the newer picture may take longer than a page waits
    monkeypatch.setattr(kept, "REST", 0.0)  # and then the next one is put off
    found = Showcase(store.blobs, fresh=0.0)
    yield found
    found.close()


def image_of(shown: Showcase, repository: str, tag: str) -> Image:
    found = shown.item(repository, tag)
    assert isinstance(found, Image)
    return found


def test_it_is_a_library(shown: Showcase) -> None:
    library: Library = shown
    assert library.problems() == [] and library.traffic() == Traffic() and list(library.series()) == []


def test_repositories(shown: Showcase) -> None:
    found = {one.name: one for one in shown.repositories()}
    assert list(found) == ["base", "cousin", "ghcr.io/team/child"]
    child = found["ghcr.io/team/child"]
    assert sorted(tag.name for tag in child.tags) == ["1", "2"] and child.images == 1
    assert {tag.platforms for tag in child.tags} == {("linux/amd64",)}
    one = image_of(shown, "ghcr.io/team/child", "1")
    assert {tag.size for tag in child.tags} == {child.size} and child.size > one.size > sum(map(len, CHILD.layers))
    assert abs(child.pushed - time.time()) < 600 and child.tags[0].created == 1704067200
    assert shown.repository("base") == found["base"] and shown.repository("nothing") is None


def test_names_may_be_chosen(store: ImageStore) -> None:
    shown = Showcase(store.blobs, named=lambda one: one.path if one.domain == "ghcr.io" else None)
    assert [one.name for one in shown.repositories()] == ["team/child"]
    assert shown.item("team/child", image_of(shown, "team/child", "1").digest) is not None
    shown.close()


def test_an_image(shown: Showcase) -> None:
    one = image_of(shown, "ghcr.io/team/child", "1")
    assert [(each.digest, each.size, each.here, each.entries) for each in one.layers] == [
        (sha256(CHILD.layers[0]), len(CHILD.layers[0]), True, 2), (sha256(CHILD.layers[1]), len(CHILD.layers[1]), True, 1)]
    assert (one.config_digest, one.platform, one.names, one.artifact) == (CHILD.id, "linux/amd64", ("1", "2"), "")
    assert one.config["Env"] == ["A=b"] and [step.layer for step in one.history] == [0, None, 1]
    assert shown.item("ghcr.io/team/child", one.digest) == one


def test_only_what_the_repository_has(shown: Showcase) -> None:
    digest = image_of(shown, "base", "1").digest
    assert shown.item("cousin", digest) is None and shown.item("nothing", digest) is None and shown.item("base", "2") is None
    assert shown.item("base", sha256(BASE.layers[0])) is None, "a layer is no page"
    assert shown.item("base", "") is None and shown.item("base", "sha256:") is None


def test_an_index(store: ImageStore, shown: Showcase) -> None:
    arm = Built(layer(arm="x"), architecture="arm64")
    store.load(oci_archive(CHILD, arm, name="docker.io/library/multi:1"))
    found = shown.item("multi", "1")
    assert isinstance(found, Index)
    assert [(one.platform, one.kind, one.here) for one in found.members] == [
        ("linux/amd64", "image", True), ("linux/arm64", "image", True)]
    assert isinstance(shown.item("multi", found.members[1].digest), Image)
    assert shown.repository("multi").tags[0].platforms == ("linux/amd64", "linux/arm64")  # type: ignore[union-attr]


def test_a_new_tag_is_seen(store: ImageStore, shown: Showcase) -> None:
    assert shown.repository("fresh") is None
    store.tag("base:1", "fresh:1")
    assert shown.repository("fresh") is not None
    store.remove(["fresh:1"])
    assert shown.repository("fresh") is None


def test_find(shown: Showcase) -> None:
    layer_digest = sha256(BASE.layers[0])
    assert {(hit.kind, hit.repository) for hit in shown.find(layer_digest[7:20], 10)} == {
        ("layer", "base"), ("layer", "ghcr.io/team/child")}
    hits = shown.find(CHILD.id, 10)
    one = image_of(shown, "ghcr.io/team/child", "1")
    assert [(hit.kind, hit.digest, hit.manifest) for hit in hits] == [("config", CHILD.id, one.digest)]
    assert [hit.kind for hit in shown.find(one.digest[7:30], 10)] == ["manifest"]
    assert len(shown.find("", 2)) == 2 and shown.find("sha256:zz", 10) == []


# -- what is shared


def test_what_is_shared(store: ImageStore, shown: Showcase) -> None:
    child = image_of(shown, "ghcr.io/team/child", "1")
    assert shown.sharing(child.digest, ALL) is None and shown.store().chunks is None
    assert shown.counting.once()
    found = shown.sharing(child.digest, ALL)
    assert found is not None and not found.partial
    usage = store.blobs.usage()
    assert (found.shared, found.own) == usage.image_usage[child.digest]
    others = {other.name: other.shared for other in found.others}
    assert list(others) == ["base:1", "cousin:latest"], "the most first"
    assert others["base:1"] == found.shared > others["cousin:latest"] >= len(COMMON) - 65536
    first, second = (found.layers[one.digest] for one in child.layers)
    assert first == (0, found.shared) and second == (found.own, 0)


def test_the_store_in_figures(store: ImageStore, shown: Showcase) -> None:
    shown.counting.once()
    usage, found = store.blobs.usage(), shown.store()
    assert (found.chunks, found.layers, found.stored) == (usage.chunks, usage.layers, usage.stored)
    assert (found.repositories, found.tags, found.images) == (3, 4, 3)
    sizes = {one.name: one.size for one in shown.repositories()}
    assert found.pushed == sizes["base"] + sizes["cousin"] + 2 * sizes["ghcr.io/team/child"]
    assert found.free > 0


def test_what_one_may_not_see_counts_for_nothing(shown: Showcase) -> None:
    shown.counting.once()
    child = image_of(shown, "ghcr.io/team/child", "1")
    all_of_it = shown.sharing(child.digest, ALL)
    found = shown.sharing(child.digest, lambda name: name != "base")
    nothing = shown.sharing(child.digest, lambda name: name == "ghcr.io/team/child")
    assert all_of_it and found and nothing
    assert [other.name for other in found.others] == ["cousin:latest"]
    assert (nothing.others, nothing.shared, nothing.own) == ((), 0, all_of_it.own + all_of_it.shared)
    assert all(shared == 0 for _, shared in nothing.layers.values())


def test_too_much_is_counted_in_part(store: ImageStore, shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SETS", 1)
    assert shown.counting.once()
    assert shown.counting.read().partial  # type: ignore[union-attr]
    assert shown.store().chunks is None and shown.series() == []


def test_too_many_others_are_cut_short(shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.counting.once()
    monkeypatch.setattr(sharing, "OTHERS", 1)
    found = shown.sharing(image_of(shown, "ghcr.io/team/child", "1").digest, ALL)
    assert found and len(found.others) == 1 and found.more == 1
    monkeypatch.setattr(sharing, "_STEPS", 0)
    found = shown.sharing(image_of(shown, "ghcr.io/team/child", "1").digest, ALL)
    assert found and found.partial and not found.others


def test_damage_is_left_out(store: ImageStore, shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, real = sha256(COUSIN.layers[0]), store.blobs.head_of_row
    def broken(row: Any) -> Any:
        if row.digest == lost:
            raise StoreDamaged("gone")
        return real(row)
    monkeypatch.setattr(store.blobs, "head_of_row", broken)
    assert shown.counting.once()
    assert shown.sharing(image_of(shown, "cousin", "latest").digest, ALL) is None
    assert shown.sharing(image_of(shown, "base", "1").digest, ALL) is not None


def test_one_process_counts(store: ImageStore, shown: Showcase) -> None:
    other = Showcase(store.blobs)
    inside, go = threading.Event(), threading.Event()
    real = shown.counting._count
    def slow() -> bool:
        inside.set()
        assert go.wait(60)
        return real()
    shown.counting._count = slow  # type: ignore[method-assign]
    thread = threading.Thread(target=shown.counting.once)
    thread.start()
    assert inside.wait(60)
    assert not other.counting.once()
    go.set()
    thread.join()
    assert other.store().chunks == shown.store().chunks is not None, "all read what one has counted"
    other.close()


def test_it_counts_by_itself(store: ImageStore) -> None:
    done = threading.Event()
    shown = Showcase(store.blobs)
    real = shown.counting._count
    shown.counting._count = lambda: real() and not done.set()  # type: ignore[method-assign,func-returns-value]
    shown.start()
    assert done.wait(60)
    shown.close()
    assert len(shown.series()) == 1


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]", b"\xff", b"[" * 100_000,
    b'{"time":1,"chunks":1,"images":["a"],"sets":[[[7],1]],"layers":{},"partial":false}'])
def test_a_strange_file_is_as_none(store: ImageStore, shown: Showcase, data: bytes) -> None:
    shown.counting.once()
    shown.counting._file.write_bytes(data)
    assert shown.counting.read() is None
    assert shown.store().chunks is None
    assert shown.counting.once()
    shown._counts._due = 0  # what took long to read would not be read again soon
    assert shown.store().chunks is not None


def test_what_was_counted_comes_back() -> None:
    counted = Counted(1.5, 10, ["a", "b"], [([0], 3), ([0, 1], 7)], {"l": [(0, 3), (1, 7)]}, True)
    assert Counted.decode(counted.encode()) == counted


# -- files


def test_files(shown: Showcase) -> None:
    digest = sha256(BASE.layers[0])
    found = shown.files(digest, b"", 0, 10)
    assert [(one.path, one.size, one.kind) for one in found.files] == [(b"base/big", len(COMMON), "0"), (b"base/small", 1, "0")]
    assert (found.next, found.total) == (None, 2)
    assert [one.path for one in shown.files(digest, b"base/s", 0, 10).files] == [b"base/small"]
    with pytest.raises(NotFound):
        shown.files(sha256(b"nothing"), b"", 0, 10)
    with pytest.raises(NotFound):
        shown.files(BASE.id, b"", 0, 10)


@cache
def many_names() -> tuple[list[str], Built]:
    """More than a block of the table has."""
    names = [f"./d{number // 500}/f{number % 500}" for number in range(20_000)]
    return names, Built(tar_of(dict.fromkeys(names, b"")))


@pytest.mark.parametrize(("prefix", "step"), [(b"", 7), (b"", 1000), (b"d1/", 3), (b"d39/f499", 5), (b"none", 5)])
def test_a_large_layer_in_parts(store: ImageStore, shown: Showcase, prefix: bytes, step: int,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """More members than a block of the table has."""
    names, big = many_names()
    store.load(docker_archive((big, ["big"])))
    digest, at, seen, rounds = sha256(big.layers[0]), 0, list[str](), 0
    while at is not None and rounds < 50:
        found = shown.files(digest, prefix, at, step)
        assert found.total == 20_000
        seen += [one.path.decode() for one in found.files]
        assert found.next is None or found.next > at
        at, rounds = found.next, rounds + 1  # type: ignore[assignment]
    wanted = [name for name in names if name.removeprefix("./").startswith(prefix.decode())]
    assert seen == wanted[: len(seen)] and (len(seen) == len(wanted) or rounds == 50)


def test_a_search_ends_in_time_and_goes_on(store: ImageStore, shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"f{number}" for number in range(20_000)]
    big = Built(tar_of(dict.fromkeys(names, b"")))
    store.load(docker_archive((big, ["big"])))
    ticks = iter(range(10_000))
    monkeypatch.setattr(files.time, "monotonic", lambda: next(ticks))  # each look at the clock is a second later
    at, rounds, seen = 0, 0, list[bytes]()
    while at is not None:
        found = shown.files(sha256(big.layers[0]), b"f1999", at, 100)
        seen += [one.path for one in found.files]
        at, rounds = found.next, rounds + 1  # type: ignore[assignment]
    assert rounds > 1 and seen == [b"f1999", *(b"f1999%d" % digit for digit in range(10))]


def test_what_time_cut_short_is_asked_for_again(store: ImageStore, shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no answer to remember; and a block is read each time, so that it gets on."""
    big = Built(tar_of({f"f{number}": b"" for number in range(20_000)}))
    store.load(docker_archive((big, ["big"])))
    digest, ticks = sha256(big.layers[0]), iter(range(10_000))
    with monkeypatch.context() as slow:
        slow.setattr(files.time, "monotonic", lambda: 10 * next(ticks))
        short = shown.files(digest, b"f19999", 0, 100)
    assert short.files == () and 0 < (short.next or 0) < 20_000
    assert [one.path for one in shown.files(digest, b"f19999", 0, 100).files] == [b"f19999"]


def test_few_read_at_once(shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0)
    digest = sha256(BASE.layers[0])
    for _ in range(files.AT_ONCE):
        shown._files._slots.acquire()
    with pytest.raises(Busy):
        shown.files(digest, b"", 0, 10)
    shown._files._slots.release()
    assert shown.files(digest, b"", 0, 10).files
    shown._files._slots.acquire()
    assert shown.files(digest, b"", 0, 10).files, "what was asked for before is remembered"


# -- the past


def point(hour: float, size: int = 5) -> Point:
    return Point(HOUR * hour, size, size, size, size)


def test_a_point_an_hour(store: ImageStore, shown: Showcase) -> None:
    shown.counting.once()
    shown.counting.once()
    stored = sum(pack.bytes for pack in store.blobs.catalog.packs(LIVE))
    found, now = shown.series(), shown.store()
    assert [(one.pushed, one.layers, one.chunks, one.stored) for one in found] == [(now.pushed, now.layers, now.chunks, stored)]


def test_series(tmp_path: Path) -> None:
    own = Series(tmp_path / "series")
    assert own.points() == []
    assert own.add(point(1)) and not own.add(point(1.9)) and own.add(point(2.1))
    assert Series(tmp_path / "series").points() == [point(1), point(2.1)]


def test_a_year_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "series"
    path.write_text("".join(json.dumps(dataclasses.asdict(point(hour))) + "\n" for hour in range(2 * MOST)))
    assert Series(path).points() == [point(hour) for hour in range(MOST, 2 * MOST)]
    assert Series(path).add(point(2 * MOST))
    assert len(path.read_text().splitlines()) < MOST


def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST", 50)
    monkeypatch.setattr(series, "_SLACK", 10)
    path = tmp_path / "series"
    own = Series(path)
    for hour in range(1, 300):
        assert own.add(point(hour))
        found = own.points()
        assert found[-1] == point(hour) and min(hour, 40) <= len(found) <= 50
        assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("line", ["", "x", "{}", "[1]", '{"time":"a"}',
                                  '{"time":1e400,"pushed":1,"layers":1,"chunks":1,"stored":1}',
                                  '{"time":-5,"pushed":1,"layers":1,"chunks":1,"stored":1}', "[" * 5000, "\xff",
                                  '{"time":9e9,"pushed":1e300,"layers":1,"chunks":1,"stored":1}', "9" * 5000])
def test_lines_without_sense_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "series"
    Series(path).add(point(1))
    with path.open("a", encoding="latin-1") as file:
        file.write(line)  # and torn
    own = Series(path)
    assert own.points() == [point(1)]
    assert own.add(point(3)) and Series(path).points() == [point(1), point(3)]


# -- what is kept by a thread


def test_nobody_waits_for_long() -> None:
    go, made = threading.Event(), list[int]()
    def make() -> int:
        assert go.wait(60)
        made.append(1)
        return 7
    kept = Kept(make, lambda: 1, age=0, patience=0.01)
    assert kept.get() is None and kept.get() is None
    go.set()
    kept.close()
    assert kept.get() == 7 and made == [1], "one thread at a time"


def test_what_fails_is_told_and_tried_again() -> None:
    answers = iter([StoreDamaged("no"), 5, StoreDamaged("no")])
    keys = iter(range(10))
    def make() -> int:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found
    kept = Kept(make, lambda: next(keys), age=0, patience=60)
    with pytest.raises(StoreDamaged):
        kept.get()
    kept._due = 0
    assert kept.get() == 5
    kept._due = 0
    assert kept.get() == 5, "the last that there was"


def test_nothing_is_made_anew_without_need() -> None:
    made: list[int] = []
    kept = Kept(lambda: made.append(1) or len(made), lambda: 1, age=0, patience=60)  # type: ignore[func-returns-value]
    for _ in range(5):
        assert kept.get() == 1
    kept._oldest = 0
    kept._due = 0
    assert kept.get() == 2


def test_a_full_disk_and_a_lost_catalog_are_told(store: ImageStore, shown: Showcase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.blobs.backend, "free_space", lambda: 1000)
    assert shown.problems() == ["the disk is full"]
    def broken() -> int:
        raise StoreDamaged("the catalog is damaged", "/secret")
    monkeypatch.setattr(store.blobs.catalog, "sequence", broken)
    assert shown.problems() == ["the catalog cannot be read", "the disk is full"]


def test_counting_ends_when_the_server_does(store: ImageStore) -> None:
    counting = Counting(store.blobs, lambda: pytest.fail("counted after the end"))
    counting._stop.set()
    counting.start()
    counting.close()
