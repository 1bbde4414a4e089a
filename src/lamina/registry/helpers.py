"""Programs that keep credentials: docker's helper protocol, `docker-credential-NAME get|store|erase`.

`get` and `erase` read the registry's name from standard input, `store` reads `{"ServerURL", "Username", "Secret"}`; `get`
writes the same object.  A helper that has nothing exits with 1 and says so on standard output.  What else it writes may be
a secret: none of it is ever shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping

from lamina.errors import InvalidContent, LaminaError, LimitExceeded
from lamina.jsonlimits import Fields, loads

PREFIX = "docker-credential-"
PATIENCE = 120.0  # seconds; a person may have to unlock a key ring
MAX_OUTPUT = 256 << 10  # bytes; tokens of cloud registries are about 4 KiB

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_NOTHING = b"credentials not found"


class HelperFailed(LaminaError):
    """A credential helper that is not there, fails, hangs or makes no sense."""


class Helper:
    """One helper by its name; `patience` in seconds."""

    def __init__(self, name: str, env: Mapping[str, str], patience: float = PATIENCE) -> None:
        if not _NAME.fullmatch(name):  # Never a path: a configuration may be a stranger's.
            raise HelperFailed("a credential helper's name makes no sense", repr(name[:64]),
                               "mend credsStore or credHelpers in the docker configuration")
        self.program = PREFIX + name
        self._env, self._patience = dict(env), patience

    def get(self, server: str) -> tuple[str, str] | None:
        """(user name, secret) for a registry; None where the helper has none.  The name `<token>` marks an identity token."""
        status, out = self._run("get", server.encode())
        if status:
            if _NOTHING in out:
                return None
            raise self._failed(f"failed with exit status {status}", server)
        try:
            answer = Fields(loads(out, "the answer", MAX_OUTPUT), "the answer")
            username, secret = answer.text("Username"), answer.text("Secret")
        except (InvalidContent, LimitExceeded):  # Not chained: its words may quote the answer.
            raise self._failed("gave an answer that makes no sense", server) from None
        return (username, secret) if secret else None

    def store(self, server: str, username: str, secret: str) -> None:
        """Keep a credential; `HelperFailed`."""
        given = json.dumps({"ServerURL": server, "Username": username, "Secret": secret}).encode()
        status, _ = self._run("store", given)
        if status:
            raise self._failed(f"failed to store, with exit status {status}", server)

    def erase(self, server: str) -> bool:
        """Forget the credential of a registry; False where the helper has none."""
        status, out = self._run("erase", server.encode())
        if status and _NOTHING not in out:
            raise self._failed(f"failed to erase, with exit status {status}", server)
        return status == 0

    def _run(self, action: str, given: bytes) -> tuple[int, bytes]:
        """Exit status, and what it wrote to standard output."""
        path = shutil.which(self.program, path=self._env.get("PATH", os.defpath))
        if path is None:
            raise HelperFailed(f"the credential helper {self.program} is not there",
                               hint="install it, or take it out of the docker configuration")
        # Input from memory rather than a pipe: a helper that does not read cannot block us.
        with os.fdopen(os.memfd_create("credential"), "w+b") as stdin:
            stdin.write(given)
            stdin.seek(0)
            try:
                # A session of its own, so that all that it starts can be ended with it.
                process = subprocess.Popen([path, action], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                           env=self._env, start_new_session=True)
            except OSError as error:
                raise self._failed(f"cannot be run: {error.strerror}") from error
        with process:
            try:
                return self._watch(process)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def _watch(self, process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
        """Read to the end, within the limits of time and size."""
        assert process.stdout is not None
        end = time.monotonic() + self._patience
        number, out = process.stdout.fileno(), bytearray()
        poll = select.poll()
        poll.register(number, select.POLLIN)
        while True:
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                raise self._failed(f"did not end within {self._patience:g} seconds")
            data = os.read(number, 65536)
            if not data:
                break
            out += data
            if len(out) > MAX_OUTPUT:
                raise self._failed(f"wrote more than {MAX_OUTPUT >> 10} KiB")
        try:
            return process.wait(max(0.0, end - time.monotonic())), bytes(out)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end within {self._patience:g} seconds") from None

    def _failed(self, problem: str, server: str = "") -> HelperFailed:
        return HelperFailed(f"the credential helper {self.program} {problem}", server, "run it by hand to see more")
