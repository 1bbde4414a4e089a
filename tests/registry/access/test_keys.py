"""Keys for tokens: which are taken, and by what name a token may call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lamina.errors import InvalidContent, LaminaError, LimitExceeded
from lamina.registry.server.access import keys
from registry.access.kit import bearer, ec_key, ed_key, jwk, jwks, pem, rsa_key, token
from registry.conftest import Pki

FILE = Path("/etc/keys")


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """The example of its section 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key, = keys.load(json.dumps({"kty": "RSA", "n": modulus, "e": "AQAB"}).encode(), FILE)
    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" in key.ids
    assert sorted(len(one) for one in key.ids) == [43, 59]  # And libtrust's, twelve groups of four.


def test_a_token_may_name_a_key_of_a_bundle_by_either_id() -> None:
    data = pem(rsa_key()) + b"and words between\n" + pem(ec_key())
    found = keys.load(data, FILE)
    assert len(found) == 2
    for kid in found[1].ids:
        assert bearer(data).identify(f"Bearer {token(key=ec_key(), algorithm='ES256', kid=kid)}").user == "ann"


def test_certificates_stand_for_their_keys(pki: Pki) -> None:
    server, expired = ((pki.directory / f"{name}.crt").read_bytes() for name in ("server", "expired"))
    assert [key.algorithms for key in keys.load(server + expired + server, FILE)] == [("ES256",), ("ES256",)]


@pytest.mark.parametrize(("make", "says"), [
    (lambda: b"", "no key"), (lambda: b"nothing here", "no key"), (lambda: jwks(), "no key"), (lambda: b"{}", "neither RSA"),
    (lambda: b'{"keys": {}}', "no list"), (lambda: b'{"keys": [1]}', "neither RSA"), (lambda: b'{"keys": ', "not JSON"),
    (lambda: jwks({"kty": "oct", "k": "c2VjcmV0"}), "neither RSA"), (lambda: jwks({"kty": ["RSA"]}), "neither RSA"),
    (lambda: jwks({**jwk(rsa_key()), "d": "AQAB"}), "private key"),
    (lambda: jwks({"kty": "RSA", "n": "AQAB", "e": "!"}), "makes no sense"),
    (lambda: jwks({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "makes no sense"),
    (lambda: jwks(jwk(rsa_key(), alg="HS256")), "another algorithm"),
    (lambda: jwks(jwk(rsa_key(), alg="none")), "another algorithm"),
    (lambda: jwks(jwk(rsa_key(), alg=["RS256"])), "another algorithm"),
    (lambda: jwks(jwk(rsa_key(), kid=1)), "kid that is no text"), (lambda: jwks(jwk(rsa_key(), kid="")), "kid that is no text"),
    (lambda: jwks(jwk(rsa_key(), kid="a"), jwk(ec_key(), kid="a")), "same id"),
    (lambda: jwks(jwk(rsa_key()), jwk(rsa_key())), "same id"),
    (lambda: jwks(jwk(rsa.generate_private_key(65537, 1024))), "1024 bits"),
    (lambda: pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
    (lambda: pem(ec.generate_private_key(ec.SECP256K1())), "kind that is not taken"),
    (lambda: pem(ed448.Ed448PrivateKey.generate()), "not taken"),
    (lambda: pem(dsa.generate_private_key(1024)), "not taken"),
    (lambda: ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
    (lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "neither a certificate"),
    (lambda: b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----", "neither a certificate"),
])
def test_keys_that_are_not_taken(make: Any, says: str) -> None:
    with pytest.raises(InvalidContent, match=says) as caught:
        keys.load(make(), FILE)
    assert caught.value.where == str(FILE)


def test_keys_for_something_else_are_passed_over() -> None:
    assert len(keys.load(jwks(jwk(rsa_key(), use="enc"), jwk(ed_key(), use="sig")), FILE)) == 1


def test_there_is_a_bound_on_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 1)
    for data in (jwks(jwk(rsa_key()), jwk(ec_key())), pem(rsa_key()) + pem(ec_key())):
        with pytest.raises(LimitExceeded):
            keys.load(data, FILE)


def test_without_the_libraries_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    with pytest.raises(LaminaError, match=r"PyJWT.*install"):
        keys.load(pem(ec_key()), FILE)
