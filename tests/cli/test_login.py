"""`login` and `logout`: what is asked, what is said, and that no password is seen."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.stub import invoke
from lamina.errors import Unauthorized
from lamina.images import login as module
from lamina.images.login import LoggedIn
from lamina.registry.credentials import Credential, Credentials, Kept

Capture = pytest.CaptureFixture[str]
SECRET = "s3cr3t-password"


class Stdin(io.StringIO):
    """Standard input with these bytes; a terminal or not."""

    def __init__(self, data: bytes, *, terminal: bool = False) -> None:
        super().__init__(data.decode(errors="replace"))
        self.buffer = io.BytesIO(data)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The arguments of each login, which succeeds with what stands in `answer` (or raises it)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    calls: list[Any] = []

    @contextmanager
    def opened() -> Iterator[Any]:
        yield SimpleNamespace(credentials=Credentials.load())

    def login(_: object, host: str, username: str, password: str) -> LoggedIn:
        calls.append((host, username, password))
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    monkeypatch.setattr(module, "opened", opened)
    monkeypatch.setattr(module, "login", login)
    return calls


answer: list[Any] = [None]


@pytest.fixture(autouse=True)
def _answer() -> None:
    answer[0] = LoggedIn("reg.example", Kept("docker-credential-x", True), True)


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminal: bool = False) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(data, terminal=terminal))


@pytest.mark.parametrize(("given", "password"), [
    (SECRET.encode(), SECRET), (SECRET.encode() + b"\n", SECRET), (SECRET.encode() + b"\r\n", SECRET),
    (SECRET.encode() + b"\n\n", SECRET + "\n"), (b" x ", " x "), ("é".encode(), "é"),
])
def test_password_stdin(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any], given: bytes,
                        password: str) -> None:
    stdin(monkeypatch, given)
    ran = invoke(capsys, "login", "-u", "me", "--password-stdin", "reg.example")
    assert (ran.code, ran.out, ran.err) == (0, "Login Succeeded\n", "")
    assert tried == [("reg.example", "me", password)]


@pytest.mark.parametrize("given", [b"", b"\n", b"\r\n"])
def test_an_empty_password(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any], given: bytes) -> None:
    stdin(monkeypatch, given)
    ran = invoke(capsys, "login", "-u", "me", "--password-stdin")
    assert (ran.code, ran.err, tried) == (1, "lamina: error: the password on standard input is empty\n", [])


@pytest.mark.parametrize(("given", "words"), [(b"x" * 65_537, "longer than 64 KiB"), (b"\xff" + SECRET.encode(), "not UTF-8")])
def test_passwords_that_are_none(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any], given: bytes,
                                 words: str) -> None:
    stdin(monkeypatch, given)
    ran = invoke(capsys, "login", "-u", "me", "--password-stdin")
    assert (ran.code, tried) == (1, [])
    assert words in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("arguments", [["-p", SECRET], ["--password", SECRET], [f"--password={SECRET}"], [f"-p{SECRET}"]])
def test_a_password_in_the_arguments_is_refused(capsys: Capture, tried: list[Any], arguments: list[str]) -> None:
    ran = invoke(capsys, "login", "-u", "me", *arguments, "reg.example")
    assert (ran.code, tried) == (125, [])
    assert "--password-stdin" in ran.err
    assert SECRET not in ran.err


def test_password_stdin_needs_a_name(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    stdin(monkeypatch, b"x")
    ran = invoke(capsys, "login", "--password-stdin")
    assert (ran.code, ran.err, tried) == (125, "lamina: error: --password-stdin goes with --username\n", [])


def test_off_a_terminal_nothing_is_asked(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    stdin(monkeypatch, b"me\n")
    ran = invoke(capsys, "login")
    assert (ran.code, tried) == (1, [])
    assert "standard input is no terminal, use --username and --password-stdin" in ran.err


def test_on_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    stdin(monkeypatch, b"me\n", terminal=True)
    asked = []
    monkeypatch.setattr("lamina.cli.commands.login.getpass", lambda prompt: asked.append(prompt) or SECRET)
    ran = invoke(capsys, "login", "reg.example")
    assert (ran.code, ran.out, ran.err) == (0, "Login Succeeded\n", "Username: ")
    assert (tried, asked) == ([("reg.example", "me", SECRET)], ["Password: "])
    assert SECRET not in ran.out + ran.err


def test_the_known_name_is_offered(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    Credentials.load().store("docker.io", Credential("old\x1b", SECRET))
    stdin(monkeypatch, b"\n", terminal=True)
    monkeypatch.setattr("lamina.cli.commands.login.getpass", lambda _: SECRET)
    ran = invoke(capsys, "login")
    assert ran.err == "Username (old\\x1b): "
    assert tried == [("", "old\x1b", SECRET)]


def test_ctrl_d_and_ctrl_c_at_the_password(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    for error in (EOFError, KeyboardInterrupt):
        stdin(monkeypatch, b"", terminal=True)

        def ask(_: str, error: type[BaseException] = error) -> str:
            raise error

        monkeypatch.setattr("lamina.cli.commands.login.getpass", ask)
        ran = invoke(capsys, "login", "-u", "me")
        assert ran.code == (1 if error is EOFError else 130)
        assert ran.err.count("\n") == 1
    assert tried == []


def test_what_is_said_of_where_it_lies(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    answer[0] = LoggedIn("reg.example", Kept("/home/me/.docker/config.json", False), False, "$DOCKER_AUTH_CONFIG")
    stdin(monkeypatch, b"x")
    ran = invoke(capsys, "login", "-u", "me", "--password-stdin", "reg.example")
    assert (ran.code, ran.out) == (0, "Login Succeeded\n")
    unencrypted, unasked, hidden = ran.err.splitlines()
    assert "is stored unencrypted, /home/me/.docker/config.json" in unencrypted
    assert "reg.example asks for no login" in unasked
    assert "comes before this one, $DOCKER_AUTH_CONFIG" in hidden


def test_a_login_that_is_refused(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tried: list[Any]) -> None:
    answer[0] = Unauthorized("reg.example refuses them")
    stdin(monkeypatch, SECRET.encode())
    ran = invoke(capsys, "login", "-u", "me", "--password-stdin", "reg.example")
    assert (ran.code, ran.out, ran.err) == (1, "", "lamina: error: reg.example refuses them\n")


@pytest.mark.usefixtures("tried")
def test_logout(capsys: Capture, tmp_path: Path) -> None:
    Credentials.load().store("reg.example", Credential("me", SECRET))
    for server, said in (("other.example", "Not logged in to other.example\n"),
                         ("https://reg.example/", "Removing login credentials for reg.example\n"),
                         ("reg.example", "Not logged in to reg.example\n"), ("", "Not logged in to docker.io\n")):
        ran = invoke(capsys, "logout", *([server] if server else []))
        assert (ran.code, ran.out, ran.err) == (0, said, "")
    assert json.loads((tmp_path / ".docker/config.json").read_text()) == {"auths": {}}


@pytest.mark.usefixtures("tried")
def test_logout_tells_of_what_it_does_not_touch(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", '{"auths": {"reg.example": {"username": "me", "password": "x"}}}')
    ran = invoke(capsys, "logout", "reg.example")
    assert ran.err == "lamina: warning: a credential of reg.example is still known, $DOCKER_AUTH_CONFIG\n"


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("server", ["a b", "a\nb", "-", "reg.example:x", "reg_example:99999999", "\x1b[31m"])
def test_what_is_no_server(capsys: Capture, server: str) -> None:
    ran = invoke(capsys, "logout", "--", server)
    assert (ran.code, ran.out) == (125, "")
    assert ran.err.startswith("lamina: error: that is no registry's name, ")
    assert ran.err.count("\n") == 1
