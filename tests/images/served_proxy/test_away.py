"""Tags that move, and an upstream that is away, refuses or has lost something."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.fake import Fake
from registry.guard import Guard
from registry.server import Exchange

from images.served_proxy.kit import Front, front, publish, small
from lamina.digest import Digest
from lamina.errors import StorageError
from lamina.images.served.proxied.memory import FRESH
from lamina.images.served.proxied.upstream import PAUSE


def _manifest(served: Front, tag: str = "1") -> bytes:
    reply = served.get(f"hub.test/app/manifests/{tag}")
    assert reply.status == 200, reply.body
    return reply.body


def test_a_tag_that_moves_is_seen_when_it_is_not_fresh_any_more(served: Front, fake: Fake) -> None:
    old, new = small("old"), small("new")
    publish(fake, "app", old, "1")
    assert _manifest(served) == old.manifest
    publish(fake, "app", new, "1")
    served.clock.now += FRESH - 1
    assert _manifest(served) == old.manifest and len(fake.asked("HEAD", "manifests/1")) == 1
    served.clock.now += 1
    assert _manifest(served) == new.manifest
    assert served.store.catalog.ref("hub.test/app:1").digest == new.digest  # type: ignore[union-attr]
    assert _manifest(served, old.digest) == old.manifest, "what has a digest stays"


def test_a_tag_that_stays_costs_a_head(served: Front, fake: Fake) -> None:
    publish(fake, "app", small(), "1")
    _manifest(served)
    served.clock.now += FRESH
    before = len(fake.seen)
    _manifest(served)
    assert [one.method for one in fake.seen[before:]] == ["HEAD"]


def test_away_what_is_kept_is_served_with_a_warning_and_the_rest_is_503(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "1", "2")
    assert "Warning" not in served.get("hub.test/app/manifests/1").headers
    layer = Digest.of(one.layers[0])
    served.get(f"hub.test/app/blobs/{layer}")
    served.settle("hub.test/app", layer)
    fake.server.close()
    served.clock.now += FRESH
    reply = served.get("hub.test/app/manifests/1")
    assert (reply.status, reply.body) == (200, one.manifest) and reply["Warning"].startswith("299 - ")
    by_digest = served.get(f"hub.test/app/manifests/{one.digest}")
    assert by_digest.status == 200 and "Warning" not in by_digest.headers, "a digest is never old"
    assert served.get(f"hub.test/app/blobs/{layer}").body == one.layers[0]
    nothing = Digest.of(b"x")
    for path in ("manifests/2", f"manifests/{nothing}", f"blobs/{nothing}", f"blobs/{Digest.of(one.layers[1])}"):
        reply = served.get(f"hub.test/app/{path}")
        assert (reply.status, reply.code, reply["Retry-After"]) == (503, "UNAVAILABLE", "5"), path
    tags = served.get("hub.test/app/tags/list")
    assert tags.json["tags"] == ["1"] and tags["Warning"]
    assert served.get(f"hub.test/app/referrers/{one.digest}").json["manifests"] == []


def test_one_that_was_away_is_left_alone_for_a_while(served: Front, fake: Fake) -> None:
    publish(fake, "app", small(), "1")
    _manifest(served)
    fake.fault("HEAD", "manifests", lambda exchange: exchange.reply(503) or True)
    served.clock.now += FRESH
    assert served.get("hub.test/app/manifests/1")["Warning"]
    asked = len(fake.seen)
    served.get("hub.test/app/manifests/1")
    assert served.get("hub.test/app/manifests/2").status == 503 and len(fake.seen) == asked
    assert served.get("hub.test/other/manifests/1").status == 503 and len(fake.seen) > asked, "another one is asked"
    fake._faults.clear()
    served.clock.now += PAUSE
    assert "Warning" not in served.get("hub.test/app/manifests/1").headers


def test_after_a_restart_what_is_kept_is_served(fake: Fake, tmp_path: Path) -> None:
    publish(fake, "app", small(), "1")
    with front(tmp_path / "store", ("hub.test", fake.base)) as served:
        first = _manifest(served)
    fake.server.close()
    with front(tmp_path / "store", ("hub.test", fake.base)) as served:
        reply = served.get("hub.test/app/manifests/1")
        assert reply.body == first and reply["Warning"]


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_refusing_what_is_kept_is_served(served: Front, fake: Fake, status: int) -> None:
    publish(fake, "app", small(), "1")
    first = _manifest(served)
    fake.fault("", "manifests", lambda exchange: exchange.reply(status) or True)
    served.clock.now += FRESH
    reply = served.get("hub.test/app/manifests/1")
    assert reply.body == first and reply["Warning"]


def test_what_is_not_there_is_404(served: Front, fake: Fake) -> None:
    publish(fake, "app", small(), "1")
    for path, code in (("manifests/2", "MANIFEST_UNKNOWN"), (f"manifests/{Digest.of(b'x')}", "MANIFEST_UNKNOWN"),
                       (f"blobs/{Digest.of(b'x')}", "BLOB_UNKNOWN")):
        reply = served.get(f"hub.test/app/{path}")
        assert (reply.status, reply.code) == (404, code)
    assert served.get("hub.test/none/tags/list").code == "NAME_UNKNOWN"
    assert served.names() == []


def test_a_tag_that_was_taken_away_there_is_404_and_stays_by_digest(served: Front, fake: Fake) -> None:
    digest = publish(fake, "app", small(), "1")
    _manifest(served)
    del fake.repositories["app"].tags["1"]
    served.clock.now += FRESH
    assert served.get("hub.test/app/manifests/1").status == 404
    assert _manifest(served, digest)


@pytest.mark.parametrize("login", [("user", "secret"), ()])
def test_an_upstream_that_wants_a_login(tmp_path: Path, login: tuple[str, ...]) -> None:
    for kind in ("basic", "token"):
        with Fake(Guard(kind, private=True)) as fake, front(tmp_path / kind, ("hub.test", fake.base), login=login) as served:
            one = small()
            publish(fake, "app", one, "1")
            reply = served.get("hub.test/app/manifests/1")
            assert "WWW-Authenticate" not in reply.headers, "that is not for our clients"
            if login:
                assert reply.body == one.manifest
                assert served.get(f"hub.test/app/blobs/{Digest.of(one.config)}").body == one.config
            else:
                assert (reply.status, reply.code) == (403, "DENIED")


def test_tags_and_referrers_come_from_there(served: Front, fake: Fake) -> None:
    one = small()
    publish(fake, "app", one, "b", "a", "c")
    statement = small("statement")
    signed = publish(fake, "app", type(one)(
        statement.manifest[:-1] + f',"subject":{{"mediaType":"x/y","digest":"{one.digest}","size":1}}}}'.encode(),
        statement.config, statement.layers))
    assert served.get("hub.test/app/tags/list").json["tags"] == ["a", "b", "c"]
    page = served.get("hub.test/app/tags/list?n=1&last=a")
    assert page.json["tags"] == ["b"] and "last=b" in page["Link"]
    assert len(fake.asked("GET", "tags/list")) == 1, "pages are of one list"
    for _ in range(2):
        found = served.get(f"hub.test/app/referrers/{one.digest}").json["manifests"]
        assert [each["digest"] for each in found] == [signed]
    assert len(fake.asked("GET", "referrers")) == 1


def test_an_upstream_that_breaks_off_every_time(served: Front, fake: Fake) -> None:
    def gone(exchange: Exchange) -> None:
        exchange.cut(reset=True)

    fake.fault("", "manifests", gone)
    assert served.get("hub.test/app/manifests/1").status == 503


def test_a_full_disk_keeps_nothing_from_being_served(served: Front, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    one = small()
    publish(fake, "app", one, "1")

    def full(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(served.store, "session", full)
    assert _manifest(served) == one.manifest
    monkeypatch.undo()
    assert served.names() == []
    assert _manifest(served) == one.manifest and served.names(), "it is kept when there is room again"
