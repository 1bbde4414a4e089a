"""`/`: the store as a whole, and its repositories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lamina.registry.server.page import pictures
from lamina.registry.server.page.answer import Page
from lamina.registry.server.page.frame import document, pager, section, table, tiles
from lamina.registry.server.page.library import Library, Repository, Store, Traffic
from lamina.registry.server.page.words import ago, isolated, link, number, plural, ratio, repository_url, size

ROWS = 25  # repositories of a page
_ORDERS: Mapping[str, Callable[[Repository], object]] = {
    "name": lambda one: one.name,
    "pushed": lambda one: (-one.pushed, one.name),
    "size": lambda one: (-one.size, one.name)}
_EMPTY = ('<p>Nothing is here yet. Push an image, and this page shows what it is made of:</p>'
          '<p><code>docker tag alpine HOST/alpine &amp;&amp; docker push HOST/alpine</code></p>')
_LIVE = """<dl class="live"><div><dt><span class="key received"></span>In</dt><dd data-live="received">{received}</dd></div>
<div><dt><span class="key sent"></span>Out</dt><dd data-live="sent">{sent}</dd></div>
<div><dt>Requests</dt><dd data-live="requests">{requests}</dd></div>
<div><dt>Uploads</dt><dd data-live="uploads">{uploads}</dd></div></dl>
<div class="js"><svg id="pulse" role="img" aria-label="Bytes a second in and out, the last two minutes" width="100%"
height="110"><line class="grid" x1="0" y1="6" x2="100%" y2="6"/><line class="grid" x1="0" y1="106" x2="100%" y2="106"/>
<svg y="6" width="100%" height="100" viewBox="0 0 1000 1000" preserveAspectRatio="none">
<polyline class="curve received" points=""/><polyline class="curve sent" points=""/></svg>
<text class="faint halo" x="0" y="20" data-live="most"></text></svg></div>"""

_GOING = '<span class="still">Since the server started.</span><span class="js">The last two minutes, of all clients.</span>'
_KEYS = ('<ul class="keys"><li><span class="key pushed"></span>pushed</li>'
         '<li><span class="key layers"></span>layers, each once</li>'
         '<li><span class="key stored"></span>on disk</li></ul>')


def home(library: Library, visible: Sequence[Repository], query: Mapping[str, str]) -> Page:
    """What `visible` says is listed; figures of the store are for those who may see something of it."""
    if not visible:
        return document("Repositories", "<h1>Repositories</h1>" + section("Empty", _EMPTY))
    store, points = library.store(), library.series()
    now = section("Now", _live(library.traffic()), _GOING, "live")
    left = section("From pushed to disk", pictures.steps(store), _note(store))
    over = section("Over time", pictures.past(points) + _KEYS, name="over-time") if len(points) > 1 else ""
    return document("Repositories", f'<h1>Repositories</h1><p class="lead">{_lead(visible)}</p>' + tiles(_tiles(store))
                    + _listed(visible, query) + f'<div class="two">{left}{now}</div>' + over)


def _tags(one: Repository) -> int:
    return sum(1 for tag in one.tags if tag.name)


def _lead(visible: Sequence[Repository]) -> str:
    return f"{plural(len(visible), 'repository')} with {plural(sum(map(_tags, visible)), 'tag')}"


def _tiles(store: Store) -> list[tuple[str, str, str]]:
    saved = max(store.pushed - store.stored, 0)
    return [(size(store.pushed), "Pushed", f"{plural(store.tags, 'tag')}, {plural(store.images, 'image')}"),
            (size(store.stored), "On disk", f"{size(store.free)} free"),
            (ratio(store.pushed, store.stored), "Smaller", "pushed to on disk"),
            (size(saved), "Saved", "by sharing and compression")]


def _note(store: Store) -> str:
    return f"Counted {ago(store.counted)}." if store.chunks is not None else "Chunks have not been counted yet."


def _live(traffic: Traffic) -> str:
    return _LIVE.format(received=size(traffic.received), sent=size(traffic.sent), requests=number(traffic.requests),
                        uploads=number(traffic.uploads))


def _listed(visible: Sequence[Repository], query: Mapping[str, str]) -> str:
    order = query.get("sort", "name") if query.get("sort") in _ORDERS else "name"
    rows = sorted(visible, key=_ORDERS[order])  # type: ignore[arg-type]
    first = page_of(query, len(rows), ROWS)
    shown = rows[first : first + ROWS]
    by = " ".join(f'<a href="{link("/", {"sort": one})}"{" aria-current=true" if one == order else ""}>{one}</a>'
                  for one in _ORDERS)
    cells = ([f'<a href="{repository_url(one.name)}">{isolated(one.name, 255)}</a>', number(_tags(one)),
              number(one.images), size(one.size), ago(one.pushed)] for one in shown)
    inside = table("repositories", ("Name", "Tags", "Images", "Size", "Pushed"), cells, (1, 2, 3))
    return section("All repositories", f'<p class="sort"><span>Sort by</span> {by}</p>{inside}'
                   + turn("/", {} if order == "name" else {"sort": order}, first, ROWS, len(rows)), name="repositories")


def page_of(query: Mapping[str, str], count: int, rows: int) -> int:
    """The first row of the page that is asked for; of the last page, if it is beyond that, and of the first for nonsense."""
    text = query.get("page", "1")
    page = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    last = max(0, (count - 1) // rows)
    return min(max(page - 1, 0), last) * rows


def turn(path: str, query: Mapping[str, str], first: int, rows: int, count: int) -> str:
    """Links to the pages beside the one that begins with row `first`."""
    page = first // rows + 1
    before = link(path, {**query, "page": str(page - 1)}) if page > 1 else ""
    after = link(path, {**query, "page": str(page + 1)}) if first + rows < count else ""
    return pager(before, after, f"{number(first + 1)}–{number(min(first + rows, count))} of {number(count)}")
