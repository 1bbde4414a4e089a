"""Certificates: those that do, those that do not and why, and which hosts may go without."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from lamina.errors import InvalidContent, RegistryError, RegistryUnavailable
from lamina.registry.configuration import Registries, _Settings
from registry.conftest import Pki
from registry.server import Exchange, Server
from registry.wirekit import SCOPE, client, http, pong


def hello(exchange: Exchange) -> None:
    if not pong(exchange):
        exchange.reply(200, {}, b"over TLS")


def trusting(pki: Pki, tmp_path: Path, host: str, *, known: bool = False) -> Registries:
    """certs.d with the CA for the host; `known`: and with a certificate of ours."""
    directory = tmp_path / host
    directory.mkdir()
    shutil.copy(pki.ca, directory / "ca.crt")
    if known:
        shutil.copy(pki.directory / "client.crt", directory / "client.cert")
        shutil.copy(pki.directory / "client.key", directory / "client.key")
    return Registries(certificates=(tmp_path,))


def get(registries: Registries, url: str) -> bytes:
    with http(registries) as shared, shared.send("GET", url) as response:
        return response.body(100)


def test_an_unknown_ca_is_not_trusted_and_the_hint_says_where_to_put_it(pki: Pki) -> None:
    with Server(hello, tls=pki.context()) as server, \
            pytest.raises(RegistryError, match=r"is not trusted.*certs\.d/127\.0\.0\.1:") as caught:
        get(Registries(), f"{server.base}/?signature=s3cr3t")
    assert not isinstance(caught.value, RegistryUnavailable)  # Another try will not help.
    assert "s3cr3t" not in str(caught.value) and server.seen == []


def test_the_ca_of_certs_d_is_trusted_for_its_host_alone(pki: Pki, tmp_path: Path) -> None:
    with Server(hello, tls=pki.context()) as server, Server(hello, tls=pki.context()) as other:
        registries = trusting(pki, tmp_path, server.host)
        assert get(registries, f"{server.base}/") == b"over TLS"
        with pytest.raises(RegistryError, match="not trusted"):
            get(registries, f"{other.base}/")


@pytest.mark.parametrize(("name", "says"), [("other", "is for another name"), ("expired", "has expired|is not trusted")])
def test_a_certificate_that_does_not_do(pki: Pki, tmp_path: Path, name: str, says: str) -> None:
    with Server(hello, tls=pki.context(name)) as server, pytest.raises(RegistryError, match=says):
        get(trusting(pki, tmp_path, server.host), f"{server.base}/")


def test_our_certificate_is_shown_where_it_is_asked_for(pki: Pki, tmp_path: Path) -> None:
    with Server(hello, tls=pki.context(ask=True)) as server:
        assert get(trusting(pki, tmp_path, server.host, known=True), f"{server.base}/") == b"over TLS"


def test_without_ours_the_line_says_what_is_missing(pki: Pki, tmp_path: Path) -> None:
    context = pki.context(ask=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 says it after the handshake, and a reset may overtake it.
    with Server(hello, tls=context) as server, pytest.raises(RegistryError, match="client certificate"):
        get(trusting(pki, tmp_path, server.host), f"{server.base}/")


def test_without_ours_a_registry_of_tls_1_3_is_at_least_not_taken_for_plain(pki: Pki, tmp_path: Path) -> None:
    with Server(hello, tls=pki.context(ask=True)) as server, \
            pytest.raises(RegistryError, match=r"client certificate|connection reset|broke off"):
        get(trusting(pki, tmp_path, server.host), f"{server.base}/")


def test_certificates_are_not_asked_for_where_the_configuration_says_so(pki: Pki) -> None:
    with Server(hello, tls=pki.context("other")) as server:
        assert get(Registries({server.host: _Settings(insecure=True)}), f"{server.base}/") == b"over TLS"


@pytest.mark.parametrize("name", ["ca.crt", "client.cert", "client.key"])
def test_a_file_of_certs_d_that_is_not_pem(pki: Pki, tmp_path: Path, name: str) -> None:
    registries = trusting(pki, tmp_path, "reg.example", known=True)
    (tmp_path / "reg.example" / name).write_text("no PEM")
    with pytest.raises(InvalidContent, match=f"PEM.*|{name}"):
        get(registries, "https://reg.example/")


def test_a_locked_key_asks_nobody(pki: Pki, tmp_path: Path) -> None:
    registries = trusting(pki, tmp_path, "reg.example", known=True)
    subprocess.run(["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", pki.directory / "client.key",
                    "-out", tmp_path / "reg.example" / "client.key"], check=True, capture_output=True)
    with pytest.raises(InvalidContent, match="locked by a password"):
        get(registries, "https://reg.example/")


def test_tls_is_spoken_where_the_host_can(pki: Pki, tmp_path: Path) -> None:
    with Server(hello, tls=pki.context()) as server, \
            client(server.host, registries=trusting(pki, tmp_path, server.host)) as one:
        assert one.base == f"https://{server.host}"
        one.send("GET", "/v2/x", scope=SCOPE).close()
        assert [seen.path for seen in server.seen] == ["/v2/", "/v2/x"]


def test_plain_http_on_loopback_is_found_out_once() -> None:
    with Server(hello) as server, client(server.host) as one:
        for _ in range(2):
            one.send("GET", "/v2/x", scope=SCOPE).discard()
        assert one.base == server.base
        assert [seen.path for seen in server.seen] == ["/v2/", "/v2/x", "/v2/x"]


def test_a_certificate_that_does_not_do_is_no_reason_to_go_without(pki: Pki) -> None:
    with Server(hello, tls=pki.context()) as server, client(server.host) as one, \
            pytest.raises(RegistryError, match="not trusted"):
        one.send("GET", "/v2/x", scope=SCOPE)


def test_what_speaks_tls_and_broke_off_once_is_not_taken_for_plain() -> None:
    """A server of TLS answers 400 to plain HTTP; its glitch before must not make us remember the wrong scheme."""
    with Server(lambda exchange: exchange.reply(400, {}, b"client sent an HTTP request to an HTTPS server")) as server, \
            client(server.host) as one:
        with pytest.raises(RegistryUnavailable):
            one.send("GET", "/v2/x", scope=SCOPE)
        assert {seen.path for seen in server.seen} == {"/v2/"}


def test_a_host_that_is_not_loopback_is_asked_by_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.configuration.is_loopback", lambda name: False)
    with Server(hello) as server, client(server.host) as one:
        with pytest.raises(RegistryUnavailable, match="does not speak TLS"):
            one.send("GET", "/v2/x", scope=SCOPE)
        assert server.seen == []


def test_an_insecure_host_may_be_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.registry.configuration.is_loopback", lambda name: False)
    with Server(hello) as server, client(server.host, registries=Registries({server.host: _Settings(insecure=True)})) as one:
        one.send("GET", "/v2/x", scope=SCOPE).close()
        assert one.base == server.base
