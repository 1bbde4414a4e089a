"""Which page answers which path, and that nothing that comes from outside gets out of its place in one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from lamina.errors import NotFound, StoreDamaged
from lamina.registry.server.page import Page, respond
from lamina.registry.server.page.health import alive, ready
from lamina.registry.server.page.home import ROWS
from lamina.registry.server.page.library import Busy, Files, Traffic
from lamina.registry.server.page.respond import split

from .fakes import HOSTILE, FakeLibrary, digest, friendly, hostile, image
from .markup import Markup


def get(library: FakeLibrary, address: str, may: Callable[[str], bool] = lambda _: True) -> Page:
    """As a server would ask for an address of a link."""
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query, errors="surrogateescape", keep_blank_values=True))
    return respond(library, unquote(parts.path), query, may)


def parsed(page: Page, status: int = 200) -> Markup:
    assert page.status == status
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    found = Markup(page.body.decode())
    assert found.wrong == []
    return found


LAYER = f"/files/team/app@{digest(1)}?layer=sha256%3A{1000:064x}"
PAGES = ["/", "/?q=app", "/?sort=size&page=3", "/r/team/app", "/r/team/app:latest", "/r/team/app:multi",
         f"/r/team/app@{digest(2)}", "/r/charts/web:1.0", LAYER, LAYER + "&prefix=usr/", LAYER + "&start=3", "/?q=nothing+such"]


@pytest.mark.parametrize("address", PAGES)
def test_pages_are_whole(address: str) -> None:
    page = get(friendly(), address)
    found = parsed(page)
    assert "main" in found.ids
    assert "no-store" in page.headers["Cache-Control"]


@pytest.mark.parametrize("address", PAGES)
def test_every_link_leads_somewhere(address: str) -> None:
    library = friendly()
    for link in set(parsed(get(library, address)).links):
        assert link.startswith(("/", "#")) and not link.startswith("//")
        if link.startswith("/") and f"{digest(4)}" not in link:
            assert get(library, link).status == 200, link


@pytest.mark.parametrize("address", [*PAGES, "/nothing", "/-/style.css", "/-/live.json"])
def test_nothing_from_elsewhere_is_allowed(address: str) -> None:
    headers = get(friendly(), address).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"] and "*" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"


def test_what_belongs_to_the_page_may_be_kept() -> None:
    links = [link for link in parsed(get(friendly(), "/")).links if link.startswith("/-/")]
    assert len(set(links)) == 3
    for link in links:
        page = get(friendly(), link)
        assert page.status == 200 and "immutable" in page.headers["Cache-Control"] and page.body
    assert get(friendly(), "/-/../respond.py").status == get(friendly(), "/-/").status == 404


# -- what is told


def test_the_store_in_figures() -> None:
    text = parsed(get(friendly(), "/")).text
    assert "7MB" in text and "1MB · 7×" in text and "3MB · 2.33×" in text
    library = friendly()
    library.chunks = None
    assert "being counted" in get(library, "/").body.decode()


def test_figures_without_a_script() -> None:
    body = get(friendly(), "/").body.decode()
    assert '<dd data-live="received">5MB</dd>' in body and '<dd data-live="requests">42</dd>' in body


def test_an_image() -> None:
    text = parsed(get(friendly(), "/r/team/app:latest")).text
    for words in ("linux/amd64", "RUN step 2", "PATH=/bin", '["sh", "-c", "run"]', "maintainer=me", "80/tcp", "alpine:3.20",
                  "4MB · 44%"):
        assert words in text
    assert "And 3 more images" in text


def test_an_index() -> None:
    found = parsed(get(friendly(), "/r/team/app:multi"))
    assert "linux/arm64" in found.text and "attestation" in found.text and "not here" in found.text
    assert f"/r/team/app@{digest(2)}" in found.links and f"/r/team/app@{digest(98)}" not in found.links


def test_an_artifact() -> None:
    assert "application/vnd.cncf.helm.config.v1+json" in parsed(get(friendly(), "/r/charts/web:1.0")).text


def test_files() -> None:
    found = parsed(get(friendly(), LAYER))
    assert "drwxr-xr-x" in found.text and "-rwsr-xr-x" in found.text and "lrwxrwxrwx" in found.text and "→ bash" in found.text
    assert r"\xff\xfe<b>\n\u202e" in found.text
    below = parsed(get(friendly(), LAYER + "&prefix=usr/b"))
    assert "usr/bin" in below.text and "usr/sh" not in below.text


def test_a_long_list_of_files_is_turned() -> None:
    library = friendly()
    library.members = [library.members[1]] * 450
    seen, address = 0, LAYER
    while address:
        found = parsed(get(library, address))
        seen += found.text.count("usr/bin")
        address = next((link for link in found.links if f"start={seen}" in link), "")
    assert seen == 450


def test_many_repositories_are_turned() -> None:
    library = FakeLibrary()
    for number in range(2 * ROWS + 1):
        library.put(f"r{number:04d}", "x", image(number + 1))
    asked = (1, 2, 3, 4, "x", "9" * 30, "-1", "²")
    shown = [re.findall(r"r\d{4}", parsed(get(library, f"/?page={page}")).text) for page in asked]
    assert [len(one) for one in shown] == [ROWS, ROWS, 1, 1, ROWS, ROWS, ROWS, ROWS]
    assert len({name for one in shown for name in one}) == 2 * ROWS + 1


def test_search() -> None:
    library = friendly()
    assert "/r/alpine" in parsed(get(library, "/?q=ALP")).links
    assert "/r/team/app:multi" in parsed(get(library, "/?q=app:mul")).links
    hits = parsed(get(library, f"/?q={digest(1)[7:30]}")).links
    assert f"/r/team/app@{digest(1)}" in hits
    assert any(link.startswith("/files/team/app@") for link in parsed(get(library, f"/?q={digest(1000)}")).links)
    assert "Nothing found" in parsed(get(library, "/?q=zzz")).text
    assert "Nothing found" in parsed(get(library, "/?q=000")).text, "three digits are too few"


def test_an_empty_store_says_what_to_do() -> None:
    assert "docker push" in parsed(get(FakeLibrary(), "/")).text


def test_names_with_colons_and_slashes() -> None:
    assert split("a/b:c") == ("a/b", "c") and split("h:5000/a") == ("h:5000/a", "") and split("h:5000/a:t") == ("h:5000/a", "t")
    assert split("a:t@sha256:1") == ("a:t", "sha256:1") and split("a") == ("a", "")
    library = friendly()
    library.put("team/app/latest", "x", image(9))
    assert "x" in parsed(get(library, "/r/team/app/latest")).text  # the whole name goes first
    moved = get(library, "/r/team/app/multi")
    assert (moved.status, moved.headers["Location"]) == (302, "/r/team/app:multi")


# -- what is not told


@pytest.mark.parametrize("address", [
    "/r/team/app", "/r/team/app:latest", "/r/team/app/latest", f"/r/team/app@{digest(2)}", LAYER])
def test_the_forbidden_looks_like_the_missing(address: str) -> None:
    hidden = get(friendly(), address, lambda name: name != "team/app")
    missing = get(FakeLibrary(), address)
    assert (hidden.status, hidden.headers, hidden.body) == (missing.status, missing.headers, missing.body)
    assert hidden.status == 404


def test_the_forbidden_is_not_listed() -> None:
    may = lambda name: name == "alpine"  # noqa: E731
    for address in ("/", "/?q=a", f"/?q={digest(1)}"):
        assert "team" not in get(friendly(), address, may).body.decode()
    nobody = get(friendly(), "/", lambda _: False)
    assert nobody.body == get(FakeLibrary(), "/").body and b"7MB" not in nobody.body
    assert get(friendly(), "/-/live.json", lambda _: False).status == 404


def test_a_layer_of_another_image_is_not_shown() -> None:
    assert get(friendly(), f"/files/team/app@{digest(2)}?layer={digest(1000)}").status == 404
    assert get(friendly(), f"/files/team/app@{digest(2)}").status == 404


def test_live_figures() -> None:
    page = get(friendly(), "/-/live.json")
    assert page.headers["Content-Type"] == "application/json" and page.headers["Cache-Control"] == "no-store"
    assert Traffic(**json.loads(page.body)) == friendly().counts


@pytest.mark.parametrize("address", ["", "x", "//", "/r/", "/r", "/files/", "/R/team/app", "/r/:x", "/r/@", "/v2/",
                                     "/" + "a" * 100_000, "/r/\0", "/r/\ud800", "/r/a/../b"])
def test_nonsense_is_not_found(address: str) -> None:
    assert parsed(respond(friendly(), address, {}, lambda _: True), 404).text


@pytest.mark.parametrize(("error", "status"), [
    (Busy("the catalog is being read"), 503), (NotFound("x"), 404), (StoreDamaged("broken", "/secret/place"), 500)])
def test_errors_have_a_page(error: Exception, status: int) -> None:
    library = friendly()
    library.fails = error
    for address in ("/", "/r/team/app:latest"):
        page = get(library, address)
        parsed(page, status)
        assert b"secret" not in page.body
        assert ("Retry-After" in page.headers) == (status == 503)


# -- what is hostile


def all_of(library: FakeLibrary) -> list[Page]:
    """Every page of it."""
    pages = [get(library, "/")]
    for one in library.repositories():
        pages += [respond(library, f"/r/{one.name}", {}, lambda _: True)]
        for tag in one.tags:
            pages.append(respond(library, f"/r/{one.name}@{tag.digest}", {}, lambda _: True))
            layer = library.items[one.name, tag.digest].layers[0].digest  # type: ignore[union-attr]
            pages.append(respond(library, f"/files/{one.name}@{tag.digest}", {"layer": layer}, lambda _: True))
    return pages


def test_hostile_content_stays_in_its_place() -> None:
    pages = all_of(hostile())
    assert sum(page.status == 200 for page in pages) > 2 * len(HOSTILE)
    for page in pages:
        text = page.body.decode()
        assert Markup(text).wrong == []
        assert text.replace("\n", "").isprintable(), [one for one in text if not one.isprintable()]
        assert len(text) < 200_000
        assert all(link.startswith(("/", "#")) and "\\" not in link for link in Markup(text).links)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["q", "sort", "page", "layer", "prefix", "start"])
def test_hostile_questions_stay_in_their_place(name: str, text: str) -> None:
    for address, query in (("/", {name: text}), (f"/files/team/app@{digest(1)}", {"layer": digest(1000), name: text})):
        page = respond(friendly(), address, query, lambda _: True)
        assert page.status in (200, 404)
        shown = page.body.decode()
        assert Markup(shown).wrong == [] and shown.replace("\n", "").isprintable() and len(shown) < 50_000


def test_a_location_cannot_be_split() -> None:
    library = friendly()
    library.items["a\r\nX-Evil: 1", "b"] = image(7)
    page = respond(library, "/r/a\r\nX-Evil: 1/b", {}, lambda _: True)
    assert page.status == 302 and "\n" not in page.headers["Location"] and "\r" not in page.headers["Location"]


def test_an_image_of_very_many_layers() -> None:
    library = FakeLibrary()
    library.put("big", "x", image(1, 4000))
    page = get(library, "/r/big:x")
    parsed(page)
    assert len(page.body) < 1_500_000 and "The first 500 of 4,000" in page.body.decode()


def test_a_search_that_went_on_too_long_can_go_on() -> None:
    library = friendly()
    library.files = lambda *_: Files((), 8000, 10_000)  # type: ignore[method-assign]
    found = parsed(get(library, LAYER + "&prefix=z"))
    assert "there is more" in found.text and any("start=8000" in link for link in found.links)


# -- health


def test_health() -> None:
    library = FakeLibrary()
    assert alive().status == ready(library).status == 200
    library.wrong = ["the disk is full"]
    assert (ready(library).status, ready(library).body) == (503, b"the disk is full\n")
