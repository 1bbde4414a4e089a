"""Pushes, deletions, rules, and names that are ours and not the upstream's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from registry.fake import Fake
from registry.served.kit import Reply

from images.served_proxy.kit import Front, front, publish, small
from lamina.digest import Digest
from lamina.images.served.proxied.routes import Routes
from lamina.oci import OCI_MANIFEST
from lamina.registry.server.admission import AllowAll, Grant
from lamina.registry.server.refusal import Refusal


@pytest.fixture
def hub(fake: Fake, tmp_path: Path) -> Iterator[Front]:
    """docker.io by its name, beside repositories of ours."""
    with front(tmp_path / "hub", ("docker.io", fake.base)) as made:
        yield made


@pytest.fixture
def mirror(fake: Fake, tmp_path: Path) -> Iterator[Front]:
    """docker.io at the root, as docker's registry-mirrors wants it."""
    with front(tmp_path / "mirror", ("", fake.base)) as made:
        yield made


def _push(served: Front, name: str, text: str = "ours", tag: str = "1") -> Reply:
    one = small(text)
    for data in (one.config, *one.layers):
        reply = served.server.ask("POST", f"/v2/{name}/blobs/uploads/?digest={Digest.of(data)}", data)
        if reply.status != 201:
            return reply
    return served.server.ask("PUT", f"/v2/{name}/manifests/{tag}", one.manifest, {"Content-Type": OCI_MANIFEST})


