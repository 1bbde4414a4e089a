from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.errors import LeaseLost, StorageError, StoreDamaged, StoreLocked, StoreTooNew
from lamina.store.catalog import Catalog
from lamina.store.schema import BlobRow, ImageRow, PackRow, RefRow

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def d(name: object, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{str(name).encode().hex():0>64}"


def blob(name: object, kind: str = "blob", **fields: object) -> BlobRow:
    return BlobRow(d(name), d(name), kind, "media", 10, 1, 2)._replace(**fields)  # type: ignore[arg-type]


def ref(name: str, target: object, seq: int) -> RefRow:
    return RefRow(name, d(target), "media", 10, seq, 1_700_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    with Catalog.create(path, timeout=0.2) as catalog:
        yield catalog


# -- life ------------------------------------------------------------------------------------------------------


def test_created_once_and_kept(path: Path, catalog: Catalog) -> None:
    assert catalog.next_seq() == 1
    with Catalog.create(path) as again:
        assert again.next_seq() == 2
    with Catalog.open(path) as again:
        assert again.sequence() == 2


@pytest.mark.parametrize("sql", [
    "CREATE TRIGGER t AFTER INSERT ON leases BEGIN DELETE FROM refs; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE VIRTUAL TABLE v USING fts5(x)",
])
def test_what_is_not_ours_is_refused(path: Path, catalog: Catalog, sql: str) -> None:
    """A view in the place of a table may never end, a trigger does what nobody asked for."""
    with sqlite3.connect(path) as stranger:
        stranger.execute(sql)
    stranger.close()
    with pytest.raises(StoreDamaged, match="holds a strange"):
        Catalog.open(path)


@pytest.mark.parametrize(("sql", "read"), [
    ("INSERT INTO packs VALUES (1, '../../x', 1, 1, 'live', 1)", lambda catalog: catalog.packs()),
    ("INSERT INTO packs VALUES (1, '" + "0" * 32 + "', 'x', 1, 'live', 1)", lambda catalog: catalog.pack(1)),
    ("INSERT INTO leases VALUES ('a', 'b', x'00')", lambda catalog: catalog.leases()),
    ("INSERT INTO refs VALUES ('a', 'b', 'c', 'd', 1, 1, 0, 0)", lambda catalog: catalog.refs()),
    ("INSERT INTO images VALUES ('a', 'b', 'c', 'd', 'e', 'f', x'00', 1, 1)", lambda catalog: catalog.images()),
    ("INSERT INTO blobs VALUES ('a', 'b', 'c', 'd', 1.5, 1, 1, NULL, NULL, NULL, NULL, 0, NULL)",
     lambda catalog: catalog.blob("a")),
])
def test_rows_that_make_no_sense(path: Path, catalog: Catalog, sql: str, read: Callable[[Catalog], object]) -> None:
    with sqlite3.connect(path) as stranger:
        stranger.execute(sql)
    stranger.close()
    with pytest.raises(StoreDamaged, match="makes no sense"):
        read(catalog)


def test_several_processes_create_at_once(path: Path) -> None:
    code = ("import sys\nfrom pathlib import Path\nfrom lamina.store.catalog import Catalog\n"
            "sys.stdin.read()\n"
            "with Catalog.create(Path(sys.argv[1])) as c: print(c.next_seq())")
    each = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, env=ENV) for _ in range(4)]
    for process in each:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    assert sorted(int(process.communicate()[0]) for process in each) == [1, 2, 3, 4]


def test_safe_settings(path: Path, catalog: Catalog) -> None:
    assert catalog._db.read("PRAGMA journal_mode") == [("wal",)]
    assert catalog._db.read("PRAGMA synchronous") == [(2,)]
    with catalog.transaction():
        assert catalog._db.read("PRAGMA synchronous") == [(2,)]


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_missing_or_none(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreDamaged):
        Catalog.open(path)


