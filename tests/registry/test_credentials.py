"""Docker's and podman's files and helpers: who counts first, and what `store` leaves alone."""

from __future__ import annotations

import json
import stat
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from lamina.errors import InvalidContent, LaminaError, LimitExceeded
from lamina.registry.authfile import MAX_FILE, MAX_SECRET
from lamina.registry.credentials import Credential, Credentials
from lamina.registry.helpers import HelperFailed
from registry.helperkit import calls, environment, helper, keeper

SECRET = "s3cr3t"


def auth(user: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, (bytes, str)) else json.dumps(document)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def docker(home: Path, document: Any, **more: str) -> Credentials:
    """The credentials of a home with this as ~/.docker/config.json."""
    write(home / ".docker/config.json", document)
    return Credentials.load(environment(home, **more))


def user(credentials: Credentials, host: str, repository: str = "") -> str | None:
    found = credentials.get(host, repository)
    return found.username if found else None


def test_nobody(tmp_path: Path) -> None:
    credentials = Credentials.load(environment(tmp_path))
    assert credentials.get("reg.example") is None
    assert credentials.where("reg.example") == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("key", "host"), [
    ("reg.example", "reg.example"), ("reg.example:5000", "reg.example:5000"), ("https://reg.example", "reg.example"),
    ("http://reg.example/", "reg.example"), ("https://reg.example/v1/", "reg.example"), ("reg.example/v2", "reg.example"),
    ("REG.example", "reg.example"), ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"),
    ("index.docker.io", "docker.io"), ("https://registry-1.docker.io", "docker.io"),
])
def test_the_ways_to_write_a_key(tmp_path: Path, key: str, host: str) -> None:
    credentials = docker(tmp_path, {"auths": {"elsewhere.example": auth("no"), key: auth("me", "a:b\xe9")}})
    assert credentials.get(host, "a/b") == Credential("me", "a:b\xe9")
    assert user(credentials, host + "x") is None


def test_dockers_own_key_before_others(tmp_path: Path) -> None:
    found = {"docker.io": auth("second"), "https://index.docker.io/v1/": auth("first"),
             "https://reg.example": auth("second"), "reg.example": auth("first")}
    credentials = docker(tmp_path, {"auths": found})
    assert (user(credentials, "docker.io"), user(credentials, "reg.example")) == ("first", "first")


def test_namespaces(tmp_path: Path) -> None:
    credentials = docker(tmp_path, {"auths": {
        "reg.example": auth("all"), "reg.example/a": auth("a"), "reg.example/a/b": auth("ab"), "docker.io/library": auth("hub"),
    }})
    assert [user(credentials, "reg.example", name) for name in ("", "x", "a", "ab", "a/x", "a/b", "a/b/c")] == [
        "all", "all", "a", "all", "a", "ab", "ab"]
    assert (user(credentials, "docker.io", "library/alpine"), user(credentials, "docker.io", "me/x")) == ("hub", None)


def test_the_order_of_the_files(tmp_path: Path) -> None:
    def one(name: str) -> str:
        return json.dumps({"auths": {"reg.example": auth(name)}})

    config = write(tmp_path / "d/config.json", one("docker-config")).parent
    named = write(tmp_path / "named.json", one("named"))
    write(tmp_path / ".docker/config.json", one("docker-home"))
    write(tmp_path / "run/containers/auth.json", one("podman-run"))
    write(tmp_path / "xdg/containers/auth.json", one("podman-xdg"))
    write(tmp_path / ".config/containers/auth.json", one("podman-home"))
    env = dict(environment(tmp_path, DOCKER_AUTH_CONFIG=one("variable"), REGISTRY_AUTH_FILE=str(named),
                           DOCKER_CONFIG=str(config), XDG_CONFIG_HOME=str(tmp_path / "xdg")))
    seen = []
    for gone in (["DOCKER_AUTH_CONFIG"], ["REGISTRY_AUTH_FILE"], ["DOCKER_CONFIG"], [".docker/config.json"],
                 ["run/containers/auth.json"], ["XDG_CONFIG_HOME"], []):
        credentials = Credentials.load(env)
        seen.append((user(credentials, "reg.example"), credentials.where("reg.example").removeprefix(str(tmp_path))))
        for name in gone:
            if env.pop(name, None) is None:
                (tmp_path / name).unlink()
    assert seen == [
        ("variable", "$DOCKER_AUTH_CONFIG"), ("named", "/named.json"), ("docker-config", "/d/config.json"),
        ("docker-home", "/.docker/config.json"), ("podman-run", "/run/containers/auth.json"),
        ("podman-xdg", "/xdg/containers/auth.json"), ("podman-home", "/.config/containers/auth.json"),
    ]


def test_the_next_file_is_asked_where_the_first_has_nothing(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"reg.example": auth("podman")}})
    assert user(docker(tmp_path, {"auths": {"reg.example": {}, "x": None}}), "reg.example") == "podman"


