"""Settings, users, keys and certificate of a running server, as their files say now.

A changed configuration is taken whole or not at all: with the files it names, all of which have to be right.  A changed file
among those it names is taken by itself, so that a certificate half written does not keep a user alive who was taken out.  What
is wrong is said once, and the former stays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lamina.errors import LaminaError
from lamina.registry.server.access import configuration, files, htpasswd, keys
from lamina.registry.server.access.access import Access
from lamina.registry.server.access.basic import Basic
from lamina.registry.server.access.grants import Grant
from lamina.registry.server.access.hashing import Hasher
from lamina.registry.server.access.htpasswd import Users
from lamina.registry.server.access.identity import Gate
from lamina.registry.server.access.tokens import Bearer
from lamina.registry.server.access.watch import Watched
from lamina.registry.server.configured import Htpasswd, Settings, TlsFiles, Token
from lamina.registry.server.tls import ServerTls

# Settings -> (a repository as it is asked for -> the name that rules are about).
Naming = Callable[[Settings], Callable[[str], str]]
# Seconds between two looks at the files.
INTERVAL = 1.0
# What sockets and processes were made of at the start.
_FIXED: dict[str, Callable[[Settings], object]] = {
    "listen": lambda settings: settings.listen,
    "workers": lambda settings: settings.workers,
    "tls on or off": lambda settings: settings.tls is None,
    "tls.min_version": lambda settings: settings.tls and settings.tls.min_version,
}


class State:
    """One configuration with the files it names, all of them right; `LaminaError` where one is not."""

    def __init__(self, settings: Settings, hasher: Callable[[], Hasher], tls: ServerTls | None = None,
                 naming: Naming = lambda _: lambda name: name) -> None:
        self.settings = settings
        self.watched: list[Watched[Any]] = []
        self.access = Access(settings, self._gate(settings.auth, hasher), naming(settings))
        self.tls = self._tls(settings.tls, tls) if settings.tls else None

    def _gate(self, auth: Htpasswd | Token | None, hasher: Callable[[], Hasher]) -> Gate | None:
        if isinstance(auth, Htpasswd):
            file, made = auth.file, hasher()
            users = Watched("the htpasswd file", [file], lambda data: Users(htpasswd.parse(data[0], file), made))
            self.watched.append(users)
            return Basic(lambda: users.value, auth.realm)
        if isinstance(auth, Token):
            path = auth.keys
            found = Watched("the file of keys for tokens", [path], lambda data: keys.load(data[0], path))
            self.watched.append(found)
            return Bearer(lambda: found.value, auth)
        return None

    def _tls(self, paths: TlsFiles, former: ServerTls | None) -> ServerTls:
        """The last to be made: a former one is changed by it."""
        made = former or ServerTls(paths)
        self.watched.append(Watched("the certificate", [paths.certificate, paths.key], lambda _: made.renew(paths)))
        return made


class Live:
    """What the HTTP part holds; fits `admission`.  Thread-safe.

    `path`: the configuration, or None.  `override`: what the command line says, put over each configuration that is read.
    `say`: for the log.  `naming`: see `Naming`.  `LaminaError` where it cannot start so.
    """

    def __init__(self, path: Path | None, *, override: Callable[[Settings], Settings] = lambda settings: settings,
                 say: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic,
                 naming: Naming = lambda _: lambda name: name) -> None:
        self._naming = naming
        self._path, self._override, self._say, self._clock = path, override, say, clock
        self._hasher: Hasher | None = None
        self._data = self._read()
        self._state = State(self._settings(self._data), self._get_hasher, naming=naming)
        # The same object for as long as the server runs; None is a server without TLS.
        self.tls = self._state.tls
        self._problem = ""
        self._lock = threading.Lock()
        self._next = clock() + INTERVAL

    @property
    def settings(self) -> Settings:
        """The present ones."""
        return self._state.settings

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        """As of `Access.admit`, by the present state."""
        self.refresh()
        return self._state.access.admit(headers, repository, action, also)

    def quick(self, headers: Mapping[str, str]) -> bool:
        """As of `Access.quick`."""
        self.refresh()
        return self._state.access.quick(headers)

    def refresh(self) -> None:
        """Look at the files if it is time to; while one thread does, the others go on with what was."""
        if self._clock() >= self._next and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()

    def reload(self) -> None:
        """Look at the files now (SIGHUP); not from a signal handler itself, as it waits for a look that is under way."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        self._next = self._clock() + INTERVAL
        try:
            data = self._read()
            if data != self._data:
                self._change(self._settings(data))
                # Not before: a file that it names may come a moment after it.
                self._data = data
            self._problem = ""
        except LaminaError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._say(f"{error}; the former configuration stays")
        for watched in self._state.watched:
            news = watched.refresh()
            if news:
                self._say(news)

    def _change(self, settings: Settings) -> None:
        former, self._state = self._state, State(settings, self._get_hasher, self.tls, self._naming)
        self._say("the configuration was read again")
        for name, fixed in _FIXED.items():
            if fixed(settings) != fixed(former.settings):
                self._say(f"{name} has changed: that takes effect at the next start")
        for caution in settings.cautions():
            self._say(caution)

    def _read(self) -> bytes:
        return files.read(self._path, "the configuration of the server") if self._path else b""

    def _settings(self, data: bytes) -> Settings:
        return self._override(configuration.parse(data, self._path) if self._path else Settings())

    def _get_hasher(self) -> Hasher:
        """One for the process, whatever happens to the file: its bound is on the processor's time."""
        if self._hasher is None:
            self._hasher = Hasher()
        return self._hasher
