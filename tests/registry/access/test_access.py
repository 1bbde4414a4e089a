"""What a request may do, and what it is answered when it may not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lamina.registry import challenge
from lamina.registry.server.access.access import Access, authorization
from lamina.registry.server.access.basic import Basic
from lamina.registry.server.access.grants import Grant
from lamina.registry.server.access.htpasswd import Users
from lamina.registry.server.access.identity import Identity
from lamina.registry.server.configured import Rule, Settings
from lamina.registry.server.refusal import Refusal
from registry.access.kit import Counting, basic, bearer, claims, hashed, token

EVERY = frozenset({"pull", "push", "delete", "catalog"})


def rule(pattern: str, actions: str, *users: str, anonymous: bool = False) -> Rule:
    return Rule((pattern,), EVERY if actions == "*" else frozenset(actions.split()), frozenset(users), frozenset(), anonymous)


def passwords(*rules: Rule, **settings: bool) -> Access:
    users = Users({"ann": hashed(), "bob": hashed()}, Counting().hasher())
    return Access(Settings(rules=rules, **settings), Basic(lambda: users, "R"))


def tokens(*rules: Rule, **settings: bool) -> Access:
    return Access(Settings(rules=rules, **settings), bearer())


def login(user: str = "ann") -> Mapping[str, str]:
    return {"Authorization": basic(user)}


def shows(*entries: tuple[str, str, str], sub: str = "ann") -> Mapping[str, str]:
    access = [{"type": kind, "name": name, "actions": actions.split()} for kind, name, actions in entries]
    return {"authorization": f"Bearer {token(claims(access=access, sub=sub))}"}


def refusal(access: Access, headers: Mapping[str, str], repository: str | None, action: str, **more: object) -> tuple[str, str]:
    """Its code, and what WWW-Authenticate says after the scheme."""
    with pytest.raises(Refusal) as caught:
        access.admit(headers, repository, action, **more)  # type: ignore[arg-type]
    header = caught.value.headers.get("WWW-Authenticate", "")
    assert bool(header) == (caught.value.code == "UNAUTHORIZED")
    if not header:
        return caught.value.code, ""
    one, = challenge.parse(header)  # A client's reading of it: ours.
    return caught.value.code, "&".join(f"{name}={value}" for name, value in one.parameters.items() if name in {"scope",
    "error"})


def test_where_nobody_can_log_in_anybody_may_do_all() -> None:
    access = Access(Settings(), None)
    for headers in ({}, login(), {"Authorization": "nonsense"}):
        grant = access.admit(headers, "a", "delete")
        assert grant.user == "" and grant.may("b", "push") and grant.may_catalog() and access.quick(headers)
        access.admit(headers, None, "pull")
        access.admit(headers, None, "catalog")


def test_rules_without_logins_are_for_anybody_and_are_final() -> None:
    access = Access(Settings(rules=(rule("pub/*", "pull", anonymous=True),)), None)
    access.admit({}, "pub/a", "pull")
    assert refusal(access, {}, "pub/a", "push") == ("DENIED", "") == refusal(access, {}, None, "catalog")


def test_without_rules_whoever_has_logged_in_may_do_all_and_nobody_else_anything() -> None:
    access = passwords()
    grant = access.admit(login(), "a", "push")
    assert grant.user == "ann" and grant.may("b", "delete") and grant.may_catalog()
    for repository, action in (("a", "pull"), ("a", "push"), ("a", "delete"), (None, "catalog"), (None, "pull")):
        assert refusal(access, {}, repository, action) == ("UNAUTHORIZED", "")


def test_a_wrong_password_is_refused_even_where_nobody_needs_one() -> None:
    access = passwords(rule("**", "pull", anonymous=True))
    access.admit({}, "a", "pull")
    for headers in ({"Authorization": basic("ann", b"no")}, {"Authorization": "Bearer x"}, {"Authorization": ""}):
        assert refusal(access, headers, "a", "pull")[0] == "UNAUTHORIZED"


def test_with_rules_the_answer_is_a_login_for_strangers_and_final_for_others() -> None:
    access = passwords(rule("**", "pull", anonymous=True), rule("team/*", "pull push", "ann"), rule("**", "catalog", "bob"))
    access.admit(login("ann"), "team/a", "push")
    assert refusal(access, login("bob"), "team/a", "pull") == ("DENIED", "")
    assert refusal(access, {}, "team/a", "pull")[0] == "UNAUTHORIZED"
    assert refusal(access, login("ann"), None, "catalog")[0] == "DENIED"
    assert access.admit(login("bob"), None, "catalog").visible(["a", "team/a", "z"]) == ["a", "z"]


def test_the_ping_asks_for_a_login_unless_it_is_told_not_to() -> None:
    public = rule("**", "pull", anonymous=True)
    assert refusal(passwords(public), {}, None, "pull")[0] == "UNAUTHORIZED"
    assert passwords(public, anonymous_ping=True).admit({}, None, "pull").user == ""
    # A login is checked in any case, and has no need of a right.
    assert refusal(passwords(public, anonymous_ping=True), {"Authorization": basic("ann", b"no")}, None,
    "pull")[0] == "UNAUTHORIZED"
    assert passwords(rule("x", "pull", "bob")).admit(login("ann"), None, "pull").user == "ann"


@pytest.mark.parametrize("name", ['a"b', "a\r\nSet-Cookie: x", "../etc", "A", "", "a//b", "a" * 256, "a\\"])
def test_a_name_that_is_none_never_reaches_a_header_or_a_rule(name: str) -> None:
    for access in (passwords(), tokens(), Access(Settings(), None)):
        assert refusal(access, {}, name, "pull")[0] == "NAME_INVALID"
    code, says = refusal(tokens(), {}, "a", "push", also=[(name, "pull")])
    assert (code, says) == ("UNAUTHORIZED", "scope=repository:a:pull,push")


@pytest.mark.parametrize(("repository", "action"), [("a", "catalog"), ("a", "*"), ("a", ""), (None, "push"),
(None, "delete"), ("a", "PULL")])
def test_an_action_that_is_none_is_the_callers_mistake(repository: str | None, action: str) -> None:
    for access in (Access(Settings(), None), passwords()):
        with pytest.raises(ValueError, match="no action"):
            access.admit(login(), repository, action)


@pytest.mark.parametrize(("action", "scope"), [("pull", "pull"), ("push", "pull,push"), ("delete", "delete")])
def test_a_stranger_learns_which_token_to_get(action: str, scope: str) -> None:
    assert refusal(tokens(), {}, "team/app", action) == ("UNAUTHORIZED", f"scope=repository:team/app:{scope}")


def test_the_scopes_of_a_mount_the_catalog_and_the_ping() -> None:
    assert refusal(tokens(), {}, "a", "push", also=[("b/c", "pull"),
    ("a", "push")])[1] == "scope=repository:a:pull,push repository:b/c:pull"
    assert refusal(tokens(), {}, None, "catalog")[1] == "scope=registry:catalog:*"
    assert refusal(tokens(), {}, None, "pull")[1] == ""


def test_a_token_for_something_else_is_answered_by_the_scope_that_is_missing() -> None:
    headers = shows(("repository", "team/app", "pull"))
    grant = tokens().admit(headers, "team/app", "pull")
    assert grant.user == "ann" and not grant.may("team/app", "push") and not grant.may("other",
    "pull") and not grant.may_catalog()
    assert refusal(tokens(), headers, "team/app", "push") == ("UNAUTHORIZED",
    "scope=repository:team/app:pull,push&error=insufficient_scope")
    assert refusal(tokens(), headers, "other", "pull")[1].endswith("insufficient_scope")
    assert refusal(tokens(), headers, None, "catalog") == ("UNAUTHORIZED", "scope=registry:catalog:*&error=insufficient_scope")
    tokens().admit(headers, None, "pull")


def test_a_token_that_is_wrong_is_said_to_be() -> None:
    old = {"Authorization": f"Bearer {token(claims(exp=1))}"}
    assert refusal(tokens(), old, "a", "pull") == ("UNAUTHORIZED", "scope=repository:a:pull&error=invalid_token")
    assert refusal(tokens(rule("**", "*", anonymous=True)), old, "a", "pull")[1].endswith("invalid_token")
    assert refusal(tokens(), login(), "a", "pull")[0] == "UNAUTHORIZED"


def test_rules_only_take_away_from_what_a_token_grants() -> None:
    access = tokens(rule("team/*", "pull push", "ann"), rule("pub/*", "pull", anonymous=True))
    everything = [("repository", name, "*") for name in ("team/a", "pub/a", "other")]
    grant = access.admit(shows(*everything), "team/a", "push")
    assert [grant.may(name, "pull") for name in ("team/a", "pub/a", "other", "team/b")] == [True, True, False, False]
    assert refusal(access, shows(*everything), "team/a", "delete") == ("DENIED",
    "") == refusal(access, shows(*everything, sub="bob"), "team/a", "pull")
    # Nobody is nobody, with a token of the issuer's or without; the right to the source alone does not give the claim.
    access.admit(shows(*everything, sub=""), "pub/a", "pull")
    access.admit({}, "pub/a", "pull")
    assert refusal(access, shows(*everything, sub=""), "team/a", "pull")[0] == "DENIED"
    assert refusal(access, shows(("repository", "team/b", "pull")), "team/a", "pull")[0] == "UNAUTHORIZED"


def test_a_token_of_nobody_does_what_it_grants() -> None:
    grant = tokens().admit(shows(("repository", "a", "pull"), sub=""), "a", "pull")
    assert grant.user == "" and not grant.may("a", "push")
    tokens().admit(shows(sub=""), None, "pull")


def test_a_mount_needs_the_right_to_its_source_and_lacks_nothing_else() -> None:
    access = passwords(rule("mine/*", "pull push", "ann"), rule("theirs/*", "pull push", "bob"))
    grant = access.admit(login("ann"), "mine/a", "push", also=[("theirs/b", "pull")])
    assert not grant.may("theirs/b", "pull") and grant.may("mine/b", "pull") and not grant.may("mine/../theirs/b", "pull")
    assert not grant.may("", "pull") and not grant.may("theirs/b\n", "pull")


def test_read_only_refuses_by_405_whoever_had_the_right_and_tells_nobody_else() -> None:
    access = passwords(rule("**", "*", "ann"), rule("**", "pull", "bob"), read_only=True)
    for action in ("push", "delete"):
        with pytest.raises(Refusal) as caught:
            access.admit(login("ann"), "a", action)
        assert (caught.value.code, caught.value.status) == ("UNSUPPORTED", 405)
        assert refusal(access, login("bob"), "a", action)[0] == "DENIED" and refusal(access, {},
        "a", action)[0] == "UNAUTHORIZED"
    grant = access.admit(login("ann"), "a", "pull")
    assert not grant.may("a", "push") and not grant.may("a", "delete") and grant.may("a", "pull") and grant.may_catalog()


def test_headers_are_found_whatever_their_case() -> None:
    for name in ("authorization", "Authorization", "AUTHORIZATION", "aUTHORIZATION"):
        assert authorization({"Host": "x", name: "y"}) == "y"
    assert authorization({"Proxy-Authorization": "y", "X-Authorization": "y"}) is None


def test_only_a_password_not_seen_before_needs_a_thread() -> None:
    access = passwords()
    assert access.quick({}) and not access.quick(login()) and not access.quick({"Authorization": basic("nobody")})
    access.admit(login(), "a", "pull")
    assert access.quick(login()) and tokens().quick(shows())


def names(total: int) -> list[str]:
    return sorted(f"{'team' if number % 3 else 'pub'}/{number:05}" for number in range(total))


@pytest.mark.parametrize("limit", [0, 30, 799, 800, 801, 5000, 10**18])
def test_pages_of_the_catalog_are_full_and_name_nothing_that_is_not_to_be_seen(limit: int) -> None:
    everything = names(2400)
    grant = passwords(rule("pub/*", "pull", "ann"), rule("**", "catalog", "ann")).admit(login(), None, "catalog")
    asked = []

    def repositories(after: str, count: int) -> list[str]:
        asked.append(after)
        return [name for name in everything if name > after][:count]

    seen: list[str] = []
    after, more = "", True
    while more:
        page, more = grant.page(repositories, after, limit)
        assert len(page) == limit or not more
        seen += page
        after = page[-1] if page else "~"
        more = more and limit > 0
    assert seen == ([name for name in everything if name.startswith("pub/")] if limit else [])


def test_a_token_for_the_catalog_shows_what_the_rules_let_see() -> None:
    catalog = ("registry", "catalog", "*")
    assert tokens().admit(shows(catalog), None, "catalog").visible(["a", "b"]) == ["a", "b"]
    ruled = tokens(rule("**", "catalog", "ann"), rule("a", "pull", "ann"))
    assert ruled.admit(shows(catalog), None, "catalog").visible(["a", "b"]) == ["a"]
    assert tokens().admit(shows(("repository", "b", "pull")), "b", "pull").visible(["a", "b"]) == ["b"]


def test_a_grant_by_itself_grants_nothing() -> None:
    grant = Grant(Identity())
    assert not grant.may("a", "pull") and not grant.may_catalog() and grant.visible(["a"]) == []


@pytest.mark.parametrize(("text", "loaded"), [("", set()), ('[auth.htpasswd]\nfile = "users"', {"bcrypt"})])
def test_libraries_are_loaded_by_those_who_need_them(tmp_path: Path, text: str, loaded: set[str]) -> None:
    (tmp_path / "users").write_bytes(b"")
    (tmp_path / "lamina.toml").write_text(text)
    script = ("import sys; from pathlib import Path; from lamina.registry.server.access.live import Live\n"
              f"Live(Path({str(tmp_path / 'lamina.toml')!r})); "
              "print(*({'bcrypt', 'jwt', 'cryptography'} & set(sys.modules)))")
    done = subprocess.run([sys.executable,
    "-c", script], env={"PYTHONPATH": ":".join(sys.path)}, check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) == loaded
