"""Between the processes of a server: an upload is ended by the process that has had it in its pipeline.

Clients send the next request of an upload over whatever connection is free, and so to whatever process: half of the layers that
skopeo pushed to two processes went through the pipeline twice (1.4 times the CPU time), and the first one's session stood there
for a minute.  The process that is asked for the end holds the upload, asks the others who has it, and waits for what that one
made of it.  When nobody has it, or whoever had it dies, it does it itself: nothing depends on an answer.

Each process listens on a socket in `state/serving`.  A request is a line of JSON, `no` or `yes` comes at once, the outcome
follows `yes`.  Only processes of the same user are heard.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from lamina.digest import Digest
from lamina.errors import LaminaError
from lamina.registry.server.refusal import Refusal

FOLDER: Final = "serving"
LINE: Final = 4096  # bytes: an id, a name, a digest
SOON: Final = 2.0  # seconds for what needs no work
LONG: Final = 600.0  # seconds for a blob's end
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid

# (upload, repository, digest, bytes): None if it is not here, else what ends it; see `Uploads.adopt`.
Adopt = Callable[[str, str, Digest, int], Callable[[], None] | None]


class Handover:
    """One process's part in it: listens until it is closed."""

    def __init__(self, state_dir: Path, adopt: Adopt) -> None:
        self._folder, self._adopt = state_dir / FOLDER, adopt
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._name = secrets.token_hex(8)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _reached(self._folder / self._name) as address:
            self._listener.bind(address)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, name="lamina-handover", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is heard any more; what has been promised is done."""
        (self._folder / self._name).unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    # -- asking

    def ask(self, upload_id: str, repository: str, digest: Digest, size: int) -> bool:
        """Let another process end an upload, which this one holds; False if none has done it.  `Refusal` as of the end."""
        for path in self._others():
            with suppress(OSError, ValueError), _connected(path) as (connection, lines):
                request = {"upload": upload_id, "repository": repository, "digest": digest, "size": size}
                connection.sendall(json.dumps(request).encode() + b"\n")
                if lines.readline(LINE) != b"yes\n":
                    continue
                connection.settimeout(LONG)
                outcome = json.loads(lines.readline(LINE))
                if isinstance(outcome, dict) and outcome.get("refused"):
                    raise Refusal(str(outcome["refused"]), str(outcome.get("message", "")))
                return bool(outcome == {"done": True})
        return False

    def _others(self) -> list[Path]:
        with suppress(OSError):
            return sorted(each for each in self._folder.iterdir() if each.name != self._name)
        return []

    # -- being asked

    def _serve(self) -> None:
        threads: list[threading.Thread] = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            threads = [each for each in threads if each.is_alive()]
            threads.append(threading.Thread(target=self._answer, args=(connection,), name="lamina-handover", daemon=True))
            threads[-1].start()
        for each in threads:
            each.join()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError, KeyError, TypeError, LaminaError):
            connection.settimeout(SOON)
            if _user_of(connection) != os.geteuid():
                return
            with connection.makefile("rb") as lines:
                request = json.loads(lines.readline(LINE))
            end = self._adopt(str(request["upload"]), str(request["repository"]), Digest(request["digest"]),
                              int(request["size"]))
            if end is None:
                connection.sendall(b"no\n")
                return
            with suppress(OSError):  # even if nobody waits any more
                connection.sendall(b"yes\n")
            connection.sendall(json.dumps(_outcome(end)).encode() + b"\n")


def _outcome(end: Callable[[], None]) -> dict[str, object]:
    """What to tell; where there is something else wrong, nothing: whoever asked does it by itself, and meets the reason."""
    try:
        end()
    except Refusal as error:
        return {"refused": error.code, "message": error.message}
    return {"done": True}


def _user_of(connection: socket.socket) -> int:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


@contextmanager
def _connected(path: Path) -> Iterator[tuple[socket.socket, IO[bytes]]]:
    """To the process that listens there; one that does not any more leaves nothing.  OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SOON)
        try:
            with _reached(path) as address:
                connection.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            raise
        with connection.makefile("rb") as lines:
            yield connection, lines


@contextmanager
def _reached(path: Path) -> Iterator[str]:
    """An address for a socket at a path of any length (108 bytes are the most that the kernel takes)."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
