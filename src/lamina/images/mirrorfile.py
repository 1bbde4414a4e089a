"""What `mirror` reads: a YAML list of repositories, checked as a whole before anything is asked for.

    - from: docker.io/library/alpine        # a repository, without a tag
      to: registry.example/mirror/alpine    # another; `store` or nothing: the store, under the same name
      tags: ["3.*", edge]                   # patterns of the shell's kind; all where nothing is said
      exclude: ["*-rc*"]
      platforms: [linux/amd64, linux/arm64] # all where nothing is said
      referrers: true                       # signatures and attestations, too
      prune: true                           # take tags away that match, and are gone at the source
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lamina.errors import InvalidContent, LaminaError, LimitExceeded, NotFound, StorageError
from lamina.oci import Platform
from lamina.reference import Reference

MAX_DEPTH = 16  # of brackets
MAX_FILE = 1 << 20
MAX_ENTRIES, MAX_PATTERNS = 10_000, 1_000
KEYS = ("from", "to", "tags", "exclude", "platforms", "referrers", "prune")
STORE = "store"

_STORE_PREFIX = f"{STORE}:"
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Entry:
    """One repository to keep in step; `source` and `destination` have no tag.  `where`: the file and the line."""

    where: str
    source: Reference
    destination: Reference
    to_store: bool = True
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False
    prune: bool = False

    def wants(self, tag: str) -> bool:
        """Whether a tag is this entry's."""
        return any(fnmatchcase(tag, one) for one in self.tags) and not any(fnmatchcase(tag, one) for one in self.exclude)

    @property
    def place(self) -> str:
        """Where it goes, as it is shown."""
        name = self.destination.familiar_name
        return f"{_STORE_PREFIX}{name}" if self.to_store else name


def read_mirror(path: Path) -> list[Entry]:
    """The entries of a file, `-` for standard input; `NotFound`, `StorageError`, and errors as of `parse_mirror`."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise NotFound("no such file", path) from None
    except OSError as error:
        raise StorageError(f"cannot read: {error.strerror}", path) from error
    try:
        return parse_mirror(data.decode(), str(path))
    except UnicodeDecodeError:
        raise InvalidContent("the list of repositories is no UTF-8", path) from None


class _Loader(yaml.SafeLoader):
    """Bounds brackets in brackets: the scanner takes time by the square of their depth (5,000: 10 seconds when busy)."""

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        if self.flow_level >= MAX_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)


def parse_mirror(text: str, name: str) -> list[Entry]:
    """The entries of a file called `name`; `InvalidContent` with the line, `LimitExceeded`."""
    if len(text) > MAX_FILE:
        raise LimitExceeded("the list of repositories is too large", name, f"at most {MAX_FILE} bytes are read")
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise InvalidContent(f"no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}", where) from None
    except RecursionError:
        raise LimitExceeded("the list of repositories is nested too deep", name) from None
    if not isinstance(root, SequenceNode) or not root.value:
        raise InvalidContent("no list of repositories", name, "write '- from: REPOSITORY'")
    if len(root.value) > MAX_ENTRIES:
        raise LimitExceeded("too many entries", name, f"at most {MAX_ENTRIES} are read")
    entries = [_Fields(node, number, name).entry() for number, node in enumerate(root.value, 1)]
    _check_destinations(entries)
    return entries


class _Fields:
    """One entry's node, read key by key."""

    def __init__(self, node: Node, number: int, name: str) -> None:
        self._number, self._name, self._node = number, name, node
        if not isinstance(node, MappingNode):
            self._refuse(node, "is no mapping", "write 'from: REPOSITORY'")
        self._values: dict[str, Node] = {}
        for key, value in node.value:
            text = key.value if isinstance(key, ScalarNode) else ""
            if text not in KEYS:
                self._refuse(key, f"has the unknown key {str(text)[:40]!r}", f"known are {', '.join(KEYS)}")
            if text in self._values:
                self._refuse(key, f"has {text!r} twice")
            self._values[text] = value

    def entry(self) -> Entry:
        """What it says."""
        if "from" not in self._values:
            self._refuse(self._node, "has no 'from'")
        source = self._repository("from", self._text("from"))
        to = self._text("to") if "to" in self._values else STORE
        to_store = to == STORE or to.startswith(_STORE_PREFIX)
        destination = source if to == STORE else self._repository("to", to.removeprefix(_STORE_PREFIX))
        if destination == source and not to_store:
            self._refuse(self._values["to"], "goes to where it comes from")
        return Entry(
            f"{self._name}:{self._line(self._node)}", source, destination, to_store,
            tuple(self._texts("tags")) or ("*",), tuple(self._texts("exclude")), tuple(self._platforms()),
            self._truth("referrers"), self._truth("prune"))

    def _text(self, key: str) -> str:
        return self._scalar(key, self._values[key])

    def _scalar(self, key: str, node: Node) -> str:
        """A text as it is written: `3.10` is no number here."""
        if not isinstance(node, ScalarNode) or not node.value or (node.tag.endswith(":null") and node.value in ("~", "null")):
            self._refuse(node, f"has no text for {key!r}")
        return str(node.value)

    def _texts(self, key: str) -> Iterator[str]:
        node = self._values.get(key)
        if node is None:
            return
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        if not nodes or len(nodes) > MAX_PATTERNS:
            self._refuse(node, f"has {len(nodes)} values for {key!r}", f"1 to {MAX_PATTERNS} are read")
        for each in nodes:
            yield self._scalar(key, each)

    def _platforms(self) -> Iterator[Platform]:
        for text in self._texts("platforms"):
            try:
                yield Platform.parse(text)
            except LaminaError as error:
                self._refuse(self._values["platforms"], f"has an {error.what}", error.hint)

    def _truth(self, key: str) -> bool:
        node = self._values.get(key)
        if node is None:
            return False
        if not isinstance(node, ScalarNode) or not node.tag.endswith(":bool"):
            self._refuse(node, f"says neither true nor false for {key!r}")
        return _TRUTH[node.value.lower()]

    def _repository(self, key: str, text: str) -> Reference:
        try:
            reference = Reference.parse(text, default_tag="")
        except LaminaError as error:
            self._refuse(self._values[key], f"has for {key!r} what is no name of a repository: {error}")
        if reference.tag or reference.digest:
            self._refuse(self._values[key], f"has a tag or digest in {key!r}", "tags are named by 'tags'")
        return reference

    def _line(self, node: Node) -> int:
        return int(node.start_mark.line) + 1

    def _refuse(self, node: Node, what: str, hint: str = "") -> NoReturn:
        raise InvalidContent(f"entry {self._number} {what}", f"{self._name}:{self._line(node)}", hint)


def _check_destinations(entries: list[Entry]) -> None:
    """What one entry would take away must not be what another one brought."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        other = seen.setdefault(entry.place, entry)
        if other is not entry and (other.prune or entry.prune):
            raise InvalidContent(f"{entry.place} is the destination of two entries, of which one prunes", entry.where,
                                 f"the other is at {other.where}")
