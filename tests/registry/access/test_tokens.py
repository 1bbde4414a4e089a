"""Tokens: those that do, and every way known to make one that should not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from lamina.registry.server.access.identity import NotKnown
from registry.access.kit import (
    NOW,
    SETTINGS,
    bearer,
    claims,
    ec_key,
    ed_key,
    jwk,
    jwks,
    pem,
    raw,
    rsa_key,
    signed_by_hand,
    token,
)


def refused(text: str, match: str | None = None, **options: Any) -> None:
    with pytest.raises(NotKnown, match=match) as caught:
        bearer(**options).identify(f"Bearer {text}")
    assert caught.value.error == "invalid_token"


def test_a_token_says_who_and_what() -> None:
    found = bearer().identify(f"Bearer {token()}")
    assert found.user == "ann" and found.claims is not None
    assert found.claims.allow("team/app", "pull")
    for name, action in (("team/app", "push"), ("team/app", "delete"), ("team/app2", "pull"), ("team", "pull"),
    ("team/app/x", "pull")):
        assert not found.claims.allow(name, action)
    assert not found.claims.allow_catalog()


@pytest.mark.parametrize(("private", "algorithm"), [(rsa_key(), "RS256"), (ec_key(), "ES256"), (ed_key(), "EdDSA"),
(rsa_key(), "RS512")])
@pytest.mark.parametrize("form", ["jwks", "pem"])
def test_each_kind_of_key_in_each_form(private: Any, algorithm: str, form: str) -> None:
    data = pem(private) if form == "pem" else jwks(jwk(private, kid="k"))
    gate = bearer(data)
    assert gate.identify(f"Bearer {token(key=private, algorithm=algorithm)}").user == "ann"
    refused(token(key=ec_key(1), algorithm="ES256"), "not signed", data=data)
    text = token(key=private, algorithm=algorithm)
    head, body, signature = text.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="root")).encode()).rstrip(b"=").decode()
    refused(f"{head}.{forged}.{signature}", "not signed", data=data)
    refused(f"{head}.{body}.{signature[:-8]}", "not signed", data=data)


def test_alg_none_in_any_spelling_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        for signature in (b"", b"x"):
            refused(raw({"alg": algorithm, "typ": "JWT"}, claims(), signature))
    refused(raw({"alg": "none"}, claims(), b"").rstrip("."), "no token")


def test_a_public_key_is_no_secret_for_hmac() -> None:
    for form in (pem(rsa_key()), pem(rsa_key()).strip(), jwks(jwk(rsa_key()))):
        for algorithm in ("HS256", "HS384", "HS512"):
            unsigned = raw({"alg": algorithm, "typ": "JWT"}, claims()).rpartition(".")[0]
            mac = hmac.new(form, unsigned.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
            text = f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
            refused(text, "not signed", data=form if form.startswith(b"{") else pem(rsa_key()))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS1", "RSA-OAEP", "ES256K", "RS256 ", "rs256"])
def test_a_key_is_for_its_own_algorithms(algorithm: str) -> None:
    refused(signed_by_hand({"alg": algorithm, "typ": "JWT"}, claims()), "not signed")


def test_a_set_can_say_which_algorithm_alone() -> None:
    data = jwks(jwk(rsa_key(), kid="one", alg="RS512"))
    refused(token(), "not signed", data=data)
    assert bearer(data).identify(f"Bearer {token(algorithm='RS512')}").user == "ann"


@pytest.mark.parametrize("kid", ["two", "", "../../dev/null", "/proc/self/fd/0", "one' OR '1'='1", "one\0", "One",
"o" * 9000, 1, ["one"], {"one": 1}, True])
def test_a_kid_chooses_among_our_keys_and_does_nothing_else(kid: Any) -> None:
    refused(signed_by_hand({"alg": "RS256", "kid": kid}, claims()))


def test_a_known_kid_is_that_key_alone() -> None:
    data = jwks(jwk(rsa_key(), kid="one"), jwk(rsa_key(1), kid="two"))
    gate = bearer(data)
    for header, key, good in (({"kid": "one"}, rsa_key(), True), ({"kid": "two"}, rsa_key(), False),
    ({"kid": "two"}, rsa_key(1), True), ({}, rsa_key(1), True)):
        if good:
            assert gate.identify(f"Bearer {token(key=key, **header)}").user == "ann"
        else:
            refused(token(key=key, **header), "not signed", data=data)


def test_a_token_cannot_bring_its_own_key() -> None:
    own = jwk(rsa_key(1))
    for more in ({"jwk": own}, {"jku": "https://evil.example/keys"}, {"x5u": "file:///tmp/x"}, {"x5c": ["MIIB"]},
    {"jwk": own, "kid": "one"}):
        refused(signed_by_hand({"alg": "RS256", "typ": "JWT", **more}, claims(), rsa_key(1)), "not signed")
        # With ours it is as good as without.
        assert bearer().identify("Bearer " + signed_by_hand({"alg": "RS256", "typ": "JWT", **more}, claims())).user == "ann"


@pytest.mark.parametrize("more", [{"crit": ["exp"]}, {"crit": []}, {"b64": False,
"crit": ["b64"]}, {"b64": True}, {"zip": "DEF"}, {"typ": "JWE"},
                                  {"typ": None}, {"alg": None}, {"alg": 1}, {"alg": ["RS256"]}])
def test_a_header_that_asks_for_more_is_refused(more: dict[str, Any]) -> None:
    refused(signed_by_hand({"alg": "RS256", "typ": "JWT", **more}, claims()), "header")


@pytest.mark.parametrize("text", [
    "", ".", "..", "...", "a.b", "a.b.c.d", "a.b.c.d.e", "!.b.c", "e30.e30.",
    ".e30.e30", token() + ".", token() + "=", token() + "\n.", token().replace(".", " "),
    "A" * 20_000, "e30." + "A" * 20_000 + ".AA", "W10.e30.AA", "bnVsbA.e30.AA", "_w.e30.AA", "é.e30.AA", token() + " x",
])
def test_what_is_no_token(text: str) -> None:
    refused(text)


def test_json_that_is_too_deep_or_ambiguous() -> None:
    deep = b'{"alg":"RS256","x":' + b"[" * 2000 + b"]" * 2000 + b"}"
    refused(raw(deep, claims()), "nested too deep")
    refused(raw(b'{"alg":"RS256","alg":"none"}', claims()), "given twice")
    refused(token(json.dumps(claims()).encode()[:-1] + b',"aud":"other"}'), "given twice")
    refused(token(b"[]"), "not a JSON object")
    refused(token(b'{"exp":1e999}'), "refused")


@pytest.mark.parametrize(("change", "says"), [
    ({"iss": "other"}, "another issuer"), ({"iss": None}, "another issuer"), ({"iss": ["issuer.example"]}, "another issuer"),
    ({"aud": "other.example"}, "another service"), ({"aud": None}, "another service"), ({"aud": ["other"]}, "another service"),
    ({"aud": []}, "another service"), ({"aud": "registry.example.evil"}, "another service"),
    ({"aud": {"registry.example": 1}}, "another service"),
    ({"aud": [["registry.example"]]}, "another service"),
    ({"exp": NOW - 60}, "expired"), ({"exp": 0}, "expired"), ({"exp": -1}, "expired"), ({"exp": None}, "exp is no number"),
    ({"exp": str(NOW + 300)}, "exp is no number"), ({"exp": True}, "exp is no number"),
    ({"exp": [NOW + 300]}, "exp is no number"),
    ({"nbf": NOW + 61}, "not valid yet"), ({"iat": NOW + 61}, "not valid yet"), ({"nbf": "0"}, "nbf is no number"),
    ({"iat": False}, "iat is no number"),
    ({"sub": 1}, "subject"), ({"sub": "*"}, "subject"), ({"sub": "a\nb"}, "subject"), ({"sub": "a" * 256}, "subject"),
    ({"sub": ["ann"]}, "subject"),
    ({"access": {}}, "not an array"), ({"access": "all"}, "not an array"), ({"access": [1]}, "not an object"),
    ({"access": [{}]}, "missing"),
    ({"access": [{"type": "repository", "actions": ["*"]}]}, "missing"),
    ({"access": [{"type": "repository", "name": 1, "actions": []}]}, "not a string"),
    ({"access": [{"type": "repository", "name": "a", "actions": "pull"}]}, "not an array"),
    ({"access": [{"type": "repository", "name": "a", "actions": [{}]}]}, "not a string"),
    ({"access": [{"type": "re po", "name": "a", "actions": []}]}, "unknown"),
    ({"access": [{"type": "repository", "name": "a", "actions": ["x"] * 33}]}, "33 elements"),
])
def test_claims_that_are_not_as_they_should_be(change: dict[str, Any], says: str) -> None:
    content = claims(**change)
    refused(token(content), says)


def test_there_is_a_bound_on_entries() -> None:
    from lamina.registry.server.access import tokens

    entry = {"type": "a", "name": "a", "actions": []}
    assert len(json.dumps(claims(access=[entry] * 200))) < tokens.MAX_TOKEN
    refused(token(claims(access=[entry] * 2000)), "no token")


@pytest.mark.parametrize("change", [{"exp": NOW - 59}, {"nbf": NOW + 60}, {"iat": NOW + 60}, {"nbf": None,
"iat": None}, {"aud": ["x", "registry.example"]},
                                    {"sub": None}, {"access": None}, {"exp": NOW + 0.5}])
def test_within_the_leeway_and_without_what_need_not_be_there(change: dict[str, Any]) -> None:
    assert bearer().identify(f"Bearer {token(claims(**change))}").user == ("" if "sub" in change else "ann")


def test_the_leeway_is_the_configurations() -> None:
    strict = replace(SETTINGS, leeway=0)
    refused(token(claims(exp=NOW)), "expired", settings=strict)
    assert bearer(settings=strict).identify(f"Bearer {token(claims(exp=NOW + 1))}").user == "ann"


def test_actions_add_up_and_a_star_is_all_of_one_repository() -> None:
    entries = [{"type": "repository", "name": "a", "actions": ["pull"]}, {"type": "repository(plugin)", "name": "a",
    "actions": ["push"]},
               {"type": "repository", "name": "b", "actions": ["*"]}, {"type": "registry", "name": "catalog", "actions": ["*"]},
               {"type": "repository", "name": "*", "actions": ["*"]}, {"type": "repository", "name": "c", "actions": None},
               {"type": "registry", "name": "d", "actions": ["*"]}]
    found = bearer().identify(f"Bearer {token(claims(access=entries))}").claims
    assert found is not None and found.allow_catalog()
    assert [found.allow("a", action) for action in ("pull", "push", "delete")] == [True, True, False]
    assert all(found.allow("b", action) for action in ("pull", "push", "delete"))
    # A name is a name: no pattern, and none of another kind.
    assert not any(found.allow(name, "pull") for name in ("c", "d", "catalog", "other"))


def test_basic_credentials_are_no_token() -> None:
    for value in ("Basic YW5uOng=", "", "Bearer", token()):
        with pytest.raises(NotKnown):
            bearer().identify(value)


def test_the_challenge_says_where_to_get_one() -> None:
    assert bearer().challenge("repository:a:pull", "invalid_token") == (
        'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull",error="invalid_token"')
    assert bearer().challenge("", "") == 'Bearer realm="https://auth.example/token",service="registry.example"'
