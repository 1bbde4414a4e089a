"""The page in a real browser: nothing sticks out, everything can be read, nothing is refused, figures move."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from interop.programs import program

from lamina.registry.server.page import respond
from lamina.registry.server.page.library import Traffic

from .browser import Browser, browser
from .fakes import FakeLibrary, digest, friendly, hostile

pytestmark = pytest.mark.interop

LAYER = f"/files/team/app@{digest(1)}?layer=sha256%3A{1000:064x}"
PAGES = ["/", "/?q=a", "/r/team/app", "/r/team/app:latest", "/r/team/app:multi", "/r/charts/web:1.0", LAYER, "/nothing"]

# What is wider than the window, and what sticks out of its own picture.
WIDE = """(() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push("page " + document.documentElement.scrollWidth);
  for (const one of document.querySelectorAll("main *:not(svg *)")) {
    const box = one.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 1 || box.left < -1) && !one.closest("thead"))
      found.push(one.outerHTML.slice(0, 200));
  }
  for (const svg of document.querySelectorAll("main section > svg")) {
    const box = svg.getBoundingClientRect();
    if (box.width < 200 || !svg.querySelector("rect, polyline")) found.push("empty picture " + svg.id);
    for (const one of svg.querySelectorAll("rect, text")) {
      const part = one.getBoundingClientRect();
      if (part.left < box.left - 3 || part.right > box.right + 3 || part.bottom > box.bottom + 3)
        found.push(svg.id + ": " + one.outerHTML);
    }
  }
  return found;
})()"""
# Text whose contrast with what lies below it is less than WCAG's AA (4.5; 3 for large text), by the colours that are drawn.
CONTRAST = """(() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g); return n ? n.map(Number) : [0, 0, 0, 0]; };
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map(linear);
                         return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const below = (one) => { for (let e = one; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.99) return c; }
    return [255, 255, 255]; };
  const found = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
    if (!walker.currentNode.data.trim() || !box.width || style.visibility === "hidden" || one.closest("title")) continue;
    const drawn = one.namespaceURI.endsWith("svg");
    let grounds = [below(one)];
    if (drawn && one.classList.contains("on"))
      grounds = [...new Set([...one.ownerSVGElement.querySelectorAll("rect")].filter(r => { const b = r.getBoundingClientRect();
        return b.left <= box.left && b.right > box.left; }).map(r => getComputedStyle(r).fill))].map(parse);
    const size = parseFloat(style.fontSize), least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    for (const ground of grounds) {
      const [a, b] = [light(parse(drawn ? style.fill : style.color)), light(ground)].sort((x, y) => y - x);
      seen += 1;
      if ((a + 0.05) / (b + 0.05) < least) found.push(((a + 0.05) / (b + 0.05)).toFixed(2) + " " + one.outerHTML.slice(0, 160));
    }
  }
  return seen > 5 ? found : ["only " + seen + " texts"];
})()"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser(program("chromium")) as opened:
        yield opened


class Served(ThreadingHTTPServer):
    """`library` may be changed; `asked`: the paths so far."""

    library: FakeLibrary
    asked: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: Served

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append(parts.path)
        query = dict(parse_qsl(parts.query, errors="surrogateescape"))
        page = respond(self.server.library, unquote(parts.path), query, lambda _: True)
        self.send_response(page.status)
        for name, value in {**page.headers, "Content-Length": str(len(page.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Not on the tests' own output."""


@pytest.fixture
def site() -> Iterator[tuple[Served, str]]:
    with Served(("127.0.0.1", 0), _Handler) as server:
        server.library, server.asked, server.daemon_threads = friendly(), [], True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def complaints(tab: Browser) -> list[str]:
    """What the browser said since it was asked last, but for the answer of a page that is meant not to be there."""
    found, tab.said[:] = list(tab.said), []
    return [one for one in found if "404 (Not Found)" not in one]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(tab: Browser, site: tuple[Served, str], width: int, dark: bool) -> None:
    for path in PAGES:
        tab.open(site[1] + path, width, dark=dark)
        assert tab.run(WIDE) == [], path
        assert tab.run(CONTRAST) == [], path
        assert complaints(tab) == [], path


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_content_does_nothing(tab: Browser, site: tuple[Served, str], width: int) -> None:
    site[0].library = hostile()
    tab.open(site[1] + "/", width)
    links = tab.run("[...document.querySelectorAll('#repositories tbody a')].map(one => one.href)")
    assert len(links) == 11
    for link in [site[1] + "/", *links]:
        tab.open(link, width)
        inside = tab.run("[...document.querySelectorAll('#tags tbody a')].map(one => one.href)")
        for address in [link, *inside[:2]]:
            tab.open(address, width)
            assert tab.run(WIDE) == [], address
            assert tab.run("document.querySelectorAll('script').length") == 1
            assert complaints(tab) == [], address


def test_figures_move(tab: Browser, site: tuple[Served, str]) -> None:
    tab.open(site[1] + "/")
    for _ in range(600):
        site[0].library.counts = Traffic(*(count + 10_000 for count in (site[0].library.counts.received,)), 7_000_000, 99, 5)
        if tab.run("new Promise(done => setTimeout(() => done(document.querySelector('.curve.received').points.length), 100))"):
            break
    assert tab.run("document.querySelector('[data-live=received]').textContent").endswith("B/s")
    assert tab.run("document.querySelector('[data-live=uploads]').textContent") == "5"
    assert complaints(tab) == []


def test_it_is_whole_without_scripts(tab: Browser, site: tuple[Served, str]) -> None:
    tab.open(site[1] + "/", script=False)
    shown = tab.call("DOM.getOuterHTML", nodeId=tab.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert '<dd data-live="received">5MB</dd>' in shown and "team/app" in shown
    assert "/-/live.json" not in site[0].asked
    tab.open("about:blank")
    complaints(tab)


def test_it_can_be_used_with_keys(tab: Browser, site: tuple[Served, str]) -> None:
    tab.open(site[1] + "/r/team/app:latest")
    seen = []
    for _ in range(12):
        tab.key("Tab", 9)
        seen.append(tab.run("(one => [one.tagName, one.getAttribute('href')?.baseVal ?? one.getAttribute('href') ?? one.name, "
                            "one.matches(':focus-visible')])(document.activeElement)"))
    assert [one[1] for one in seen[:4]] == ["#main", "/", "q", ""]
    assert ["A", "/r/team/app", True] in [[one[0].upper(), *one[1:]] for one in seen]
    assert any(str(one[1]).startswith("/files/") for one in seen), "layers in the picture are reached, too"
    assert all(one[2] for one in seen)
    complaints(tab)


def test_the_browser_tells_of_errors(tab: Browser, site: tuple[Served, str]) -> None:
    """Else their absence would mean nothing."""
    tab.open(site[1] + "/")
    tab.run("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p><b onclick=\"1\">y</b>')")
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))")
    tab.run("document.querySelector('main').innerHTML += '<pre>' + 'w'.repeat(999)")
    assert len(complaints(tab)) >= 2
    assert tab.run(WIDE) != []
    tab.run("for (const rule of document.styleSheets[0].cssRules) if (rule.selectorText === 'body') rule.style.color = '#999'")
    assert tab.run(CONTRAST) != []