@pytest.mark.parametrize(("entry", "found"), [
    ({"username": "me", "password": SECRET}, Credential("me", SECRET)),
    ({"auth": b64encode(b"me:s\0\0").decode()}, Credential("me", "s")),
    ({**auth("u", ""), "identitytoken": "id"}, Credential("u", "", "id")),
    ({"registrytoken": "reg"}, Credential("", "", "", "reg")),
    (auth("me", ""), None), ({"email": "x@y"}, None), ({}, None), (None, None),
])
def test_entries(tmp_path: Path, entry: Any, found: Credential | None) -> None:
    assert docker(tmp_path, {"auths": {"reg.example": entry}}).get("reg.example") == found


BROKEN = [
    f'{{"auths": {{"reg.example": {{"auth": "{SECRET}"',
    f'{{"{SECRET}": 1, "{SECRET}": 2}}',
    f'["{SECRET}"]',
    f'{{"x": 1{"0" * 40}, "y": "{SECRET}"}}',
    b'{"x": "\xff"}',
    '{"x": "\\ud800"}',
    "[" * 100_000,
    " " * (MAX_FILE + 1),
    {"auths": [SECRET]},
    {"auths": {"reg.example": SECRET}},
    {"auths": {"reg.example": {"auth": SECRET + "!"}}},
    {"auths": {"reg.example": {"auth": b64encode(SECRET.encode()).decode()}}},
    {"auths": {"reg.example": {"auth": b64encode(b"me:\xff").decode()}}},
    {"auths": {"reg.example": {"auth": 7}}},
    {"auths": {"reg.example": auth("me", "x" * (MAX_SECRET + 1))}},
    {"credsStore": {"x": SECRET}},
    {"credHelpers": {"x": [SECRET]}},
]


@pytest.mark.parametrize("document", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path, document: Any) -> None:
    with pytest.raises((InvalidContent, LimitExceeded)) as caught:
        docker(tmp_path, document).get("reg.example")
    assert str(tmp_path / ".docker/config.json") in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_broken_variable(tmp_path: Path) -> None:
    with pytest.raises(InvalidContent, match=r"\$DOCKER_AUTH_CONFIG"):
        Credentials.load(environment(tmp_path, DOCKER_AUTH_CONFIG="{" + SECRET)).get("reg.example")


def test_a_broken_entry_of_another_registry_is_no_matter(tmp_path: Path) -> None:
    found = {"auths": {"bad.example": {"auth": "!"}, "reg.example": auth("me")}}
    assert user(docker(tmp_path, found), "reg.example") == "me"


def test_a_secret_is_in_no_repr() -> None:
    one = Credential("me", SECRET, SECRET, SECRET)
    assert SECRET not in repr(one) + str(one)


def test_helpers_in_dockers_order(tmp_path: Path) -> None:
    answer = 'echo "$(cat) asked" >&2; echo \'{"Username": "%s", "Secret": "s"}\''
    helper(tmp_path / "bin", "own", answer % "own")
    helper(tmp_path / "bin", "all", answer % "all")
    path = helper(tmp_path / "bin", "none", "echo credentials not found in native keychain; exit 1")["PATH"]
    credentials = docker(tmp_path, {
        "credsStore": "all", "credHelpers": {"reg.example": "own", "lost.example": "none", "empty.example": ""},
        "auths": {"reg.example": auth("file"), "other.example": {}},
    }, PATH=path)
    hosts = ("reg.example", "other.example", "lost.example", "empty.example")
    assert [user(credentials, host) for host in hosts] == ["own", "all", "all", "all"]
    assert credentials.where("reg.example") == "docker-credential-own"


def test_docker_hubs_name_for_helpers(tmp_path: Path) -> None:
    path = keeper(tmp_path / "bin")["PATH"]
    docker(tmp_path, {"credsStore": "keeper"}, PATH=path).get("docker.io", "library/alpine")
    docker(tmp_path, {"credHelpers": {"docker.io": "keeper"}}, PATH=path).get("docker.io")
    assert calls(tmp_path / "bin") == ["get https://index.docker.io/v1/", "get docker.io"]


def test_an_identity_token_of_a_helper(tmp_path: Path) -> None:
    path = helper(tmp_path / "bin", "x", """echo '{"Username": "<token>", "Secret": "id"}'""")["PATH"]
    assert docker(tmp_path, {"credsStore": "x"}, PATH=path).get("h.example") == Credential("", "", "id")


