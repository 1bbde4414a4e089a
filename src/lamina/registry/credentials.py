"""Who we are to each registry: docker's and podman's files, and the helpers that they name.

Looked at in this order; the first that has something for the registry counts:

    $DOCKER_AUTH_CONFIG                       the JSON itself, as CI systems give it
    $REGISTRY_AUTH_FILE                       podman's way to name a file
    $DOCKER_CONFIG/config.json, else ~/.docker/config.json
    $XDG_RUNTIME_DIR/containers/auth.json, else /run/containers/UID/auth.json
    $XDG_CONFIG_HOME/containers/auth.json, else ~/.config/containers/auth.json

In each: the registry's own helper (`credHelpers`), the helper for all (`credsStore`), then what stands in the file
itself, a namespace of the registry before the whole of it.  `store` and `erase` work on docker's file and its helpers, so
that docker sees the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamina.registry.authfile import (
    AuthFile,
    Credential,
    Document,
    change,
    entries,
    entry_for,
    key_of,
    name_of,
)
from lamina.registry.helpers import PATIENCE, PREFIX, Helper

__all__ = ["Credential", "Credentials", "Kept"]

# In a helper, the user name of what is an identity token.
_TOKEN_USER = "<token>"
# Every request asks who we are: repositories whose answer is kept.
_MAX_FOUND = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a credential was stored (a file, or a helper's name), and whether that is more than an encoding."""

    place: str
    encrypted: bool

    def __str__(self) -> str:
        return self.place


class Credentials:
    """All that is known of us; thread-safe.  Files are read, and helpers asked, when first needed, and once."""

    def __init__(self, files: Sequence[AuthFile], own: Path, env: Mapping[str, str], patience: float = PATIENCE) -> None:
        """`files` in the order of look-up; `own` is the file that is written."""
        self._files, self._own, self._env, self._patience = files, own, env, patience
        self._found: dict[tuple[str, str], tuple[Credential, str] | None] = {}
        self._answers: dict[tuple[str, str], Credential | None] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ) -> Credentials:
        """As the environment says; nothing is read yet."""
        text = os.fsencode(env.get("DOCKER_AUTH_CONFIG", "")).strip()
        files = [AuthFile("$DOCKER_AUTH_CONFIG", lambda: text)] if text else []
        own = _own(env)
        return cls([*files, *map(AuthFile.at, dict.fromkeys(_paths(env, own)))], own, env)

    def get(self, host: str, repository: str = "") -> Credential | None:
        """What is known for a repository of a registry (as references name it); None: nobody.

        A broken file is `InvalidContent`, a helper that fails `HelperFailed`: to go on as nobody would end in a riddle.
        """
        found = self._find(host, repository)
        return found[0] if found else None

    def where(self, host: str) -> str:
        """The file or helper that `get` would answer from; '' for none."""
        found = self._find(host, "")
        return found[1] if found else ""

    def store(self, host: str, credential: Credential) -> Kept:
        """Keep a credential in docker's file, or the helper that it names."""
        host = name_of(host)
        with self._lock:
            helper = next(self._own_file().helpers(host), None)
            if helper is not None:
                user, secret = credential.username, credential.password
                if credential.identity_token:
                    user, secret = _TOKEN_USER, credential.identity_token
                self._helper(helper[0]).store(helper[1], user, secret)
            # Of what a helper keeps, docker notes the registry's name.
            entry = {} if helper else entry_for(credential)

            def edit(document: Document) -> bool:
                entries(document, str(self._own))[key_of(host)] = entry
                return True

            change(self._own, edit)
            self._forget()
        return Kept(PREFIX + helper[0], True) if helper else Kept(str(self._own), False)

    def erase(self, host: str) -> bool:
        """Forget a registry's credential in docker's file and its helpers; False if there was none."""
        host = name_of(host)

        def edit(document: Document) -> bool:
            found = entries(document, str(self._own))
            keys = [key for key in found if name_of(key) == host]
            for key in keys:
                del found[key]
            return bool(keys)

        with self._lock:
            erased = [self._helper(name).erase(key) for name, key in self._own_file().helpers(host)]
            erased.append(self._own.exists() and change(self._own, edit))
            self._forget()
        return any(erased)

    def _find(self, host: str, repository: str) -> tuple[Credential, str] | None:
        with self._lock:
            if (host, repository) not in self._found:
                if len(self._found) >= _MAX_FOUND:
                    self._found.clear()
                self._found[host, repository] = self._search(name_of(host), repository)
            return self._found[host, repository]

    def _search(self, host: str, repository: str) -> tuple[Credential, str] | None:
        for file in self._files:
            for helper, key in file.helpers(host):
                if found := self._ask(helper, key):
                    return found, PREFIX + helper
            for name in _names(host, repository):
                if found := file.lookup(name):
                    return found, file.where
        return None

    def _ask(self, helper: str, key: str) -> Credential | None:
        if (helper, key) not in self._answers:
            answer = self._helper(helper).get(key)
            self._answers[helper, key] = _credential(*answer) if answer else None
        return self._answers[helper, key]

    def _helper(self, name: str) -> Helper:
        return Helper(name, self._env, self._patience)

    def _own_file(self) -> AuthFile:
        return AuthFile.at(self._own)

    def _forget(self) -> None:
        self._found.clear()
        self._answers.clear()
        for file in self._files:
            file.forget()


def _credential(username: str, secret: str) -> Credential:
    return Credential("", "", secret) if username == _TOKEN_USER else Credential(username, secret)


def _names(host: str, repository: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host`."""
    while repository:
        yield f"{host}/{repository}"
        repository = repository.rpartition("/")[0]
    yield host


def _home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()


def _own(env: Mapping[str, str]) -> Path:
    """Docker's file."""
    return Path(env["DOCKER_CONFIG"] if env.get("DOCKER_CONFIG") else _home(env) / ".docker") / "config.json"


def _paths(env: Mapping[str, str], own: Path) -> Iterator[Path]:
    """The files in the order of look-up."""
    if named := env.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield own
    runtime = env.get("XDG_RUNTIME_DIR")
    yield Path(runtime or f"/run/containers/{os.getuid()}") / ("containers/auth.json" if runtime else "auth.json")
    config = env.get("XDG_CONFIG_HOME")
    yield (Path(config) if config else _home(env) / ".config") / "containers/auth.json"
