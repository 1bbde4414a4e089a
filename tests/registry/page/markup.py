"""What an HTML parser makes of a page: the tests' own eyes where no browser is at hand."""

from __future__ import annotations

import html.parser
import re

VOID = {"meta", "link", "input", "img", "br", "hr"}
# All elements and attributes that the page is built of: anything else has come from outside.
TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "div", "img", "form", "input", "button",
    "main", "nav", "ol", "ul", "li", "section", "h1", "h2", "h3", "p", "span", "code", "small", "b", "bdi", "dl", "dt",
    "dd", "table", "thead", "tbody", "tr", "th", "td", "time", "svg", "rect", "line", "text", "polyline", "polygon",
    "foreignobject"}
HANDLERS = "on"


class Markup(html.parser.HTMLParser):
    """`links`: addresses in it; `words`: its text; ids are looked at for doubles, elements for being closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> stays open" for tag in self._open]
        self.wrong += [f"id {one} twice" for one in set(self.ids) if self.ids.count(one) > 1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS and tag != "title":
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith(HANDLERS) or name == "style":
                self.wrong.append(f"{name}={value!r}")
            if name in ("href", "src"):
                self.links.append(value or "")
            if name == "action" and not re.fullmatch(r"/[!-~]*", value or ""):
                self.wrong.append(f"a form to {value!r}")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> out of order")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)
