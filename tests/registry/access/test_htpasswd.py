"""htpasswd: what is read, that wrong users cost the same work, and how much work there can be."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lamina.errors import InvalidContent, LimitExceeded
from lamina.registry.server.access import htpasswd
from lamina.registry.server.access.basic import Basic
from lamina.registry.server.access.htpasswd import Users, parse
from lamina.registry.server.access.identity import Identity, NotKnown
from lamina.registry.server.refusal import Refusal
from registry.access.kit import PASSWORD, Counting, basic, hashed

FILE = Path("/etc/users")


def users(counting: Counting, **passwords: bytes) -> Users:
    return Users(passwords or {"ann": hashed()}, counting.hasher())


def test_a_file_is_read_with_comments_and_ends_of_lines_of_any_kind() -> None:
    data = b"# users\r\nann:" + hashed() + b"\r\n\n  \nbob:$2y" + hashed()[3:] + b"\nz\xc3\xbc:" + hashed()
    assert list(parse(data, FILE)) == ["ann", "bob", "zü"] and parse(b"", FILE) == {}


@pytest.mark.parametrize("prefix", [b"$2a", b"$2b", b"$2y"])
def test_every_name_of_bcrypt_that_is_sound_is_taken(prefix: bytes) -> None:
    found = Users(parse(b"ann:" + prefix + hashed()[3:], FILE), Counting().hasher())
    assert found.check("ann", PASSWORD) and not found.check("ann", b"wrong")


@pytest.mark.parametrize(("line", "says"), [
    (b"ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "not hashed by bcrypt"),
    (b"ann:$apr1$x$y", "not hashed by bcrypt"),
    (b"ann:secret", "not hashed by bcrypt"),
    (b"ann:", "not hashed by bcrypt"),
    (b"ann", "not hashed by bcrypt"),
    (b"ann:$2x" + hashed()[3:], "not hashed by bcrypt"),
    (b"ann:" + hashed()[:-1], "not hashed by bcrypt"),
    (b"ann:" + hashed() + b":more", "not hashed by bcrypt"),
    (b"ann:$2b$31$" + hashed()[7:], "has the cost 31"),
    (b"ann:$2b$00$" + hashed()[7:], "has the cost 0"),
    (b":" + hashed(), "no user's name"),
    (b"*:" + hashed(), "no user's name"),
    (b"a\x07b:" + hashed(), "no user's name"),
    (b"a" * 256 + b":" + hashed(), "no user's name"),
    (b"\xff:" + hashed(), "no UTF-8"),
    (b"ok:" + hashed() + b"\nok:" + hashed(), "twice"),
])
def test_a_line_that_is_not_taken_is_named_and_not_shown(line: bytes, says: str) -> None:
    with pytest.raises(InvalidContent, match=says) as caught:
        parse(b"#\n" + line, FILE)
    assert f"{FILE}:{3 if says == 'twice' else 2}" in str(caught.value)
    assert "secret" not in str(caught.value) and hashed()[7:].decode() not in str(caught.value)


def test_there_is_a_bound_on_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "MAX_USERS", 2)
    with pytest.raises(LimitExceeded):
        parse(b"".join(b"u%d:%s\n" % (number, hashed()) for number in range(3)), FILE)


def test_an_unknown_user_costs_the_work_of_a_known_one() -> None:
    counting = Counting()
    one = users(counting, ann=hashed(cost=6))
    assert not one.check("ann", b"wrong")
    known, counting.costs = counting.costs, []
    assert not one.check("nobody", b"wrong")
    assert counting.costs == known == [6]


def test_with_costs_of_all_kinds_every_refusal_costs_the_same_work() -> None:
    counting = Counting()
    one = users(counting, ann=hashed(cost=4), bob=hashed(cost=6), cas=hashed(cost=8))
    work = []
    for user in ("ann", "bob", "cas", "nobody", "Ann"):
        counting.costs = []
        assert not one.check(user, b"wrong")
        work.append(counting.work)
    assert work == [1 << 8] * 5


def test_a_file_without_users_costs_what_one_with_them_would() -> None:
    counting = Counting()
    assert not Users({}, counting.hasher()).check("ann", b"x") and counting.costs == [10]


def test_a_right_password_is_hashed_once_and_a_wrong_one_each_time() -> None:
    counting = Counting()
    one = users(counting)
    assert all(one.check("ann", PASSWORD) for _ in range(5)) and len(counting.costs) == 1
    assert not any(one.check("ann", b"wrong") for _ in range(5)) and len(counting.costs) == 6


def test_what_is_remembered_is_that_user_with_that_password() -> None:
    one = users(Counting())
    assert one.check("ann", PASSWORD)
    for user, password in (("an", b"n" + PASSWORD), ("annc", PASSWORD[1:]), ("ann", PASSWORD[:-1]),
    ("ann", PASSWORD + b" "), ("bob", PASSWORD)):
        assert not one.verified(user, password) and not one.check(user, password)


def test_what_is_remembered_is_bounded_and_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "_REMEMBERED", 2)
    one = users(Counting(), a=hashed(), b=hashed(), c=hashed())
    assert all(one.check(user, PASSWORD) for user in ("a", "b", "a", "c"))
    assert [one.verified(user, PASSWORD) for user in ("a", "b", "c")] == [True, False, True]
    assert len(one._verified) == 2 and not any(PASSWORD in mark for mark in one._verified)
    assert not set(one._verified) & set(users(Counting())._verified)


def test_two_processes_remember_by_different_marks() -> None:
    assert users(Counting())._mark("ann", PASSWORD) != users(Counting())._mark("ann", PASSWORD)


@pytest.mark.parametrize("password", [b"", b"a" * 73, b"a" * 100_000, PASSWORD + b"\0", b"\0"])
def test_a_password_that_bcrypt_would_cut_short_is_refused_without_work(password: bytes) -> None:
    counting = Counting()
    one = users(counting, ann=hashed(b"a" * 72))
    assert not one.check("ann", password) and not one.check("nobody", password) and counting.costs == []
    assert one.check("ann", b"a" * 72)


def test_only_so_many_passwords_are_hashed_at_once_and_the_queue_is_bounded() -> None:
    inside, leave, most = threading.Semaphore(0), threading.Event(), []

    def slow(password: bytes, like: bytes) -> bytes:
        inside.release()
        assert leave.wait(60)
        return like

    from lamina.registry.server.access.hashing import Hasher

    one = Users({"ann": hashed()}, Hasher(slow, at_once=2, waiting=0, patience=60))
    threads = [threading.Thread(target=lambda: most.append(one.check("ann", PASSWORD))) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert all(inside.acquire(timeout=60) for _ in threads)
        with pytest.raises(Refusal) as caught:
            one.check("bob", b"x")
        assert caught.value.code == "TOOMANYREQUESTS" and caught.value.headers == {"Retry-After": "1"}
    finally:
        leave.set()
        for thread in threads:
            thread.join()
    assert most == [True, True] and not one.check("bob", b"x")


def test_who_waits_too_long_is_told_to_come_again() -> None:
    hasher = Counting().hasher(at_once=1, waiting=5, patience=0)
    with hasher.place(), pytest.raises(Refusal, match="too many logins"), hasher.place():
        pass
    with hasher.place():
        pass


def test_a_crowd_with_the_same_password_does_the_work_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    hasher = counting.hasher(at_once=1, waiting=20, patience=60)
    place, together = hasher.place, threading.Barrier(8)

    def crowded() -> AbstractContextManager[None]:
        together.wait(60)  # All of them have found that it is not remembered.
        return place()

    monkeypatch.setattr(hasher, "place", crowded)
    one = Users({"ann": hashed()}, hasher)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(one.check("ann", PASSWORD))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8 and len(counting.costs) == 1


# Basic credentials

@pytest.mark.parametrize("value", [
    "", "Basic", "Basic ", "Basic !!!!", "Basic YW5u", "Bearer abc", "Basic " + "A" * 4096, "Basic YW5uOg",
    "Basic YW5uOg===", "Basic\tYW5uOng=",
    "Basic /zpw", "Basic YW5uOn\nhwCg==",
    "Digest username=ann", basic("", b"x"), basic("*"), basic("a\0nn"), basic("a" * 256), basic("ann", b""),
])
def test_credentials_that_are_none_cost_nothing(value: str) -> None:
    counting = Counting()
    one = users(counting)
    gate = Basic(lambda: one, "R")
    with pytest.raises(NotKnown):
        gate.identify(value)
    assert gate.quick(value) and counting.costs == []


def test_a_login() -> None:
    one = users(Counting())
    gate = Basic(lambda: one, "R")
    assert not gate.quick(basic("ann")) and gate.identify(basic("ann")) == Identity("ann") and gate.quick(basic("ann"))
    assert gate.identify(basic("ann").replace("Basic", "bASIC")) == Identity("ann")
    for wrong in (basic("ann", b"no"), basic("nobody")):
        with pytest.raises(NotKnown, match=r"^wrong user or password$"):
            gate.identify(wrong)
        assert not gate.quick(wrong)
    assert gate.challenge("", "") == 'Basic realm="R", charset="UTF-8"'


def test_neither_name_nor_password_is_nobody() -> None:
    assert Basic(lambda: users(Counting()), "R").identify("Basic Og==") == Identity()