def test_damage_inside(path: Path) -> None:
    with Catalog.create(path) as catalog, catalog.transaction() as tx:
        for i in range(2000):
            tx.add_blob(blob(i))
    data = bytearray(path.read_bytes())
    data[40_000:200_000] = b"\xaa" * 160_000
    path.write_bytes(data)
    with pytest.raises(StoreDamaged), Catalog.open(path) as catalog:
        list(catalog.blobs())
        catalog.blob_by_diff_id("x")


def test_a_lost_table(path: Path, catalog: Catalog) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("DROP TABLE refs")
    raw.close()
    with pytest.raises(StoreDamaged):
        catalog.refs()


def test_newer(path: Path, catalog: Catalog) -> None:
    with catalog.transaction():
        catalog._db.write("UPDATE meta SET value = 2 WHERE key = 'version'")
    with pytest.raises(StoreTooNew, match="version 2"):
        Catalog.open(path)
    with pytest.raises(StoreTooNew):
        Catalog.rebuild(path, lambda _: None)


def test_errors_of_sql_are_not_dressed_up(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.OperationalError):
        catalog._db.read("SELEKT")


# -- rebuild ---------------------------------------------------------------------------------------------------


def fill(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.add_blob(blob("rebuilt"))


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_rebuild(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    path.with_name(path.name + "-wal").write_bytes(b"an old log")
    path.with_name(path.name + ".new").write_bytes(b"of a rebuild that was killed")
    with Catalog.rebuild(path, fill) as catalog:
        assert catalog.blob(d("rebuilt")) == blob("rebuilt")
    with Catalog.open(path) as catalog:
        assert catalog.blob(d("rebuilt"))
    assert sorted(each.name for each in path.parent.iterdir()) == ["catalog.sqlite", "catalog.sqlite.lock"]


def test_rebuild_of_a_whole_one_leaves_it(path: Path, catalog: Catalog) -> None:
    catalog.next_seq()
    with Catalog.rebuild(path, lambda _: pytest.fail("another process has done it")) as again:
        assert again.sequence() == 1


def test_rebuild_after_damage_that_opening_does_not_see(path: Path) -> None:
    with Catalog.create(path) as catalog, catalog.transaction() as tx:
        for i in range(2000):
            tx.add_blob(blob(i))
    data = bytearray(path.read_bytes())
    data[200_000:300_000] = b"\xaa" * 100_000  # behind the pages of the schema
    path.write_bytes(data)
    Catalog.open(path).close()
    with Catalog.rebuild(path, fill) as catalog:
        assert [row.digest for row in catalog.blobs()] == [d("rebuilt")]


def test_a_failed_rebuild_changes_nothing(path: Path) -> None:
    path.write_bytes(b"garbage")

    def stumble(_: Catalog) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        Catalog.rebuild(path, stumble)
    assert path.read_bytes() == b"garbage"
    Catalog.rebuild(path, fill).close()


def test_what_moves_into_place_is_the_whole_catalog(path: Path) -> None:
    """The log is brought in before, not only by the last connection that closes."""
    others = []

    def watched(catalog: Catalog) -> None:
        fill(catalog)
        others.append(sqlite3.connect(catalog._db.path))
        others[0].execute("SELECT * FROM meta").fetchall()

    with Catalog.rebuild(path, watched) as catalog:
        assert catalog.blob(d("rebuilt"))
    others[0].close()


def test_a_replaced_catalog_takes_no_commit(path: Path, catalog: Catalog) -> None:
    path.unlink()
    with pytest.raises(LeaseLost, match="replaced"), catalog.transaction() as tx:
        tx.add_blob(blob("lost"))
    with Catalog.rebuild(path, fill), pytest.raises(LeaseLost, match="replaced"), catalog.transaction():
        pytest.fail("begun")


def test_a_transaction_and_a_rebuild_exclude_each_other(path: Path, catalog: Catalog) -> None:
    def inside(_: Catalog) -> None:
        with pytest.raises(StoreLocked, match="rebuilt"), catalog.transaction():
            pytest.fail("begun")

    with catalog.transaction(), pytest.raises(StoreLocked):
        Catalog.rebuild(path, fill, timeout=0.05)
    path.write_bytes(b"garbage")
    Catalog.rebuild(path, inside).close()


# -- transactions ----------------------------------------------------------------------------------------------


def test_all_or_nothing(catalog: Catalog) -> None:
    with pytest.raises(KeyError), catalog.transaction() as tx:
        tx.add_blob(blob("a"))
        tx.set_ref(ref("x", "a", tx.next_seq()))
        raise KeyError
    assert catalog.blob(d("a")) is None
    assert catalog.refs() == []
    assert catalog.sequence() == 0
    with catalog.transaction() as tx:
        tx.add_blob(blob("a"))
    assert catalog.blob(d("a")) == blob("a")


def test_own_writes_are_seen_by_the_thread_alone(catalog: Catalog) -> None:
    seen: list[object] = []
    with catalog.transaction() as tx:
        tx.add_blob(blob("a"))
        assert catalog.blob(d("a"))
        thread = threading.Thread(target=lambda: seen.append(catalog.blob(d("a"))))
        thread.start()
        thread.join()
    assert seen == [None]
    assert catalog.blob(d("a"))


def test_no_nesting_and_no_write_outside(catalog: Catalog) -> None:
    with catalog.transaction() as tx, pytest.raises(ValueError, match="nest"), catalog.transaction():
        pytest.fail("begun")
    with pytest.raises(ValueError, match="need a transaction"):
        tx.add_blob(blob("a"))
    assert catalog.next_seq() == 1


def test_threads_share_it(catalog: Catalog) -> None:
    catalog._db.timeout = 30
    numbers: list[int] = []

    def work(n: int) -> None:
        for i in range(10):
            with catalog.transaction() as tx:
                numbers.append(tx.next_seq())
                tx.add_blob(blob((n, i)))
            assert catalog.blob(d((n, i)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 41))
    assert len(list(catalog.blobs())) == 40


HOLDER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
c.execute("UPDATE meta SET value = value + 100 WHERE key = 'sequence'")
print("held", flush=True)
sys.stdin.read()
"""


def test_locked_by_another_process(path: Path, catalog: Catalog) -> None:
    catalog.next_seq()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked, match=r"locked.*try again"), catalog.transaction():
            pytest.fail("begun")
        assert catalog.sequence() == 1  # reading goes on
        holder.kill()
        holder.wait()
    assert catalog.next_seq() == 2  # what was not committed is not there


def test_locked_by_another_thread(catalog: Catalog) -> None:
    caught: list[BaseException] = []

    def late() -> None:
        try:
            catalog.next_seq()
        except StoreLocked as error:
            caught.append(error)

    with catalog.transaction():
        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_disk_full(catalog: Catalog) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    catalog.next_seq()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StorageError), catalog.transaction() as tx:
            for i in range(100):
                tx.add_blob(blob(i, text="x" * 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(catalog.blobs()) == []
    assert catalog.next_seq() == 2


def test_full_database(catalog: Catalog) -> None:
    with pytest.raises(StorageError, match="no space left"), catalog.transaction() as tx:
        catalog._db.write("PRAGMA max_page_count = 30")
        tx.add_blob(blob("large", text="x" * 1_000_000))
    assert list(catalog.blobs()) == []
    assert catalog.next_seq() == 1


# -- numbers ---------------------------------------------------------------------------------------------------


def test_pack_numbers_are_never_used_again(path: Path, catalog: Catalog) -> None:
    assert catalog.reserve_pack_number() == 1
    with catalog.transaction() as tx:
        assert tx.new_pack_number() == 2
        tx.add_pack(2, "ab" * 16, 100, 5)
        tx.remove_packs([2])
    with Catalog.open(path) as again:
        assert again.reserve_pack_number() == 3


def test_sequence_is_raised_never_lowered(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.raise_seq(10)
        tx.raise_seq(5)
    assert catalog.next_seq() == 11


def test_a_transaction_has_one_number_of_its_own(catalog: Catalog) -> None:
    drawn = catalog.next_seq()
    with catalog.transaction() as tx:
        assert tx.seq == tx.seq == drawn + 1
        assert tx.next_seq() == drawn + 2
        assert tx.seq == drawn + 1


# -- packs -----------------------------------------------------------------------------------------------------


def test_packs(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        for number in (1, 2, 3):
            tx.add_pack(number, f"{number:032x}", 100 * number, number)
    assert catalog.pack(2) == PackRow(2, f"{2:032x}", 200, 2, "live", 1)
    assert catalog.pack(9) is None
    with catalog.transaction() as tx:
        tx.touch_packs([1, 1, 9])
    with catalog.transaction() as tx:
        assert tx.condemn_packs([2, 9]) == 3
        assert tx.packs_state([1, 2, 9]) == {1: "live", 2: "condemned"}
    with catalog.transaction() as tx:  # a condemned pack keeps the number of its condemnation
        tx.touch_packs([2])
        tx.condemn_packs([2])
    assert [(row.number, row.state, row.changed) for row in catalog.packs()] == [
        (1, "live", 2), (2, "condemned", 3), (3, "live", 1)]
    assert [row.number for row in catalog.packs("condemned")] == [2]
    assert [row.number for row in catalog.packs("live")] == [1, 3]
    with catalog.transaction() as tx:
        tx.remove_packs([2])
    assert [row.number for row in catalog.packs()] == [1, 3]


# -- blobs -----------------------------------------------------------------------------------------------------

FULL = BlobRow(d("full", "sha512") + "0" * 64, d("full"), "layer", "tar", 1 << 40, 7, 8, d("diff"), 1 << 41, 5, 1 << 39,
               True, "ü\0{}")


def test_a_row_comes_back_as_it_was(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        assert tx.add_blob(FULL)
        assert not tx.add_blob(FULL._replace(size=1))
    assert catalog.blob(FULL.digest) == FULL
    assert catalog.blob(FULL.sha256) == FULL
    assert catalog.blob(d("diff")) is None
    assert list(catalog.blobs()) == [FULL._replace(text=None)]
    assert catalog.document(FULL.digest) == "ü\0{}"
    assert list(catalog.documents([d("none"), FULL.sha256])) == [(FULL.sha256, "ü\0{}")]
    with catalog.transaction() as tx:
        tx.move_blobs([(FULL.digest, 70, 80)])
    assert catalog.blob(FULL.digest) == FULL._replace(pack=70, record=80)


def test_of_equal_layers_the_plain_one(catalog: Catalog) -> None:
    rows = [blob("0gz", "layer", diff_id=d("plain")), blob("plain", "layer", diff_id=d("plain")),
            blob("zst", "layer", diff_id=d("plain"))]
    for row, best in zip([rows[0], rows[2], rows[1]], [rows[0], rows[0], rows[1]], strict=True):
        with catalog.transaction() as tx:
            tx.add_blob(row)
        assert catalog.blob_by_diff_id(d("plain")) == best
    assert catalog.blob_by_diff_id(d("other")) is None


def test_all_blobs_in_batches_with_no_transaction_open(path: Path, catalog: Catalog) -> None:
    rows = sorted(blob(i, "document" if i % 3 == 0 else "layer") for i in range(1234))
    with catalog.transaction() as tx:
        for row in rows:
            tx.add_blob(row)
    assert list(catalog.blobs()) == rows
    assert list(catalog.blobs("document")) == [row for row in rows if row.kind == "document"]
    walk = catalog.blobs()
    next(walk)
    with catalog.transaction() as tx:
        tx.remove_blobs(row.digest for row in rows)
    # A read transaction that is still open would keep the log from being brought in.
    assert catalog._db.read("PRAGMA wal_checkpoint(TRUNCATE)") == [(0, 0, 0)]
    assert len(list(walk)) == 499


def test_exactly_one_batch(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        for i in range(500):
            tx.add_blob(blob(i))
    assert len(list(catalog.blobs())) == 500


# -- names -----------------------------------------------------------------------------------------------------


def test_names(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        assert tx.set_ref(ref("a/x:1", "one", 1)) is None
        assert tx.set_ref(ref("a/y:1", "one", 2)) is None
        assert tx.set_ref(ref("a%x:1", "two", 3)) is None
    assert catalog.ref("a/x:1") == ref("a/x:1", "one", 1)
    assert catalog.ref("A/X:1") is None
    assert [row.name for row in catalog.refs()] == ["a%x:1", "a/x:1", "a/y:1"]
    assert [row.name for row in catalog.refs("a/")] == ["a/x:1", "a/y:1"]
    assert [row.name for row in catalog.refs("a%")] == ["a%x:1"]
    assert [row.name for row in catalog.refs_to(d("one"))] == ["a/x:1", "a/y:1"]


def test_the_highest_number_wins(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.set_ref(ref("x", "five", 5))
        assert tx.set_ref(ref("x", "four", 4)) == ref("x", "five", 5)
        assert tx.set_ref(ref("x", "again", 5)) == ref("x", "five", 5)
    assert catalog.ref("x") == ref("x", "again", 5)
    with catalog.transaction() as tx:
        assert tx.remove_ref("x", 4) == ref("x", "again", 5)
    assert catalog.ref("x")
    with catalog.transaction() as tx:
        assert tx.remove_ref("x", 7) == ref("x", "again", 5)
        assert tx.remove_ref("y", 7) is None
        assert tx.set_ref(ref("x", "six", 6)) is None  # drawn before the removal, committed after it
        assert tx.set_ref(ref("y", "six", 6)) is None
    assert catalog.refs() == []
    assert catalog.refs_to(d("six")) == []
    with catalog.transaction() as tx:
        assert tx.set_ref(ref("x", "eight", 8)) is None
    assert catalog.refs() == [ref("x", "eight", 8)]


def test_below_a_checkpoint_nothing_is_committed(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.set_ref(ref("x", "one", 1))
        tx.remove_ref("gone", 2)
        tx.set_checkpoint(5)
        tx.set_checkpoint(3)
    assert catalog.checkpoint() == 5
    assert catalog.ref("x")
    assert catalog._db.read("SELECT COUNT(*) FROM refs") == [(1,)]
    with pytest.raises(ValueError, match="below the checkpoint"), catalog.transaction() as tx:
        tx.set_ref(ref("x", "two", 4))
    with pytest.raises(ValueError, match="below the checkpoint"), catalog.transaction() as tx:
        tx.remove_ref("x", 4)
    with catalog.transaction() as tx:
        tx.set_ref(ref("x", "two", 5))


# -- images ----------------------------------------------------------------------------------------------------


def image(name: str, config: str, **fields: object) -> ImageRow:
    return ImageRow(d(name), f"sha256:{config:0<64}", "2024-01-01T00:00:00Z", "linux", "arm64", "v8",
                    (d("l1"), d("l2")), 1 << 40, False)._replace(**fields)  # type: ignore[arg-type]


def test_images(catalog: Catalog) -> None:
    rows = sorted([image("a", "abc1"), image("b", "abc2"), image("c", "abc2", diff_ids=()), image("d", "ffff")])
    with catalog.transaction() as tx:
        for row in rows:
            tx.add_image(row)
    assert catalog.images() == rows
    assert catalog.image(d("a")) == rows[0]
    assert catalog.image(d("z")) is None
    by = {start: [row.manifest for row in catalog.images_by_config(start)] for start in
          ["abc1", "sha256:abc", "abc2", "f" * 4, "f" * 5, f"sha256:{'abc1':0<64}", f"{'abc1':0<64}", "", "abcg", "%", "ABC"]}
    assert by == {"abc1": [d("a")], "sha256:abc": [d("a"), d("b"), d("c")], "abc2": [d("b"), d("c")], "ffff": [d("d")],
                  "fffff": [], f"sha256:{'abc1':0<64}": [d("a")], f"{'abc1':0<64}": [d("a")], "": [], "abcg": [], "%": [],
                  "ABC": []}
    with catalog.transaction() as tx:
        tx.add_image(rows[0]._replace(whole=True, size=5))
    assert catalog.image(d("a")) == rows[0]._replace(whole=True, size=5)


# -- reach -----------------------------------------------------------------------------------------------------


def graph(catalog: Catalog) -> None:
    """index -> m1 -> (c1, base, l1); m2 -> (c2, base); lone."""
    edges = {"index": ["m1", "absent"], "m1": ["c1", "base", "l1"], "m2": ["c2", "base"]}
    with catalog.transaction() as tx:
        for name in ["index", "m1", "m2", "c1", "c2", "base", "l1", "lone"]:
            tx.add_blob(blob(name))
        for parent, children in edges.items():
            tx.add_edges(d(parent), [d(child) for child in children])
            tx.add_edges(d(parent), [d(child) for child in children])


def names(digests: set[str]) -> set[str]:
    return {bytes.fromhex(digest.partition(":")[2]).strip(b"\0").decode() for digest in digests}


def test_edges(catalog: Catalog) -> None:
    graph(catalog)
    assert catalog.children(d("m1")) == sorted([d("c1"), d("base"), d("l1")])
    assert catalog.parents(d("base")) == [d("m1"), d("m2")]
    assert catalog.children(d("lone")) == []


def test_reach(catalog: Catalog) -> None:
    graph(catalog)
    assert len(catalog.unreachable()) == 8
    with catalog.transaction() as tx:
        tx.set_ref(ref("x", "index", 1))
        assert names(tx.unreachable()) == {"m2", "c2", "lone"}
        tx.add_lease("L", "load")
        tx.hold("L", d("m2"))
        assert names(tx.unreachable()) == {"lone"}
        tx.remove_ref("x", 2)
        assert names(tx.unreachable()) == {"index", "m1", "c1", "l1", "lone"}
        tx.remove_lease("L")
        assert len(tx.unreachable()) == 8
        assert names(tx.reachable_from([d("m2"), d("lone")])) == {"m2", "c2", "base", "lone"}
    assert names(catalog.reachable_from([d("index")])) == {"index", "absent", "m1", "c1", "base", "l1"}
    assert catalog.reachable_from([]) == set()
    assert len(catalog.reachable_from(d(i) for i in range(1001))) == 1001


def test_a_loop_of_edges_ends(catalog: Catalog) -> None:
    with catalog.transaction() as tx:
        tx.add_blob(blob("a"))
        tx.add_edges(d("a"), [d("b"), d("a")])
        tx.add_edges(d("b"), [d("a")])
    assert names(catalog.reachable_from([d("a")])) == {"a", "b"}


def test_what_is_named_by_its_other_digest_is_reached(catalog: Catalog) -> None:
    other = d("m", "sha512")
    with catalog.transaction() as tx:
        tx.add_blob(blob("m", digest=other))
        tx.add_blob(blob("layer", digest=d("layer", "sha512")))
        tx.add_edges(other, [d("layer")])
        assert len(tx.unreachable()) == 2
        tx.set_ref(ref("x", "m", 1))  # by sha256
        assert tx.unreachable() == set()


def test_removed_blobs_take_their_edges_and_images_along(catalog: Catalog) -> None:
    graph(catalog)
    with catalog.transaction() as tx:
        tx.add_image(image("m1", "abc"))
        tx.remove_blobs([d("m1"), d("c1")])
    assert catalog.blob(d("m1")) is None
    assert catalog.images() == []
    assert catalog.children(d("m1")) == []
    assert catalog.parents(d("m1")) == [d("index")]
    assert catalog.blob(d("base"))


def test_the_graph_uses_indexes(catalog: Catalog) -> None:
    """A scan of edges for each step would make collection quadratic."""
    from lamina.store import graph as module

    for sql, values in [(module._UNREACHABLE, ()), (module._REACHED.format(seeds=" UNION ALL SELECT ?"), ("x",))]:
        plan = " | ".join(row[3] for row in catalog._db.read("EXPLAIN QUERY PLAN " + sql, values))
        assert "SEARCH edges" in plan
        assert "SCAN edges" not in plan