def test_pushes_are_refused(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    served.get("hub.test/app/manifests/1")
    digest = Digest.of(one.config)
    for method, path in (("POST", "blobs/uploads/"), ("POST", f"blobs/uploads/?mount={digest}&from=other"),
                         ("POST", f"blobs/uploads/?digest={digest}"), ("PUT", "manifests/1")):
        reply = served.server.ask(method, f"/v2/hub.test/app/{path}", one.manifest)
        assert (reply.status, reply.code) == (405, "UNSUPPORTED"), path
    assert served.server.ask("PATCH", "/v2/hub.test/app/blobs/uploads/0", b"x").status == 404
    assert not [each for each in fake.seen if each.method not in ("GET", "HEAD")]
    assert _push(served, "team/app").status == 201, "the rest is ours"


def test_deletions_take_away_what_is_kept(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1")
    served.get("hub.test/app/manifests/1")
    assert served.server.ask("DELETE", "/v2/hub.test/app/manifests/1").status == 202
    assert served.names() == [f"hub.test/app@{one.digest}"]
    assert served.get("hub.test/app/manifests/1").status == 200, "it comes again"
    assert served.server.ask("DELETE", f"/v2/hub.test/app/manifests/{one.digest}").status == 202
    assert served.names() == []
    assert served.server.ask("DELETE", f"/v2/hub.test/app/manifests/{one.digest}").status == 404
    layer = Digest.of(one.layers[0])
    served.get(f"hub.test/app/blobs/{layer}")
    served.settle("hub.test/app", layer)
    assert served.server.ask("DELETE", f"/v2/hub.test/app/blobs/{layer}").status == 202
    assert not served.store.catalog.links.any("hub.test/app")
    assert not [each for each in fake.seen if each.method == "DELETE"]


class Rules(AllowAll):
    """Nobody gets at hub.test/secret/…."""

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str, /,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        if repository is not None and repository.startswith("hub.test/secret/"):
            raise Refusal("DENIED")
        return super().admit(headers, repository, action, also)


def test_rules_stand_before_it(fake: Fake, tmp_path: Path) -> None:
    one = small()
    publish(fake, "secret/app", one, "1")
    with front(tmp_path / "store", ("hub.test", fake.base), access=Rules()) as served:
        for path in ("manifests/1", f"blobs/{Digest.of(one.config)}", "tags/list", f"referrers/{one.digest}"):
            assert served.get(f"hub.test/secret/app/{path}").code == "DENIED"
        assert not fake.seen, "nothing is asked for who may not"


def test_docker_io_by_name(hub: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "library/alpine", one, "latest")
    assert hub.get("docker.io/library/alpine/manifests/latest").body == one.manifest
    assert hub.get("docker.io/alpine/manifests/latest").body == one.manifest, "as docker says it"
    assert hub.names() == ["docker.io/library/alpine:latest", f"docker.io/library/alpine@{one.digest}"]
    asked = len(fake.seen)
    assert hub.get("other/manifests/latest").status == 404 and len(fake.seen) == asked, "the root is ours"


def test_who_has_the_same_name_there_gets_nothing_into_ours(hub: Front, fake: Fake) -> None:
    assert _push(hub, "team/app").status == 201
    ours = hub.names()
    evil = small("evil")
    publish(fake, "team/app", evil, "1", "2")
    for tag in ("1", "2"):
        assert hub.get(f"docker.io/team/app/manifests/{tag}").body == evil.manifest, "who asks for theirs gets theirs"
    assert hub.names() == ours and hub.get("team/app/manifests/1").body == small("ours").manifest
    assert hub.get("team/app/manifests/2").status == 404
    assert hub.get(f"docker.io/team/app/blobs/{Digest.of(evil.layers[1])}").body == evil.layers[1]


def test_ours_is_not_served_by_their_name(hub: Front, fake: Fake) -> None:
    assert _push(hub, "team/app").status == 201
    ours = small("ours")
    for path in ("manifests/1", f"manifests/{ours.digest}", f"blobs/{Digest.of(ours.config)}", "tags/list"):
        assert hub.get(f"docker.io/team/app/{path}").status == 404
    assert hub.server.ask("DELETE", "/v2/docker.io/team/app/manifests/1").status == 404
    fake.server.close()
    assert hub.get("docker.io/team/app/manifests/1").status == 503


def test_theirs_is_not_served_by_our_name(hub: Front, fake: Fake) -> None:
    theirs = small("theirs")
    publish(fake, "team/app", theirs, "1")
    assert hub.get("docker.io/team/app/manifests/1").status == 200
    for path, code in (("manifests/1", "MANIFEST_UNKNOWN"), (f"manifests/{theirs.digest}", "MANIFEST_UNKNOWN"),
                       (f"blobs/{Digest.of(theirs.config)}", "BLOB_UNKNOWN"), ("tags/list", "NAME_UNKNOWN")):
        assert hub.get(f"team/app/{path}").code == code
    assert hub.get("_catalog").json["repositories"] == []
    assert _push(hub, "team/app").code == "DENIED"
    for name in hub.names():
        tag = name.rpartition(":")[2] if "@" not in name else name.rpartition("@")[2]
        assert hub.server.ask("DELETE", f"/v2/docker.io/team/app/manifests/{tag}").status == 202
    assert _push(hub, "team/app").status == 201, "nothing of theirs is left"


def test_docker_io_at_the_root(mirror: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "library/alpine", one, "latest")
    for name in ("library/alpine", "alpine", "docker.io/library/alpine"):
        assert mirror.get(f"{name}/manifests/latest?ns=docker.io").body == one.manifest
    for name in ("docker.io/quay.io/app", "docker.io/localhost/app"):
        assert mirror.get(f"{name}/manifests/latest").code == "NAME_INVALID"
    assert len(fake.asked("GET", "manifests")) == 1
    assert _push(mirror, "team/app").code == "UNSUPPORTED"
    assert mirror.get("_catalog").json["repositories"] == ["alpine"]
    assert _push(mirror, "registry.test/team/app").status == 201, "of another domain"


def test_the_longest_name_decides() -> None:
    routes = Routes([("docker.io", "https://registry-1.docker.io"), ("hub", "https://quay.io"), ("quay.io", "https://quay.io")])

    def there(name: str) -> str | None:
        place = routes.find(name)
        return None if place is None else place.there.name

    assert there("docker.io/nginx") == there("docker.io/library/nginx") == "docker.io/library/nginx"
    assert there("hub/a/b") == there("docker.io/hub/a/b") == "quay.io/a/b", "one name of the store has one origin"
    assert there("quay.io/a/b") == "quay.io/a/b"
    assert there("nginx") is None and there("hub") is None and there("quay.io.evil/a") is None
