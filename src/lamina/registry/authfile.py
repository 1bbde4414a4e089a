"""One file of credentials as docker and podman write it (`config.json`, `auth.json`): read, looked up, changed.

    {"auths": {KEY: {"auth": base64("user:password"), "identitytoken": …, "registrytoken": …}},
     "credHelpers": {HOST: NAME}, "credsStore": NAME}

KEY is a host, a host with a scheme or an old path (`https://host/v1/`), or podman's `host/namespace`.  No error quotes the
file: any part of it may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from lamina.errors import InvalidContent, LimitExceeded
from lamina.jsonlimits import Fields, loads

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"  # what docker calls Docker Hub in its files and to its helpers
_HUB_NAMES = {"docker.io", "index.docker.io", "registry-1.docker.io"}
MAX_FILE = 4 << 20
MAX_SECRET = 64 << 10  # bytes of a password or token

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """Who one is to a registry: user and password, or an identity token (exchanged for bearer tokens), or a bearer token."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


def name_of(key: str) -> str:
    """What a key stands for: `host[:port]` or `host[:port]/namespace`, with one name for Docker Hub."""
    bare = key.removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    host = host.lower()
    if host in _HUB_NAMES:
        host = HUB
    path = path.strip("/")
    # A key with a scheme, or the path of an old protocol, names a registry and no namespace.
    return host if bare != key or path in ("", "v1", "v2") else f"{host}/{path}"


def key_of(host: str) -> str:
    """The key under which docker keeps a registry."""
    return HUB_KEY if host == HUB else host


class AuthFile:
    """A file or variable, read when it is first looked at; `where` names it in errors."""

    def __init__(self, where: str, read: Callable[[], bytes | None]) -> None:
        self.where = where
        self._read = read
        self._document: Document | None = None

    @classmethod
    def at(cls, path: Path) -> AuthFile:
        """The file at a path; one that is not there is empty."""
        return cls(str(path), lambda: _bytes(path))

    def forget(self) -> None:
        """Read anew at the next look."""
        self._document = None

    def helpers(self, host: str) -> Iterator[tuple[str, str]]:
        """(helper, key) pairs to be asked for a registry, in docker's order: its own helper, then the one for all."""
        document = self._fields()
        for key, helper in document.text_mapping("credHelpers").items():
            if name_of(key) == host and helper:
                yield helper, key
        if helper := document.text("credsStore"):
            yield helper, key_of(host)

    def lookup(self, name: str) -> Credential | None:
        """The credential of a registry or namespace that stands in the file itself; `InvalidContent` for a broken entry."""
        keys = [key for key in self._fields().mapping("auths") if name_of(key) == name]
        for key in sorted(keys, key=lambda key: key != key_of(name)):
            found = self._entry(key, name)
            if found is not None:
                return found
        return None

    def _entry(self, key: str, name: str) -> Credential | None:
        entry = Fields(self._fields().mapping("auths")[key] or {}, "the credentials", f"auths[{name[:80]!r}]", self.where)
        identity, token = entry.text("identitytoken"), entry.text("registrytoken")
        username, password = entry.text("username"), entry.text("password")
        if encoded := entry.text("auth"):
            try:
                # docker pads with NUL.
                username, colon, password = base64.b64decode(encoded, validate=True).decode().rstrip("\0").partition(":")
            except (binascii.Error, ValueError):  # Not chained: its words may quote the secret.
                colon = ""
            if not colon:
                entry.refuse("auth", "is not base64 of user:password")
        if max(len(text) for text in (username, password, identity, token)) > MAX_SECRET:
            raise LimitExceeded("a credential is too long", self.where, f"at most {MAX_SECRET} characters are read")
        if not (password or identity or token):
            return None
        return Credential(username, password, identity, token)

    def _fields(self) -> Fields:
        if self._document is None:
            self._document = parse(self._read() or b"{}", self.where)
        return Fields(self._document, "the credentials", where=self.where)


def parse(data: bytes, where: str) -> Document:
    """The JSON of such a file; `InvalidContent` says where it breaks but quotes nothing."""
    try:
        return loads(data, "the credentials", MAX_FILE)
    except (InvalidContent, LimitExceeded) as error:
        cause = error.__cause__
        place = f" (line {cause.lineno}, column {cause.colno})" if isinstance(cause, JSONDecodeError) else ""
    raise InvalidContent(f"a file of credentials is no valid JSON{place}", where, "mend it or move it away")


def entry_for(credential: Credential) -> Document:
    """The entry that docker writes."""
    user = f"{credential.username}:{'' if credential.identity_token else credential.password}"
    entry = {"auth": base64.b64encode(user.encode()).decode()}
    return entry | ({"identitytoken": credential.identity_token} if credential.identity_token else {})


def change(path: Path, edit: Callable[[Document], bool]) -> bool:
    """Let `edit` change the document and write it, unless it says that nothing is to change; what it returned.

    The file is replaced as a whole, readable by its owner only; a link to it stays one.  Two that change it at once wait
    for each other.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path.parent):
        document = parse(_bytes(path) or b"{}", str(path))
        changed = edit(document)
        if changed:
            _replace(path, json.dumps(document, indent="\t", ensure_ascii=False).encode() + b"\n")
        return changed


def entries(document: Document, where: str) -> Document:
    """The `auths` of a document, made if they are not there."""
    found = document.setdefault("auths", {}) or {}
    if not isinstance(found, dict):
        raise InvalidContent("the credentials: auths is not an object", where)
    document["auths"] = found
    return found


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock: it leaves no file behind.  A file system without locks goes without."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _replace(path: Path, data: bytes) -> None:
    number, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
