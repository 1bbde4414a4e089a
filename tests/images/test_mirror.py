"""`mirror`: what is copied, what is left, what is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina.digest import Digest
from lamina.errors import DigestMismatch, NotFound, RegistryError, RegistryUnavailable
from lamina.images import ImageStore
from lamina.images.mirror import Mirrored, mirror
from lamina.images.mirrorfile import parse_mirror
from lamina.oci import Descriptor, Platform, is_index

from .archives import layer
from .remotes import AMD64, FakeNetwork, FakeRemote, put_artifact


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageStore]:
    monkeypatch.setattr(Platform, "host", classmethod(lambda cls: AMD64))
    with lamina.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
def source(network: FakeNetwork) -> FakeRemote:
    """Three tags."""
    remote = network["r.test/app"]
    for tag in ("1.0", "1.1", "2.0-rc1"):
        remote.image(tag, text=tag)
    return remote


class Mirror:
    def __init__(self, store: ImageStore, network: FakeNetwork) -> None:
        self.store, self.network = store, network

    def __call__(self, text: str, **options: bool) -> list[Mirrored]:
        return mirror(self.store.blobs, self.network, parse_mirror(text, "m.yaml"), **options)  # type: ignore[arg-type]

    def one(self, text: str = "", **options: bool) -> Mirrored:
        """One entry of `r.test/app`, with this besides; its errors are raised."""
        result = self("- {from: r.test/app" + (f", {text}" if text else "") + "}", **options)[0]
        for error in (result.error, *result.failed.values()):
            if error is not None:
                raise error
        return result

    def names(self) -> set[str]:
        return {f"{row.repository}:{row.tag}" for row in self.store.images(all=True)}


@pytest.fixture
def keep(store: ImageStore, network: FakeNetwork) -> Mirror:
    return Mirror(store, network)


def digest_of(keep: Mirror, name: str) -> str:
    return keep.store.blobs.resolve(name).digest


# -- into the store


def test_all_tags_come_and_the_next_time_none(keep: Mirror, source: FakeRemote) -> None:
    assert keep.one().copied == ["1.0", "1.1", "2.0-rc1"]
    assert keep.names() == {"r.test/app:1.0", "r.test/app:1.1", "r.test/app:2.0-rc1"}
    source.asked.clear()
    again = keep.one()
    assert (again.copied, again.current) == ([], ["1.0", "1.1", "2.0-rc1"])
    assert source.asked == ["tags", "HEAD 1.0", "HEAD 1.1", "HEAD 2.0-rc1"]


def test_only_what_differs_is_copied(keep: Mirror, source: FakeRemote) -> None:
    keep.one()
    image = source.image("1.1", text="new")
    assert (keep.one().copied, digest_of(keep, "r.test/app:1.1")) == (["1.1"], image.digest)


def test_patterns_choose(keep: Mirror, source: FakeRemote) -> None:
    assert keep.one("tags: ['*.0*'], exclude: '*-rc*'").copied == ["1.0"]


def test_under_another_name(keep: Mirror, source: FakeRemote) -> None:
    keep.one("to: 'store:other', tags: 1.0")
    assert keep.names() == {"other:1.0"}
    assert keep.one("to: 'store:other', tags: 1.0").current == ["1.0"]


def test_all_platforms_or_those_that_are_named(keep: Mirror, network: FakeNetwork) -> None:
    root, amd, arm = network["r.test/app"].index("1")

    def has(one: Descriptor) -> bool:
        return keep.store.blobs.catalog.blob(one.digest) is not None

    assert keep.one("platforms: linux/arm64").copied == ["1"]
    assert (has(root), has(amd), has(arm)) == (True, False, True)
    assert keep.one("platforms: [linux/arm64, linux/s390x]").current == ["1"]
    assert keep.one("platforms: [linux/arm64, linux/amd64]").copied == ["1"]
    assert has(amd)
    assert keep.one().current == ["1"]


def test_a_tag_for_no_wanted_platform_is_passed_over(keep: Mirror, source: FakeRemote) -> None:
    result = keep.one("platforms: linux/arm64")
    assert (result.copied, result.skipped) == ([], ["1.0", "1.1", "2.0-rc1"])
    assert "does not match the specified platform" in result.warnings[0]
    assert keep.names() == set()


def test_referrers_come_to_what_has_not_changed(keep: Mirror, source: FakeRemote) -> None:
    keep.one("tags: 1.0")
    signature = put_artifact(source, source.resolve("1.0"), b"signature")
    assert keep.one("tags: 1.0").current == ["1.0"]
    assert keep.one("tags: 1.0, referrers: true").copied == ["1.0"]
    assert keep.store.blobs.catalog.blob(signature.digest)
    assert keep.one("tags: 1.0, referrers: true").current == ["1.0"]


# -- taking away


def test_pruning_takes_what_is_gone_and_matches(keep: Mirror, source: FakeRemote) -> None:
    keep.one()
    keep.store.tag("r.test/app:1.0", "r.test/app:mine")
    keep.store.tag("r.test/app:1.0", "r.test/app2:1.9")
    del source._references["1.1"]
    del source._references["2.0-rc1"]
    assert keep.one("tags: '[0-9]*', exclude: '*-rc*'").removed == []
    result = keep.one("tags: '[0-9]*', exclude: '*-rc*', prune: true")
    assert (result.removed, result.current) == (["1.1"], ["1.0"])
    assert keep.names() == {"r.test/app:1.0", "r.test/app:2.0-rc1", "r.test/app:mine", "r.test/app2:1.9"}


def test_a_dry_run_changes_nothing(keep: Mirror, source: FakeRemote) -> None:
    keep.one("tags: '1.*'")
    del source._references["1.1"]
    sequence = keep.store.blobs.catalog.sequence()
    result = keep.one("prune: true", dry_run=True)
    assert (result.copied, result.current, result.removed) == (["2.0-rc1"], ["1.0"], ["1.1"])
    assert keep.store.blobs.catalog.sequence() == sequence
    keep.one("to: s.test/app", dry_run=True)
    assert keep.network["s.test/app"]._blobs == {}


@pytest.mark.parametrize("lost", ["all", "repository", "one broken"])
def test_nothing_is_taken_away_where_something_is_wrong(keep: Mirror, source: FakeRemote, lost: str) -> None:
    keep.one()
    if lost == "all":
        source._references.clear()
    elif lost == "repository":
        source.down = RegistryUnavailable("no answer", "r.test")
    else:
        del source._references["1.1"]
        source.image("1.0", text="broken")
        source._blobs.pop(Digest.of(layer(a="broken" * 500)))
    result = keep("- {from: r.test/app, prune: true}")[0]
    assert not result.ok
    assert result.removed == []
    assert keep.names() == {"r.test/app:1.0", "r.test/app:1.1", "r.test/app:2.0-rc1"}


# -- into a registry


def test_into_another_registry(keep: Mirror, source: FakeRemote) -> None:
    assert keep.one("to: s.test/mirror/app").copied == ["1.0", "1.1", "2.0-rc1"]
    target = keep.network["s.test/mirror/app"]
    assert {tag: target.resolve(tag).digest for tag in target.tags()} == {
        tag: source.resolve(tag).digest for tag in source.tags()}
    assert keep.names() == set()
    source.asked.clear()
    target.asked.clear()
    assert keep.one("to: s.test/mirror/app").current == ["1.0", "1.1", "2.0-rc1"]
    assert source.asked == ["tags", "HEAD 1.0", "HEAD 1.1", "HEAD 2.0-rc1"]
    assert not [one for one in target.asked if not one.startswith("HEAD")]


def test_within_a_registry_blobs_are_mounted(keep: Mirror, source: FakeRemote) -> None:
    keep.one("to: r.test/copy")
    assert keep.network["r.test/copy"].mounted


def test_one_platform_goes_by_itself_several_with_their_index(keep: Mirror, network: FakeNetwork) -> None:
    root, _, arm = network["r.test/app"].index("1")
    keep.one("to: s.test/app, platforms: linux/arm64")
    target = network["s.test/app"]
    assert target.resolve("1").digest == arm.digest
    assert keep.one("to: s.test/app, platforms: linux/arm64").current == ["1"]
    assert keep.one("to: s.test/two, platforms: [linux/arm64, linux/s390x]").copied == ["1"]
    assert network["s.test/two"].resolve("1").digest == root.digest
    assert keep.one("to: s.test/three, platforms: [linux/riscv64, linux/s390x]").skipped == ["1"]


def test_a_registry_that_wants_whole_indexes(keep: Mirror, network: FakeNetwork) -> None:
    network["r.test/app"].index("1")

    class Strict(FakeRemote):
        def push(self, descriptor: Descriptor, reader: object) -> None:
            if is_index(descriptor.media_type):
                raise RegistryError("MANIFEST_UNKNOWN", self.name)
            super().push(descriptor, reader)  # type: ignore[arg-type]

    network.repositories["s.test/app"] = Strict("s.test/app")
    with pytest.raises(RegistryError, match="name one, or none"):
        keep.one("to: s.test/app, platforms: [linux/amd64, linux/s390x]")


def test_pruning_a_registry(keep: Mirror, source: FakeRemote) -> None:
    keep.one("to: s.test/app")
    del source._references["1.1"]
    assert keep.one("to: s.test/app, prune: true").removed == ["1.1"]
    assert list(keep.network["s.test/app"].tags()) == ["1.0", "2.0-rc1"]


def test_lists_of_referrers_stay(keep: Mirror, source: FakeRemote) -> None:
    kept = f"sha256-{'0' * 64}"
    source.image(kept)
    keep.one("to: s.test/app")
    target = keep.network["s.test/app"]
    assert kept not in target.tags()
    target.image(kept)
    del source._references[kept]
    assert keep.one("to: s.test/app, prune: true").removed == []
    assert kept in target.tags()


def test_a_registry_that_does_not_delete_by_tag(keep: Mirror, source: FakeRemote) -> None:
    keep.one("to: s.test/app")
    keep.network["s.test/app"].deletes = False
    source._references.pop("1.0")
    source._references.pop("1.1")
    result = keep.one("to: s.test/app, prune: true")
    assert (result.removed, result.ok) == ([], True)
    assert result.warnings == ["s.test/app does not delete by tag, so these stay: 1.0, 1.1"]


# -- what goes wrong


def test_what_fails_does_not_keep_the_others(keep: Mirror, source: FakeRemote) -> None:
    keep.network["r.test/down"].down = RegistryUnavailable("no answer", "r.test")
    source._blobs.pop(Digest.of(layer(a="1.0" * 500)))
    down, gone, app = keep("- from: r.test/down\n- from: r.test/gone\n- from: r.test/app")
    assert isinstance(down.error, RegistryUnavailable) and isinstance(gone.error, NotFound)
    assert (app.copied, list(app.failed), app.ok) == (["1.1", "2.0-rc1"], ["1.0"], False)
    assert keep.names() == {"r.test/app:1.1", "r.test/app:2.0-rc1"}


def test_a_registry_that_goes_away_is_not_asked_for_each_tag(keep: Mirror, source: FakeRemote) -> None:
    source.cut.update(source._blobs)
    result = keep("- from: r.test/app")[0]
    assert isinstance(result.error, RegistryUnavailable)
    assert "HEAD 1.1" not in source.asked and "GET 1.1" not in source.asked


def test_wrong_bytes_of_one_tag(keep: Mirror, source: FakeRemote) -> None:
    digest = Digest.of(layer(a="1.1" * 500))
    held, data = source._blobs[digest]
    source._blobs[digest] = (held, data[:-1] + b"!")
    result = keep("- from: r.test/app")[0]
    assert isinstance(result.failed["1.1"], DigestMismatch)
    assert result.copied == ["1.0", "2.0-rc1"]


def test_no_tag_matches(keep: Mirror, source: FakeRemote) -> None:
    with pytest.raises(NotFound, match="no tag matches"):
        keep.one("tags: 9.*")


def test_a_mirror_that_is_killed_can_go_on(keep: Mirror, source: FakeRemote) -> None:
    keep.one("to: other.test/app")
    assert keep.network.journalled == ["other.test/app"]


def test_the_destination_itself_is_asked_and_no_mirror_of_it(keep: Mirror, source: FakeRemote,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(reference: str) -> None:
        raise AssertionError("a mirror may say what was so yesterday")

    monkeypatch.setattr(keep.network["other.test/app"], "head", stale)
    assert keep.one("to: other.test/app").copied == ["1.0", "1.1", "2.0-rc1"]
