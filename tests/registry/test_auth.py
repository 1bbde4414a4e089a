"""What is sent to a registry, and what a 401 leads to."""

from __future__ import annotations

import threading
from base64 import b64encode

import pytest

from lamina.errors import RegistryError, Unauthorized
from lamina.registry.auth import Scope, merged
from lamina.registry.credentials import Credential
from registry.realmkit import BEARER, IDENTITY, ME, PASSWORD, TOKEN, Clock, Keys, Realm, Reply, ask, authorizer, token

BASIC = "Basic " + b64encode(f"me:{PASSWORD}".encode()).decode()
PULL = Scope("a/b")


def test_nothing_is_sent_before_it_is_asked_for() -> None:
    realm = Realm()
    assert authorizer(realm, ME).header(PULL) is None
    assert realm.requests == []


def test_basic() -> None:
    one = authorizer(Realm(), ME)
    assert one.challenged(ask('Basic realm="x"'), PULL)
    assert one.header(PULL) == BASIC
    assert one.header(Scope("other")) == BASIC


def test_basic_refused() -> None:
    one = authorizer(Realm(), ME)
    one.challenged(ask("Basic realm=x"), Scope())
    one.header(Scope())
    with pytest.raises(Unauthorized, match=r"refuses the credentials, log in again with `lamina login reg.ex"):
        one.challenged(ask("Basic realm=x"), Scope())


def test_basic_refused_later() -> None:
    one = authorizer(Realm(), ME)
    one.challenged(ask("Basic realm=x"), PULL)
    for _ in range(3):
        one.header(PULL)
    with pytest.raises(Unauthorized, match=r"reg.example refuses the credentials"):
        one.challenged(ask("Basic realm=x"), PULL)


@pytest.mark.parametrize("credential", [None, Credential("me", "", IDENTITY)])
def test_basic_without_a_password(credential: Credential | None) -> None:
    one = authorizer(Realm(), credential)
    with pytest.raises(Unauthorized, match=r"reg.example asks for a login, log in with `lamina login reg.example`"):
        one.challenged(ask("Basic realm=x"), PULL)


def test_what_is_public_is_had_all_the_same_where_something_else_asked_for_a_login() -> None:
    one = authorizer(Realm())
    with pytest.raises(Unauthorized):
        one.challenged(ask("Basic realm=x"), Scope("private"))
    assert one.header(Scope("public")) is None
    mixed = authorizer(Realm(), a_b=ME)
    mixed.challenged(ask("Basic realm=x"), PULL)
    assert (mixed.header(PULL), mixed.header(Scope("public"))) == (BASIC, None)


@pytest.mark.parametrize("text", ["", "Negotiate", "Digest realm=x", "Bearer service=x", 'Bearer realm=""'])
def test_a_challenge_that_is_not_understood(text: str) -> None:
    with pytest.raises(Unauthorized, match="asks for a login that is not understood"):
        authorizer(Realm(), ME).challenged(ask(text) if text else {}, PULL)


@pytest.mark.parametrize("text", [f'Basic realm="x", {BEARER}', f"{BEARER}, Basic realm=x", f"Negotiate, {BEARER}"])
def test_bearer_before_basic(text: str) -> None:
    one = authorizer(Realm(), ME)
    one.challenged(ask(text), PULL)
    assert one.header(PULL) == f"Bearer {TOKEN}-1"


def test_bearer_with_a_password() -> None:
    realm = Realm()
    one = authorizer(realm, ME)
    assert one.challenged(ask(BEARER + ',scope="repository:a/b:pull"'), PULL)
    assert one.header(PULL) == f"Bearer {TOKEN}-1"
    (request,) = realm.requests
    assert (request.method, request.url.partition("?")[0]) == ("GET", "https://auth.example/token")
    assert request.query == [("service", "reg"), ("scope", "repository:a/b:pull"), ("account", "me")]
    assert request.headers == {"Authorization": BASIC}
    assert realm.replies[0].closed


