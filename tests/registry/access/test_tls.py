"""Certificates that change under a running server: by real handshakes."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from lamina.errors import InvalidContent, NotFound
from lamina.registry.server.configured import TlsFiles
from lamina.registry.server.tls import ServerTls
from registry.conftest import Pki


@pytest.fixture
def files(tmp_path: Path, pki: Pki) -> TlsFiles:
    found = TlsFiles(tmp_path / "c", tmp_path / "k")
    put(pki, found, "server")
    return found


def put(pki: Pki, files: TlsFiles, name: str, key: str = "") -> None:
    shutil.copy(pki.directory / f"{name}.crt", files.certificate)
    shutil.copy(pki.directory / f"{key or name}.key", files.key)


@pytest.fixture(scope="module")
def rsa_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("rsa")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-days", "2",
    "-subj", "/CN=rsa"],
                   cwd=made, check=True, capture_output=True)
    return made / "c", made / "k"


def client(highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = highest
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def shake(server: ssl.SSLContext, context: ssl.SSLContext, name: str | None = "localhost") -> tuple[bytes, str | None]:
    """A whole handshake in memory: the certificate that the client saw, and the version."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = context.wrap_bio(down, up, server_hostname=name)
    other = server.wrap_bio(up, down, server_side=True)
    pending = [one, other]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not pending:
            break
    seen = one.getpeercert(binary_form=True)
    assert not pending and seen
    return seen, one.version()


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert("-----BEGIN" + path.read_text().partition("-----BEGIN")[2])


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "unknown.example", None])
def test_new_connections_see_the_new_certificate_with_a_name_and_without(
        pki: Pki, files: TlsFiles, version: ssl.TLSVersion, name: str | None) -> None:
    tls = ServerTls(files)
    assert shake(tls.context, client(version), name)[0] == der(pki.directory / "server.crt")
    put(pki, files, "other")
    assert shake(tls.context, client(version), name)[0] == der(pki.directory / "server.crt")
    tls.renew(files)
    assert shake(tls.context, client(version), name)[0] == der(pki.directory / "other.crt")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_of_another_kind_takes_the_place_of_the_former(
        pki: Pki, files: TlsFiles, rsa_pair: tuple[Path, Path], version: ssl.TLSVersion) -> None:
    """Where the same context is loaded again, OpenSSL goes on serving the old one to who prefers its kind."""
    tls = ServerTls(TlsFiles(*rsa_pair))
    either = client(version, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert shake(tls.context, either)[0] == der(rsa_pair[0])
    tls.renew(files)
    assert shake(tls.context, either)[0] == der(pki.directory / "server.crt")
    tls.renew(TlsFiles(*rsa_pair))
    assert shake(tls.context, either)[0] == der(rsa_pair[0])


def test_what_is_wrong_is_refused_and_the_former_stays(pki: Pki, files: TlsFiles) -> None:
    tls = ServerTls(files)
    before = shake(tls.context, client())[0]
    put(pki, files, "other", key="server")
    with pytest.raises(InvalidContent, match="belong together"):
        tls.renew(files)
    files.certificate.write_bytes((pki.directory / "other.crt").read_bytes()[:200])
    with pytest.raises(InvalidContent):
        tls.renew(files)
    files.certificate.unlink()
    with pytest.raises(NotFound):
        tls.renew(files)
    assert shake(tls.context, client())[0] == before
    with pytest.raises(NotFound):
        ServerTls(files)


def test_a_locked_key_is_refused_and_nobody_is_asked(pki: Pki, files: TlsFiles) -> None:
    subprocess.run(["openssl", "pkey", "-in", pki.directory / "server.key", "-aes256", "-passout", "pass:secret",
    "-out", files.key], check=True,
                   capture_output=True)
    with pytest.raises(InvalidContent, match="locked by a password"):
        ServerTls(files)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_not_spoken(files: TlsFiles) -> None:
    old = client()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    tls = ServerTls(files)
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(tls.context, old)
    newest = ServerTls(TlsFiles(files.certificate, files.key, "1.3"))
    assert shake(newest.context, client())[1] == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        shake(newest.context, client(ssl.TLSVersion.TLSv1_2))


def test_over_a_socket_a_connection_outlives_the_renewal(pki: Pki, files: TlsFiles) -> None:
    """An asyncio server of one context: the client trusts the CA, and checks the name."""
    tls = ServerTls(files)
    trusting = ssl.create_default_context(cafile=pki.ca)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def seen(writer: asyncio.StreamWriter) -> bytes:
        connection = writer.get_extra_info("ssl_object")
        assert connection.selected_alpn_protocol() is None
        return bytes(connection.getpeercert(binary_form=True))

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=tls.context)
        port = server.sockets[0].getsockname()[1]
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            assert await seen(writer) == der(pki.directory / "server.crt")
            put(pki, files, "other")
            tls.renew(files)
            reader2, writer2 = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="other.example")
            assert await seen(writer2) == der(pki.directory / "other.crt")
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            for one, other in ((reader, writer), (reader2, writer2)):
                other.write(b"still here\n")
                assert await one.readline() == b"still here\n"
                other.close()
                await other.wait_closed()

    asyncio.run(run())
