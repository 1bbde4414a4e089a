"""Files that change under a running server: what is right is taken, what is wrong is said once and the former stays."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lamina.errors import InvalidContent, LaminaError, NotFound
from lamina.registry.server.access.live import INTERVAL, Live
from lamina.registry.server.configured import Settings
from lamina.registry.server.refusal import Refusal
from registry.access.kit import PASSWORD, Clock, basic, ec_key, hashed, pem, rsa_key, token
from registry.access.test_tls import client, der, shake
from registry.conftest import Pki


class Room:
    """A directory with a configuration and the server that lives by it."""

    def __init__(self, directory: Path, text: str, **files: bytes) -> None:
        self.directory, self.clock = directory, Clock()
        self.said: list[str] = []
        for name, data in files.items():
            self.put(name, data)
        self.put("lamina.toml", text.encode())
        self.live = Live(directory / "lamina.toml", say=self.said.append, clock=self.clock)

    def put(self, name: str, data: bytes) -> None:
        (self.directory / name).write_bytes(data)

    def later(self) -> None:
        self.clock.now += INTERVAL

    def knows(self, user: str, password: bytes = PASSWORD) -> bool:
        try:
            return self.live.admit({"Authorization": basic(user, password)}, None, "pull").user == user
        except Refusal as refusal:
            assert refusal.code == "UNAUTHORIZED"
            return False

    def news(self) -> str:
        found = "\n".join(self.said)
        self.said.clear()
        return found


USERS = '[auth.htpasswd]\nfile = "users"\n'
ANN, BOB = b"ann:" + hashed() + b"\n", b"bob:" + hashed() + b"\n"


def test_without_a_file_the_command_line_is_all() -> None:
    live = Live(None, override=lambda settings: replace(settings, read_only=True))
    assert live.settings == Settings(read_only=True) and live.tls is None
    live.reload()
    live.admit({}, "a", "pull")
    with pytest.raises(Refusal):
        live.admit({}, "a", "push")


def test_users_come_and_go_with_the_file_and_what_was_remembered_goes_too(tmp_path: Path) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    assert room.knows("ann") and not room.knows("bob")
    room.put("users", BOB)
    assert room.knows("ann") and not room.knows("bob")  # Not looked at yet.
    room.later()
    assert not room.knows("ann") and room.knows("bob") and room.news() == "the htpasswd file was read again"
    room.later()
    assert room.knows("bob") and room.news() == ""


def test_a_change_is_seen_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    before = (tmp_path / "users").stat()
    room.put("users", BOB)
    os.utime(tmp_path / "users", ns=(before.st_atime_ns, before.st_mtime_ns))
    room.later()
    assert room.knows("bob") and not room.knows("ann")


def test_a_changed_password_is_not_the_remembered_one(tmp_path: Path) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    assert room.knows("ann")
    room.put("users", b"ann:" + hashed(b"another"))
    room.live.reload()
    assert not room.knows("ann") and room.knows("ann", b"another")


@pytest.mark.parametrize("bad", [b"ann:plain", b"ann:" + hashed()[:20], b"\xff"])
def test_a_wrong_file_of_users_is_said_once_and_the_former_stays(tmp_path: Path, bad: bytes) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    room.put("users", bad)
    for _ in range(3):
        room.later()
        assert room.knows("ann")
    news = room.news()
    assert news.count("the former one stays") == 1 and "users:1" in news and "plain" not in news
    assert hashed()[:20].decode() not in news
    room.put("users", BOB)
    room.later()
    assert room.knows("bob") and not room.knows("ann")


def test_a_file_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    (tmp_path / "users").unlink()
    room.later()
    assert room.knows("ann") and "is not there" in room.news()
    room.put("users", ANN)
    room.later()
    assert room.knows("ann") and room.news() == "the htpasswd file was read again"


def test_a_wrong_configuration_is_said_once_and_the_former_stays_until_it_is_right(tmp_path: Path) -> None:
    room = Room(tmp_path, USERS, users=ANN)
    room.put("lamina.toml", ("read_onyl = true\n" + USERS).encode())
    for _ in range(3):
        room.later()
        assert room.knows("ann") and not room.live.settings.read_only
    news = room.news()
    assert news.count("stays") == 1 and "did you mean 'read_only'" in news
    room.put("lamina.toml", ("read_only = true\n" + USERS).encode())
    room.later()
    assert room.knows("ann") and room.live.settings.read_only and room.news() == "the configuration was read again"
    room.later()
    assert room.knows("ann") and room.news() == ""
    (tmp_path / "lamina.toml").unlink()
    room.later()
    assert room.knows("ann") and "is not there" in room.news()


def test_a_configuration_is_taken_with_its_files_or_not_at_all(tmp_path: Path) -> None:
    room = Room(tmp_path, "", users=ANN)
    room.put("lamina.toml", b'read_only = true\n[auth.htpasswd]\nfile = "later"\n')
    room.later()
    room.live.refresh()
    assert not room.live.settings.read_only and "later" in room.news()
    room.put("later", BOB)
    room.later()
    assert room.knows("bob") and room.live.settings.read_only


def test_a_user_is_taken_out_though_the_certificate_is_broken(tmp_path: Path, pki: Pki) -> None:
    room = Room(tmp_path, USERS + '[tls]\ncert = "c"\nkey = "k"', users=ANN + BOB,
    c=(pki.directory / "server.crt").read_bytes(),
                k=(pki.directory / "server.key").read_bytes())
    room.put("c", b"half")
    room.put("users", BOB)
    room.later()
    assert not room.knows("ann") and room.knows("bob") and "certificate" in room.news()
    assert room.live.tls is not None
    assert shake(room.live.tls.context, client())[0] == der(pki.directory / "server.crt")


def test_a_certificate_is_replaced_once_both_its_files_are(tmp_path: Path, pki: Pki) -> None:
    room = Room(tmp_path, '[tls]\ncert = "c"\nkey = "k"', c=(pki.directory / "server.crt").read_bytes(),
    k=(pki.directory / "server.key").read_bytes())
    tls = room.live.tls
    assert tls is not None
    room.put("c", (pki.directory / "other.crt").read_bytes())
    room.live.reload()
    assert "belong together" in room.news() and shake(tls.context, client())[0] == der(pki.directory / "server.crt")
    room.put("k", (pki.directory / "other.key").read_bytes())
    room.live.reload()
    assert room.news() == "the certificate was read again" and shake(tls.context,
    client())[0] == der(pki.directory / "other.crt")
    # So by a configuration that names others; the server goes on with the same object.
    room.put("c2", (pki.directory / "server.crt").read_bytes())
    room.put("k2", (pki.directory / "server.key").read_bytes())
    room.put("lamina.toml", b'[tls]\ncert = "c2"\nkey = "k2"')
    room.live.reload()
    assert shake(tls.context, client())[0] == der(pki.directory / "server.crt") and room.live.tls is tls
    room.put("lamina.toml", b"")
    room.live.reload()
    assert room.live.tls is tls and "tls on or off has changed: that takes effect at the next start" in room.news()


def test_a_configuration_with_a_wrong_certificate_changes_nothing(tmp_path: Path, pki: Pki) -> None:
    room = Room(tmp_path, '[tls]\ncert = "c"\nkey = "k"', c=(pki.directory / "server.crt").read_bytes(),
    k=(pki.directory / "server.key").read_bytes(),
                users=ANN)
    room.put("lamina.toml", (USERS + '[tls]\ncert = "users"\nkey = "k"').encode())
    room.live.reload()
    assert room.live.settings.auth is None and room.live.admit({}, "a", "push").user == ""
    assert room.live.tls and shake(room.live.tls.context, client())[0] == der(pki.directory / "server.crt")


def test_keys_of_tokens_change(tmp_path: Path) -> None:
    text = '[auth.token]\nrealm = "https://a/"\nservice = "registry.example"\nissuer = "issuer.example"\nkeys = "keys"\n'
    room = Room(tmp_path, text, keys=pem(rsa_key()))

    def says(key: object, algorithm: str) -> str:
        content = {"iss": "issuer.example", "aud": "registry.example", "exp": 1 << 40, "sub": "ann"}
        try:
            return room.live.admit({"Authorization": f"Bearer {token(content, key, algorithm)}"}, None, "pull").user
        except Refusal as refusal:
            return refusal.code

    assert (says(rsa_key(), "RS256"), says(ec_key(), "ES256")) == ("ann", "UNAUTHORIZED")
    room.put("keys", pem(ec_key()))
    room.live.reload()
    assert (says(rsa_key(), "RS256"), says(ec_key(), "ES256")) == ("UNAUTHORIZED", "ann")
    room.put("keys", b"")
    room.live.reload()
    assert says(ec_key(), "ES256") == "ann" and "no key" in room.news()


def test_rules_change(tmp_path: Path) -> None:
    rule = '[[rule]]\nrepositories = ["{}"]\nactions = ["pull"]\nanonymous = true\n'
    room = Room(tmp_path, rule.format("a"))
    room.live.admit({}, "a", "pull")
    room.put("lamina.toml", rule.format("b").encode())
    room.later()
    room.live.admit({}, "b", "pull")
    with pytest.raises(Refusal, match="denied"):
        room.live.admit({}, "a", "pull")


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    room = Room(tmp_path, 'listen = "127.0.0.1:1"')
    room.put("lamina.toml", b'listen = ":2"\nworkers = 3')
    room.live.reload()
    news = room.news()
    assert "listen has changed" in news and "workers has changed" in news and "tls" not in news
    room.put("lamina.toml", b"")
    room.live.reload()
    news = room.news()
    assert "listen has changed" in news and "workers has changed" in news


def test_the_command_line_stays_above_what_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("page = false")
    live = Live(tmp_path / "c", override=lambda settings: replace(settings, read_only=True))
    (tmp_path / "c").write_text("workers = 2")
    live.reload()
    assert live.settings == Settings(workers=2, read_only=True)


def test_files_are_looked_at_once_an_interval_and_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, "")
    looks, inside, leave = [], threading.Event(), threading.Event()
    read = room.live._read

    def slow() -> bytes:
        looks.append(1)
        inside.set()
        assert leave.wait(60)
        return read()

    monkeypatch.setattr(room.live, "_read", slow)
    for _ in range(5):
        room.live.admit({}, "a", "pull")
    assert looks == []
    room.later()
    thread = threading.Thread(target=room.live.refresh)
    thread.start()
    try:
        assert inside.wait(60)
        room.later()
        room.live.admit({}, "a", "pull")  # Does not wait.
        assert looks == [1]
    finally:
        leave.set()
        thread.join()


@pytest.mark.parametrize(("text", "kind"), [("x = 1", InvalidContent), (USERS, NotFound),
('[tls]\ncert = "c"\nkey = "k"', NotFound)])
def test_it_does_not_start_with_what_is_wrong(tmp_path: Path, text: str, kind: type[LaminaError]) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(kind):
        Live(tmp_path / "c.toml")


def test_it_does_not_start_without_the_file_it_is_given(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing"):
        Live(tmp_path / "nothing")
