"""What pushes remember: found again, bounded, gone with what it was made of, and no reason for a catalog to be refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lamina.store import remembered
from lamina.store.catalog import Catalog
from lamina.store.remembered import EncodingRow, PushRow
from lamina.store.schema import BlobRow


def d(name: object) -> str:
    return f"sha256:{str(name).encode().hex():0>64}"


def encoding(plain: str = "layer", settings: str = "gzip:2", digest: str = "packed") -> EncodingRow:
    return EncodingRow(d(plain), settings, d(digest), "media", 10)


def push(repository: str = "docker.io/library/app", manifest: str = "made", settings: str = "gzip:2",
         digest: str = "pushed") -> PushRow:
    return PushRow(repository, d(manifest), settings, d(digest), "media", '{"ä": 1}')


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.create(tmp_path / "catalog.sqlite") as catalog:
        with catalog.transaction() as tx:
            for name in ("layer", "made", "other"):
                tx.add_blob(BlobRow(d(name), d(name), "blob", "media", 10, 1, 2))
        yield catalog


def test_an_encoding_is_found_by_layer_and_settings(catalog: Catalog) -> None:
    memory = catalog.remembered
    assert memory.encoding(d("layer"), "gzip:2") is None
    memory.add_encoding(encoding())
    memory.add_encoding(encoding(settings="zstd:3", digest="smaller"))
    assert memory.encoding(d("layer"), "gzip:2") == encoding()
    memory.add_encoding(encoding(digest="by a newer library"))
    assert memory.encoding(d("layer"), "gzip:2") == encoding(digest="by a newer library")
    assert memory.encoding(d("layer"), "zstd:3") == encoding(settings="zstd:3", digest="smaller")


def test_a_push_is_found_by_repository_manifest_and_settings(catalog: Catalog) -> None:
    memory = catalog.remembered
    memory.add_push(push())
    memory.add_push(push(settings="zstd:3", digest="smaller"))
    memory.add_push(push(repository="elsewhere.test/app", digest="there"))
    assert memory.push("docker.io/library/app", d("made"), "gzip:2") == push()
    assert push().size == len('{"ä": 1}'.encode())
    assert memory.push("docker.io/library/app", d("other"), "gzip:2") is None
    # The last one that was pushed is what the repository's digest is shown as.
    assert memory.digests() == {("docker.io/library/app", d("made")): d("smaller"),
                                ("elsewhere.test/app", d("made")): d("there")}
    memory.add_push(push())
    assert memory.digests()["docker.io/library/app", d("made")] == d("pushed")


def test_what_is_gone_is_forgotten_and_not_remembered_anew(catalog: Catalog) -> None:
    memory = catalog.remembered
    memory.add_encoding(encoding())
    memory.add_encoding(encoding(plain="other"))
    memory.add_push(push())
    memory.add_push(push(manifest="other"))
    with catalog.transaction() as tx:
        tx.remove_blobs([d("layer"), d("made")])
    for _ in range(2):
        assert memory.encoding(d("layer"), "gzip:2") is None
        assert memory.push("docker.io/library/app", d("made"), "gzip:2") is None
        assert memory.encoding(d("other"), "gzip:2") and memory.push("docker.io/library/app", d("other"), "gzip:2")
        memory.add_encoding(encoding())
        memory.add_push(push())


def test_places_are_told_the_latest_first(catalog: Catalog) -> None:
    memory = catalog.remembered
    memory.add_places("docker.io", "library/a", [d(1), d(2)])
    memory.add_places("docker.io", "library/b", [d(1)])
    memory.add_places("elsewhere.test", "c", [d(1)])
    assert memory.places("docker.io", d(1)) == ["library/b", "library/a"]
    memory.add_places("docker.io", "library/a", [d(1), d(1)])
    assert memory.places("docker.io", d(1)) == ["library/a", "library/b"]
    memory.drop_place("docker.io", "library/a", d(1))
    assert memory.places("docker.io", d(1)) == ["library/b"]
    assert memory.places("docker.io", d(2)) == ["library/a"]
    assert memory.places("docker.io", d(3)) == []


def test_rows_are_bounded_and_the_newest_win(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_PLACES", 5)
    monkeypatch.setattr(remembered, "MOST_PUSHES", 2)
    memory = catalog.remembered
    for number in range(9):
        memory.add_places("docker.io", "library/a", [d(number)])
        memory.add_push(push(repository=f"host/{number}"))
    assert [number for number in range(9) if memory.places("docker.io", d(number))] == [4, 5, 6, 7, 8]
    assert sorted(repository for repository, _ in memory.digests()) == ["host/7", "host/8"]
    memory.add_places("docker.io", "library/b", map(d, range(20)))
    assert [number for number in range(20) if memory.places("docker.io", d(number))] == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("open_", [Catalog.open, lambda path: Catalog.rebuild(path, lambda _: None, timeout=0.2)])
def test_a_catalog_of_before_gets_the_tables(tmp_path: Path, open_: Callable[[Path], Catalog]) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog.create(path).close()
    with closing(sqlite3.connect(path)) as connection:
        for table in remembered.TABLES:
            connection.execute(f"DROP TABLE {table}")
    with open_(path) as catalog:
        assert catalog.remembered.digests() == {}
        catalog.remembered.add_places("docker.io", "library/a", [d(1)])
    with Catalog.open(path) as catalog:
        assert catalog.remembered.places("docker.io", d(1)) == ["library/a"]