def test_bearer_as_nobody() -> None:
    realm = Realm()
    one = authorizer(realm)
    one.challenged(ask('Bearer realm="https://auth.example/token?x=1"'), Scope("a", ("pull", "push"), ("c", "d")))
    (request,) = realm.requests
    assert request.query == [("x", "1"), ("scope", "repository:a:pull,push"), ("scope", "repository:c:pull"),
                             ("scope", "repository:d:pull")]
    assert request.headers == {}


def test_bearer_by_an_identity_token() -> None:
    realm = Realm()
    one = authorizer(realm, Credential("me", PASSWORD, IDENTITY))
    one.challenged(ask(), Scope("a", ("pull",), ("b",)))
    (request,) = realm.requests
    assert (request.method, request.url) == ("POST", "https://auth.example/token")
    assert request.form == [("grant_type", "refresh_token"), ("service", "reg"), ("client_id", "lamina"),
                            ("scope", "repository:a:pull repository:b:pull"), ("refresh_token", IDENTITY)]
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_bearer_token_that_is_known() -> None:
    realm = Realm()
    one = authorizer(realm, Credential("", "", "", "known"))
    one.challenged(ask(), PULL)
    assert one.header(PULL) == "Bearer known"
    with pytest.raises(Unauthorized):
        one.challenged(ask(), PULL)
    assert realm.requests == []


def test_a_login_has_no_scope() -> None:
    realm = Realm()
    authorizer(realm).challenged(ask(), Scope())
    assert realm.requests[0].query == [("service", "reg")]


def test_what_the_registry_wants_beyond_what_was_known() -> None:
    realm = Realm()
    one = authorizer(realm)
    one.challenged(ask(BEARER + ',scope="registry:catalog:*"'), Scope())
    one.header(Scope())
    one.challenged(ask(BEARER + ',scope="repository:mirror/a/b:pull repository:a/b:push"'), PULL)
    assert [query for _, query in realm.requests[0].query] == ["reg", "registry:catalog:*"]
    assert realm.requests[1].query[1:] == [("scope", "repository:a/b:pull,push"), ("scope", "repository:mirror/a/b:pull")]


def test_scopes_without_end_are_cut() -> None:
    realm = Realm()
    text = " ".join(f"repository:r{number}:pull" for number in range(300))
    authorizer(realm).challenged(ask(f'Bearer realm="https://a.example",scope="{text}"'), PULL)
    assert len(realm.requests[0].query) == 17


def test_tokens_are_kept_by_scope_and_known_before_the_next_401() -> None:
    realm = Realm()
    one = authorizer(realm, ME)
    one.challenged(ask(), PULL)
    push = Scope("a/b", ("pull", "push"))
    assert [one.header(scope) for scope in (PULL, push, PULL, push)] == [
        f"Bearer {TOKEN}-{number}" for number in (1, 2, 1, 2)]
    assert len(realm.requests) == 2


def test_tokens_are_kept_by_credential() -> None:
    realm = Realm()
    one = authorizer(realm, a_b=ME, c=Credential("you", "other"))
    for scope in (PULL, Scope("c"), Scope("d")):
        one.challenged(ask(BEARER + ',scope="registry:catalog:*"'), scope)
    assert [request.headers.get("Authorization") for request in realm.requests] == [
        BASIC, "Basic " + b64encode(b"you:other").decode(), None]


def test_another_realm_gets_another_token() -> None:
    realm = Realm()
    one = authorizer(realm)
    one.challenged(ask(), PULL)
    one.header(PULL)
    one.header(PULL)
    one.challenged(ask('Bearer realm="https://new.example/t"'), PULL)
    assert one.header(PULL) == f"Bearer {TOKEN}-2"
    assert realm.requests[1].url.startswith("https://new.example/t?")


def test_renewed_before_it_expires() -> None:
    realm, clock = Realm(), Clock()
    one = authorizer(realm, clock=clock)
    one.challenged(ask(), PULL)
    clock.now += 289
    assert one.header(PULL) == f"Bearer {TOKEN}-1"
    clock.now += 2
    assert one.header(PULL) == f"Bearer {TOKEN}-2"


