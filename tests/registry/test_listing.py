"""Tags and referrers: lists that a registry may make as long and as wrong as it likes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from contracts.samples import config_bytes, describe, index_bytes, manifest_bytes, put, put_image

from lamina.digest import Digest
from lamina.errors import Conflict, InvalidContent, LaminaError, LimitExceeded, NotFound, RegistryError, RegistryUnavailable
from lamina.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from lamina.oci import Descriptor
from lamina.registry.referrers import referrers_tag
from lamina.registry.target import RegistryTarget
from registry.fake import Fake
from registry.kit import NAME, target_of
from registry.server import Exchange, Server

TAGS, REFERRERS = "/tags/list", "/referrers/"
Page = Callable[[Exchange], bool]


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as fake:
        yield fake


@pytest.fixture
def target(fake: Fake) -> Iterator[RegistryTarget]:
    with target_of(fake) as target:
        yield target


def page(document: object, link: str = "", media_type: str = "application/json", **headers: str) -> Page:
    def hook(exchange: Exchange) -> bool:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        more = {"Link": link.replace("N", str(next(numbers)))} if link else {}
        exchange.reply(200, {"Content-Type": media_type} | more | given, json.dumps(document).encode())
        return True
    numbers = itertools.count()
    return hook


# -- tags


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_tags_page_by_page(fake: Fake, target: RegistryTarget, size: int) -> None:
    fake.page = size
    manifest = put_image(target, b"layer")
    for number in range(7):
        target.tag(manifest, f"v{number}")
    assert list(target.tags()) == [f"v{number}" for number in range(7)]
    assert len(fake.asked("GET", TAGS)) == max(1, -(-7 // size))


def test_no_tags(fake: Fake, target: RegistryTarget) -> None:
    assert list(target.tags()) == []
    put(target, b"a layer alone")
    assert list(target.tags()) == []  # null, as docker's registry says it


def test_pages_are_asked_for_as_they_are_needed(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", TAGS, page({"tags": ["a", "b"]}, '<?n=2&last=N>; rel="next"'))
    assert list(itertools.islice(target.tags(), 5)) == ["a", "b", "a", "b", "a"]
    assert len(fake.asked("GET", TAGS)) == 3


@pytest.mark.parametrize("link", [
    '</v2/some/repo/tags/list?n=1000>; rel="next"', '<?n=7>; rel=next', '<#>; rel="next"', '</v2/x>;a=b; REL="next" ; c=d'])
def test_a_loop(fake: Fake, target: RegistryTarget, link: str) -> None:
    fake.fault("GET", "", page({"tags": ["a"]}, link))
    with pytest.raises(RegistryError, match="no end"):
        list(target.tags())
    assert len(fake.seen) < 4


def test_pages_without_end_that_bring_nothing(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", TAGS, page({"tags": []}, '<?last=N>; rel="next"'))
    with pytest.raises(RegistryError, match="no end"):
        list(target.tags())
    assert len(fake.seen) < 20


def test_pages_without_end(fake: Fake, target: RegistryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.following.MAX_PAGES", 50)
    fake.fault("GET", TAGS, page({"tags": ["a"]}, '<?last=N>; rel="next"'))
    with pytest.raises(LimitExceeded, match="too many pages"):
        list(target.tags())
    assert len(fake.seen) == 50


def test_ten_million_tags(fake: Fake, target: RegistryTarget) -> None:
    many = page({"tags": [f"tag{number}" for number in range(200_000)]}, '<?last=N>; rel="next"')
    fake.fault("GET", TAGS, many)
    with pytest.raises(LimitExceeded, match="at most 1000000"):
        for _ in target.tags():
            pass
    assert len(fake.seen) == 6


def test_a_page_that_is_too_large(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", TAGS, page({"tags": ["x" * 100] * 50_000}))
    with pytest.raises(LimitExceeded):
        list(target.tags())


@pytest.mark.parametrize("tag", ["../../etc/passwd", "", "a b", "a\nb", "-x", "x" * 129, "\x1b[2J", 7, None, ["a"], {"a": 1}])
def test_tags_that_are_none(fake: Fake, target: RegistryTarget, tag: object) -> None:
    fake.fault("GET", TAGS, page({"tags": ["good", tag]}))
    with pytest.raises(InvalidContent) as caught:
        list(target.tags())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("document", [[], "x", {"tags": "abc"}, {"tags": {"a": 1}}, {"tags": 7}])
def test_a_list_that_is_none(fake: Fake, target: RegistryTarget, document: object) -> None:
    fake.fault("GET", TAGS, page(document))
    with pytest.raises(InvalidContent):
        list(target.tags())


def test_html_is_no_list(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", TAGS, page({}, media_type="text/html"))
    with pytest.raises(RegistryError, match="not a registry"):
        list(target.tags())


def test_a_next_page_at_another_origin(fake: Fake, target: RegistryTarget) -> None:
    with Server(page({"tags": ["b"]})) as other:  # type: ignore[arg-type]
        fake.fault("GET", TAGS, page({"tags": ["a"]}, f'<{other.base}/v2/some/repo/tags/list>; rel="next"'))
        with pytest.raises(RegistryError, match="another origin"):
            list(target.tags())
        assert not other.seen


@pytest.mark.parametrize("link", ['<file:///etc/passwd>; rel="next"', '<>; rel="next"', '<http://[::1>; rel="next"'])
def test_a_next_page_that_is_none(fake: Fake, target: RegistryTarget, link: str) -> None:
    fake.fault("GET", TAGS, page({"tags": ["a"]}, link))
    with pytest.raises(RegistryError):
        list(target.tags())


@pytest.mark.parametrize("link", [
    "<?a>", '<?a>; rel="prev"', '<?a>; rel="nextish"', "nonsense", "<" * 10_000, "<a>" + ";" * 8000])
def test_other_links(fake: Fake, target: RegistryTarget, link: str) -> None:
    fake.fault("GET", TAGS, page({"tags": ["a"]}, link))
    assert list(target.tags()) == ["a"]


def test_the_registry_is_asked_for_tags_before_its_mirrors(fake: Fake) -> None:
    with Fake() as mirror, target_of(mirror, fake) as target:
        mirror.fault("GET", TAGS, page({"tags": ["old"]}))
        fake.fault("GET", TAGS, page({"tags": ["new"]}), times=1)
        fake.fault("GET", TAGS, lambda exchange: exchange.cut(), skip=1)
        assert list(target.tags()) == ["new"]
        assert list(target.tags()) == ["old"]


def test_tags_that_go_meanwhile(fake: Fake, target: RegistryTarget) -> None:
    manifest = put_image(target, b"layer")
    target.tag(manifest, "stays")
    fake.fault("GET", TAGS, page({"tags": ["goes", "stays"]}))
    assert [(name, found.digest) for name, found in target.references()] == [(f"{NAME.name}:stays", manifest.digest)]


# -- referrers


def signature(subject: Descriptor, number: int = 0, kind: str = "x/signature") -> bytes:
    config = describe(config_bytes([]), OCI_CONFIG)
    return manifest_bytes(config, [], subject=subject.to_json(), artifactType=kind, annotations={"number": str(number)})


@pytest.mark.parametrize("api", [True, False])
def test_referrers(fake: Fake, target: RegistryTarget, api: bool) -> None:
    fake.referrers, fake.page = api, 2
    image = put_image(target, b"layer")
    assert list(target.referrers(image)) == []
    one = [put(target, signature(image, number), OCI_MANIFEST) for number in range(3)]
    two = [put(target, signature(image, number, "x/sbom"), OCI_MANIFEST) for number in range(2)]
    put(target, signature(image, 1), OCI_MANIFEST)
    assert [found.digest for found in target.referrers(image)] == [found.digest for found in one + two]
    assert [found.digest for found in target.referrers(image, "x/sbom")] == [found.digest for found in two]
    first = next(target.referrers(image))
    assert (first.media_type, first.artifact_type, first.annotations) == (OCI_MANIFEST, "x/signature", {"number": "0"})
    here = fake.repositories[NAME.path]
    assert bool(here.tags) is not api
    if not api:  # What was pushed twice stands there once.
        assert len(json.loads(here.manifests[here.tags[referrers_tag(image.digest)]][1])["manifests"]) == 5


def test_the_type_of_a_referrer_is_that_of_its_config(fake: Fake, target: RegistryTarget) -> None:
    fake.referrers = False
    image = put_image(target, b"layer")
    plain = manifest_bytes(describe(b"{}", "x/config"), [], subject=image.to_json())
    put(target, plain, OCI_MANIFEST)
    index = json.dumps(json.loads(index_bytes([image])) | {"subject": image.to_json(), "artifactType": "x/index"}).encode()
    put(target, index, OCI_INDEX)
    assert [found.artifact_type for found in target.referrers(image)] == ["x/config", "x/index"]


def test_filters_that_were_not_applied(fake: Fake, target: RegistryTarget) -> None:
    entries = [describe(b"1", OCI_MANIFEST).to_json() | {"artifactType": kind} for kind in ("x/a", "x/b")]
    document = {"schemaVersion": 2, "manifests": [entries[0], {**entries[1], "digest": Digest.of(b"2")}]}
    fake.fault("GET", REFERRERS, page(document, media_type=OCI_INDEX))
    assert [found.artifact_type for found in target.referrers(describe(b"x"), "x/b")] == ["x/b"]


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_no_such_api(fake: Fake, target: RegistryTarget, status: int) -> None:
    fake.referrers = False
    image = put_image(target, b"layer")
    put(target, signature(image), OCI_MANIFEST)
    fake.fault("GET", REFERRERS, lambda exchange: (exchange.reply(status), True)[-1])
    assert len(list(target.referrers(image))) == 1


@pytest.mark.parametrize("document", [
    {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": "sha256:x", "size": 1}]},
    {"schemaVersion": 2, "manifests": "x"}, [], {"schemaVersion": 2, "manifests": [], "config": {}},
    {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": Digest.of(b"x"), "size": -1}]}])
def test_referrers_that_are_none(fake: Fake, target: RegistryTarget, document: object) -> None:
    fake.fault("GET", REFERRERS, page(document, media_type=OCI_INDEX))
    with pytest.raises(InvalidContent):
        list(target.referrers(describe(b"x")))


def test_html_instead_of_referrers(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", REFERRERS, page({}, media_type="text/html"))
    with pytest.raises(RegistryError, match="not a registry"):
        list(target.referrers(describe(b"x")))


def test_referrers_without_end(fake: Fake, target: RegistryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.referrers.MAX_REFERRERS", 1000)
    entries = [describe(str(number).encode(), OCI_MANIFEST).to_json() for number in range(300)]
    fake.fault("GET", REFERRERS, page({"schemaVersion": 2, "manifests": entries}, '<?N>; rel="next"', OCI_INDEX))
    with pytest.raises(LimitExceeded):
        list(target.referrers(describe(b"x")))
    assert len(fake.seen) == 4


def test_a_list_that_breaks_off(fake: Fake, target: RegistryTarget) -> None:
    document = {"schemaVersion": 2, "manifests": [describe(b"1", OCI_MANIFEST).to_json()]}
    fake.fault("GET", REFERRERS, lambda exchange: (exchange.reply(404), True)[-1])
    fake.fault("GET", REFERRERS, page(document, '<?N>; rel="next"', OCI_INDEX), times=1)
    with pytest.raises(LaminaError):
        list(target.referrers(describe(b"x")))


def test_the_tag_keeps_what_its_index_holds(fake: Fake, target: RegistryTarget) -> None:
    fake.referrers = False
    image = put_image(target, b"layer")
    other = put_image(target, b"other")
    index = json.dumps(json.loads(index_bytes([other])) | {"annotations": {"kept": "yes"}, "x-field": [1]}).encode()
    target.tag(put(target, index, OCI_INDEX), referrers_tag(image.digest))
    one = put(target, signature(image), OCI_MANIFEST)
    here = fake.repositories[NAME.path]
    document = json.loads(here.manifests[here.tags[referrers_tag(image.digest)]][1])
    assert [entry["digest"] for entry in document["manifests"]] == [other.digest, one.digest]
    assert (document["annotations"], document["x-field"]) == ({"kept": "yes"}, [1])


def test_a_tag_that_is_no_index_is_left(fake: Fake, target: RegistryTarget) -> None:
    fake.referrers = False
    image, other = put_image(target, b"layer"), put_image(target, b"other")
    target.tag(other, referrers_tag(image.digest))
    with pytest.raises(Conflict):
        put(target, signature(image), OCI_MANIFEST)
    assert fake.repositories[NAME.path].tags == {referrers_tag(image.digest): other.digest}
    assert list(target.referrers(image)) == []


def test_the_tag_is_full_at_some_time(fake: Fake, target: RegistryTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.referrers.MAX_MANIFESTS", 2)
    fake.referrers = False
    image = put_image(target, b"layer")
    for number in range(2):
        put(target, signature(image, number), OCI_MANIFEST)
    with pytest.raises(LimitExceeded):
        put(target, signature(image, 2), OCI_MANIFEST)


def test_the_tag_is_written_by_one_thread_at_a_time(fake: Fake, target: RegistryTarget) -> None:
    fake.referrers = False
    image = put_image(target, b"layer")
    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(lambda number: put(target, signature(image, number), OCI_MANIFEST).digest, range(12)))
    assert {found.digest for found in target.referrers(image)} == set(pushed)


@pytest.mark.parametrize(("algorithm", "expected"), [("sha256", 64), ("sha512", 64)])
def test_the_name_of_the_tag(algorithm: str, expected: int) -> None:
    digest = Digest.of(b"x", algorithm)
    assert referrers_tag(digest) == f"{algorithm}-{digest.hex[:expected]}"


def test_unavailable_is_not_unknown(fake: Fake, target: RegistryTarget) -> None:
    fake.fault("GET", REFERRERS, lambda exchange: exchange.cut())
    with pytest.raises(RegistryUnavailable):
        list(target.referrers(describe(b"x")))
    with pytest.raises(NotFound):
        target.resolve("none")
