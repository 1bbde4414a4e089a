"""registries.toml, certs.d: what is asked where, and one clear line for what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import InvalidContent, LaminaError, LimitExceeded, NotFound
from lamina.registry.configuration import Endpoint, Registries


def load(tmp_path: Path, text: str | bytes, **env: str) -> Registries:
    path = tmp_path / "registries.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Registries.load({"LAMINA_REGISTRIES": str(path), **env})


def test_a_registry_serves_itself_and_docker_hub_has_another_host() -> None:
    registries = Registries()
    assert registries.candidates("reg.example:5000") == [
        Endpoint("https://reg.example:5000", "reg.example:5000", "reg.example:5000")]
    assert registries.candidates("docker.io") == [
        Endpoint("https://registry-1.docker.io", "docker.io", "registry-1.docker.io")]


def test_mirrors_come_first_in_their_order_and_are_for_pulls(tmp_path: Path) -> None:
    registries = load(tmp_path, '["docker.io"]\nmirrors = ["https://one.example/", "two.example:5000", "http://127.0.0.1:80"]')
    found = registries.candidates("docker.io")
    assert [(endpoint.base, endpoint.host, endpoint.mirror) for endpoint in found] == [
        ("https://one.example", "one.example", True),
        ("https://two.example:5000", "two.example:5000", True),
        ("http://127.0.0.1:80", "127.0.0.1:80", True),
        ("https://registry-1.docker.io", "registry-1.docker.io", False),
    ]
    assert {endpoint.domain for endpoint in found} == {"docker.io"}
    assert len(registries.candidates("other.example")) == 1


def test_insecure_is_for_the_host_and_port_that_is_named(tmp_path: Path) -> None:
    registries = load(tmp_path, '["reg.example:5000"]\ninsecure = true\n["two.example"]\ninsecure = false')
    assert registries.insecure("reg.example:5000") and registries.insecure("REG.example:5000")
    for host in ("reg.example", "reg.example:5001", "a.reg.example:5000", "two.example", "localhost:5000"):
        assert not registries.insecure(host)
    assert not registries.tls("reg.example:5000").verify
    assert registries.tls("reg.example").verify


@pytest.mark.parametrize(("host", "plain"), [
    ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.9.8.7", True), ("[::1]:5000", True),
    ("reg.example:5000", False), ("localhost.example", False), ("127.0.0.1.example", False), ("10.0.0.1:5000", False),
    ("128.0.0.1", False), ("[::2]:5000", False),
])
def test_loopback_alone_may_be_plain_without_configuration(host: str, plain: bool) -> None:
    assert Registries().plain(host) == plain


def test_the_users_file_comes_before_the_machines_and_absence_is_fine(tmp_path: Path) -> None:
    assert Registries.load({"XDG_CONFIG_HOME": str(tmp_path)}).candidates("a.example")[0].base == "https://a.example"
    home = tmp_path / "home"
    for config, env in ((tmp_path, {"XDG_CONFIG_HOME": str(tmp_path)}), (home / ".config", {"HOME": str(home)})):
        (config / "lamina").mkdir(parents=True)
        (config / "lamina" / "registries.toml").write_text('["a.example"]\nmirrors = ["b.example"]')
        assert Registries.load(env).candidates("a.example")[0].base == "https://b.example"


def test_a_file_that_is_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.toml"):
        Registries.load({"LAMINA_REGISTRIES": str(tmp_path / "nowhere.toml")})


@pytest.mark.parametrize(("text", "says"), [
    ("[unclosed", "not TOML"),
    (b'["a"]\nmirrors = ["\xff"]', "not TOML"),
    ("[registry.example]\ninsecure = true", "unknown setting 'example'"),
    ('["a.example"]\nmirror = ["b"]', "unknown setting 'mirror'"),
    ('["a.example"]\nconnections = 4', "is no number from 1 to 3"),
    ('["a.example"]\nconnections = true', "is no number from 1 to 3"),
    ('"a.example" = true', "is no table"),
    ('["a.example"]\ninsecure = "yes"', "neither true nor false"),
    ('["a.example"]\nmirrors = "b.example"', "not a list"),
    ('["a.example"]\nmirrors = [1]', "not a list"),
    ('["a.example"]\nmirrors = ["ftp://b.example"]', "not a URL of a host"),
    ('["a.example"]\nmirrors = ["https://b.example/path"]', "not a URL of a host"),
    ('["a.example"]\nmirrors = ["https://user:pw@b.example"]', "not a URL of a host"),
    ('["a.example"]\nmirrors = [""]', "not a URL of a host"),
    ("a = " + "[" * 100_000, "not TOML"),
])
def test_what_cannot_be_meant_is_one_clear_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(InvalidContent, match=says) as caught:
        load(tmp_path, text)
    assert "registries.toml" in str(caught.value) and "\n" not in str(caught.value) and "pw" not in str(caught.value)


def test_a_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        load(tmp_path, "#" * ((1 << 20) + 1))


def test_certificates_are_found_by_host_and_port_in_the_first_directory_that_has_it(tmp_path: Path) -> None:
    first, second = tmp_path / "own", tmp_path / "config" / "containers" / "certs.d"
    for directory in (first / "a.example:5000", second / "a.example:5000", second / "b.example", first / "c.example:443"):
        directory.mkdir(parents=True)
    for path in ("a.example:5000/ca.crt", "a.example:5000/me.cert", "a.example:5000/me.key", "a.example:5000/notes.txt"):
        (first / path).touch()
    (second / "a.example:5000" / "other.crt").touch()
    (second / "b.example" / "ca.crt").touch()
    registries = Registries.load({"LAMINA_CERTS_D": str(first), "XDG_CONFIG_HOME": str(tmp_path / "config")})
    found = registries.tls("a.example:5000")
    assert [path.name for path in found.cas] == ["ca.crt"]
    assert [(cert.name, key.name) for cert, key in found.clients] == [("me.cert", "me.key")]
    assert registries.tls("b.example").cas == (second / "b.example" / "ca.crt",)
    assert registries.tls("b.example:5000").cas == registries.tls("a.example").cas == ()


@pytest.mark.parametrize("lonely", ["me.cert", "me.key"])
def test_half_of_a_client_certificate_is_an_error(tmp_path: Path, lonely: str) -> None:
    (tmp_path / "a.example").mkdir()
    (tmp_path / "a.example" / lonely).touch()
    with pytest.raises(LaminaError, match=lonely):
        Registries.load({"LAMINA_CERTS_D": str(tmp_path)}).tls("a.example")