def test_renewed_when_it_is_refused_after_it_was_good() -> None:
    realm = Realm()
    one = authorizer(realm)
    one.challenged(ask(), PULL)
    for number in range(1, 5):
        assert one.header(PULL) == f"Bearer {TOKEN}-{number}"  # good
        assert one.header(PULL) == f"Bearer {TOKEN}-{number}"  # refused
        assert one.challenged(ask(), PULL)


def test_a_token_for_the_wrong_scope_ends_in_no_loop() -> None:
    realm = Realm()
    one = authorizer(realm, ME)
    one.challenged(ask(), PULL)
    one.header(PULL)
    with pytest.raises(Unauthorized, match=r"access to reg.example/a/b is denied, it may not exist, or may not be yours"):
        one.challenged(ask(BEARER + ',error="insufficient_scope"'), PULL)
    assert len(realm.requests) == 1


def test_a_token_for_the_wrong_scope_as_nobody() -> None:
    one = authorizer(Realm())
    one.challenged(ask(), PULL)
    one.header(PULL)
    with pytest.raises(Unauthorized, match="asks for a login"):
        one.challenged(ask(), PULL)


def test_a_realm_that_gives_the_same_token_again() -> None:
    realm = Realm(lambda _: token())
    one = authorizer(realm, ME)
    one.challenged(ask(), PULL)
    one.header(PULL)
    one.header(PULL)
    with pytest.raises(Unauthorized):
        one.challenged(ask(), PULL)
    assert len(realm.requests) == 2


def test_a_token_that_another_thread_renewed_is_taken() -> None:
    realm = Realm()
    one = authorizer(realm)
    one.challenged(ask(), PULL)
    one.header(PULL)
    one.header(PULL)

    def other() -> None:
        one.header(PULL)
        one.challenged(ask(), PULL)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert one.challenged(ask(), PULL)
    assert one.header(PULL) == f"Bearer {TOKEN}-2"
    assert len(realm.requests) == 2


def test_one_fetch_at_a_time() -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(_: object) -> Reply:
        entered.set()
        assert go.wait(30)
        return token()

    realm = Realm(slow)
    one = authorizer(realm)
    got: list[str | None] = []

    def work() -> None:
        one.challenged(ask(), PULL)
        got.append(one.header(PULL))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    go.set()
    for thread in threads:
        thread.join()
    assert got == [f"Bearer {TOKEN}"] * 8
    assert len(realm.requests) == 1


def test_a_failed_fetch_is_tried_anew() -> None:
    realm = Realm(lambda _: Reply(400))
    one = authorizer(realm)
    with pytest.raises(RegistryError):
        one.challenged(ask(), PULL)
    realm.answer = lambda _: token()
    assert one.challenged(ask(), PULL)


def test_threads_do_not_share_what_they_sent() -> None:
    one = authorizer(Realm(), ME)
    one.challenged(ask("Basic realm=x"), PULL)
    one.header(PULL)
    caught: list[BaseException] = []

    def other() -> None:
        try:
            one.challenged(ask("Basic realm=x"), PULL)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert caught == []


def test_merged() -> None:
    assert merged(["repository:a:pull"], ("repository:a:push,pull", "registry:catalog:*", "odd")) == (
        "repository:a:pull,push", "registry:catalog:*", "odd")


def test_the_hint_for_docker_hub_names_no_server() -> None:
    with pytest.raises(Unauthorized, match="log in with `lamina login`"):
        authorizer(Realm(), domain="docker.io").challenged(ask("Basic realm=x"), PULL)


def test_credentials_are_looked_up_by_domain() -> None:
    seen = []

    class Spy(Keys):
        def get(self, host: str, repository: str = "") -> Credential | None:
            seen.append((host, repository))
            return None

    one = authorizer(Realm(), base="https://registry-1.docker.io", domain="docker.io")
    one._credentials = Spy()
    one.challenged(ask(), PULL)
    assert set(seen) == {("docker.io", "a/b")}