def test_a_helper_is_asked_once(tmp_path: Path) -> None:
    path = keeper(tmp_path / "bin")["PATH"]
    credentials = docker(tmp_path, {"credsStore": "keeper"}, PATH=path)
    threads = [threading.Thread(target=credentials.get, args=("reg.example", f"r{number}")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls(tmp_path / "bin") == ["get reg.example"]


def test_a_helper_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HelperFailed, match="docker-credential-desktop is not there"):
        docker(tmp_path, {"credsStore": "desktop", "auths": {"reg.example": auth("me")}}).get("reg.example")
    with pytest.raises(LaminaError, match="makes no sense"):
        docker(tmp_path, {"credsStore": "../../bin/sh"}).get("reg.example")


def test_store_makes_dockers_file(tmp_path: Path) -> None:
    credentials = Credentials.load(environment(tmp_path))
    assert credentials.get("docker.io") is None
    kept = credentials.store("docker.io", Credential("me", SECRET))
    path = tmp_path / ".docker/config.json"
    assert (str(kept), kept.encrypted) == (str(path), False)
    assert json.loads(path.read_text()) == {"auths": {"https://index.docker.io/v1/": auth("me")}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert credentials.get("docker.io") == Credential("me", SECRET)


def test_store_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    before = {"zoo": [1, 2.5, {"é": None}], "auths": {"b.example": {"auth": "!", "email": "x"}, "a.example": auth("old")},
              "HttpHeaders": {"X": "y"}}
    credentials = docker(tmp_path, before)
    path = tmp_path / ".docker/config.json"
    path.chmod(0o644)
    credentials.store("a.example", Credential("new", SECRET))
    after = json.loads(path.read_text())
    before["auths"]["a.example"] = auth("new")  # type: ignore[index, call-overload]
    assert after == before
    assert list(after) == list(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["config.json"]


def test_store_an_identity_token(tmp_path: Path) -> None:
    credentials = docker(tmp_path, {})
    credentials.store("a.example", Credential("me", SECRET, "id"))
    assert SECRET.encode() not in (tmp_path / ".docker/config.json").read_bytes()
    assert credentials.get("a.example") == Credential("me", "", "id")


def test_store_in_a_helper(tmp_path: Path) -> None:
    path = keeper(tmp_path / "bin")["PATH"]
    credentials = docker(tmp_path, {"credsStore": "keeper"}, PATH=path)
    assert credentials.get("a.example") is None
    kept = credentials.store("a.example", Credential("me", SECRET))
    assert (kept.place, kept.encrypted) == ("docker-credential-keeper", True)
    assert json.loads((tmp_path / ".docker/config.json").read_text()) == {"credsStore": "keeper", "auths": {"a.example": {}}}
    assert credentials.get("a.example") == Credential("me", SECRET)
    credentials.store("a.example", Credential("", "", "id"))
    assert credentials.get("a.example") == Credential("", "", "id")
    assert credentials.erase("a.example")
    assert credentials.get("a.example") is None
    assert not credentials.erase("a.example")
    assert json.loads((tmp_path / ".docker/config.json").read_text()) == {"credsStore": "keeper", "auths": {}}


def test_a_helper_that_fails_to_store_changes_no_file(tmp_path: Path) -> None:
    path = helper(tmp_path / "bin", "x", "exit 1")["PATH"]
    with pytest.raises(HelperFailed):
        docker(tmp_path, {"credsStore": "x"}, PATH=path).store("a.example", Credential("me", SECRET))
    assert json.loads((tmp_path / ".docker/config.json").read_text()) == {"credsStore": "x"}


def test_store_does_not_overwrite_what_it_does_not_understand(tmp_path: Path) -> None:
    for text in ('{"auths": 7}', "{nonsense", '{"auths": {}, "auths": {}}'):
        with pytest.raises(InvalidContent):
            docker(tmp_path, text).store("a.example", Credential("me", SECRET))
        assert (tmp_path / ".docker/config.json").read_text() == text


def test_a_link_stays_one(tmp_path: Path) -> None:
    real = write(tmp_path / "dotfiles/docker.json", {"x": 1})
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").symlink_to(real)
    Credentials.load(environment(tmp_path)).store("a.example", Credential("me", SECRET))
    assert (tmp_path / ".docker/config.json").is_symlink()
    assert json.loads(real.read_text())["auths"] == {"a.example": auth("me")}


def test_two_that_store_at_once_lose_nothing(tmp_path: Path) -> None:
    def store(number: int) -> None:
        Credentials.load(environment(tmp_path)).store(f"h{number}.example", Credential("me", SECRET))

    threads = [threading.Thread(target=store, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / ".docker/config.json").read_text())["auths"]) == 8


def test_erase(tmp_path: Path) -> None:
    credentials = docker(tmp_path, {"auths": {
        "https://a.example/v1/": auth("1"), "a.example": auth("2"), "a.example/ns": auth("3"), "b.example": auth("4"),
    }})
    assert credentials.erase("a.example")
    assert list(json.loads((tmp_path / ".docker/config.json").read_text())["auths"]) == ["a.example/ns", "b.example"]
    assert not credentials.erase("a.example")
    assert user(credentials, "a.example") is None


def test_erase_makes_no_file(tmp_path: Path) -> None:
    assert not Credentials.load(environment(tmp_path)).erase("a.example")
    assert list(tmp_path.iterdir()) == []
