"""lamina.toml: all of it, and one clear line for what cannot be meant."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import lamina.registry.server.access as package
from lamina.errors import InvalidContent, LimitExceeded, NotFound, StorageError
from lamina.registry.server.access import values
from lamina.registry.server.access.configuration import parse, read
from lamina.registry.server.access.tables import Table
from lamina.registry.server.configured import Deletion, Htpasswd, Limits, Listen, Rule, Settings, TlsFiles, Token

FILE = Path("/etc/lamina/serve.toml")
DOCUMENT = Path(package.__file__).with_name("CONFIG.md")


def example() -> str:
    """The one that CONFIG.md calls complete."""
    found = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_nothing_said_is_the_defaults() -> None:
    assert parse(b"", FILE) == Settings() and parse(b"", FILE).files == (FILE,)
    assert Settings().listen == Listen("127.0.0.1", 5000) and not Settings().cautions()


def test_the_documents_example_says_everything() -> None:
    found = parse(example().encode(), FILE)
    assert found == Settings(
        listen=Listen("", 5000), workers=2, tls=TlsFiles(FILE.parent / "server.crt", FILE.parent / "server.key", "1.2"),
        auth=Htpasswd(FILE.parent / "users", "Lamina"), anonymous_ping=False,
        groups=(("developers", frozenset({"ann", "bob"})), ("operators", frozenset({"eve"}))),
        rules=(
            Rule(("**",), frozenset({"pull"}), anonymous=True),
            Rule(("**",), frozenset({"pull", "push", "delete", "catalog"}), groups=frozenset({"operators"})),
            Rule(("team/**",), frozenset({"pull", "push"}), groups=frozenset({"developers", "operators"})),
            Rule(("team/release",), frozenset({"pull"}), users=frozenset({"*"})),
            Rule(("team/release",), frozenset({"push"}), users=frozenset({"ann"})),
        ),
        limits=Limits(50, 200, 400, 20 * 10**9, 4 << 20, 16), read_only=False, delete=Deletion(True, True, False),
        proxies=(("docker.io", "https://registry-1.docker.io"),
        ("quay.io", "https://quay.io")), gc_every=6 * 3600, max_size=200 * 10**9,
        upload_expiry=24 * 3600, access_log="-", page=True)


TOKEN = (b'[auth.token]\nrealm = "https://auth.example/token"\nservice = "registry.example"\nissuer = "auth.example"\n'
         b'keys = "/keys.json"\nleeway = "30s"')


def test_every_key_is_in_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    has = Table.has
    monkeypatch.setattr(Table, "has", lambda table, key: asked.add(key) or has(table, key))
    parse(example().encode(), FILE)
    parse(TOKEN, FILE)
    document = DOCUMENT.read_text()
    assert len(asked) > 40
    # The names of groups and registries are the operator's.
    own = {"developers", "operators", "docker.io", "quay.io"}
    assert [key for key in sorted(asked - own) if not re.search(rf"[`.[]{key}[]`.…]", document)] == []


def test_tokens() -> None:
    found = parse(TOKEN, FILE)
    assert found.auth == Token("https://auth.example/token", "registry.example", "auth.example", Path("/keys.json"), 30)


RULE = '[[rule]]\nrepositories = ["a"]\nactions = ["pull"]\n'
USERS = '[auth.htpasswd]\nfile = "users"\n'


@pytest.mark.parametrize(("text", "says"), [
    ("lisen = 1", "unknown key 'lisen', .*did you mean 'listen'"),
    ("[limits]\nmax_blobs = 1", "unknown key 'limits.max_blobs', .*'max_blob'"),
    ("[tsl]\ncert = 1", "unknown key 'tsl', .*'tls'"), ("zzz = 1", "unknown key 'zzz', .*known are"),
    ("[auth.htpaswd]\nfile = 'x'", "'htpasswd'"),
    ('[auth.htpasswd]\nfile = "x"\nfiel = 1', "unknown key 'auth.htpasswd.fiel'"), ("[delete]\ntag = true", "'tags'"),
    ("listen = 5000", "listen is no text"), ('listen = "localhost"', "listen is no address"),
    ('listen = "a:99999"', "listen is no address"),
    ('listen = "a b:1"', "listen is no address"), ('listen = "::1:80"', "listen is no address"),
    ('listen = ""', "listen is no text"),
    ("workers = 0", "workers is no whole number from 1 to 64"), ("workers = true", "workers"), ("workers = 2.0", "workers"),
    ("workers = 65", "workers"),
    ("read_only = 1", "read_only is neither true nor false"), ('page = "yes"', "page is neither"),
    ("anonymous_ping = []", "anonymous_ping is neither"),
    ('gc_every = "6"', "gc_every is no time"), ('gc_every = "1s"', "gc_every is no time from 60"),
    ("gc_every = 6", "gc_every is no text"),
    ('max_size = "lots"', "max_size is no size"), ("max_size = -1", "max_size"), ("max_size = 0", "max_size"),
    ("max_size = true", "max_size is no text"),
    ('upload_expiry = "9000d"', "upload_expiry is no time"), ("access_log = true", "access_log is no text"),
    ('access_log = "a\\u0000"', "access_log"),
    ("tls = 1", "tls is no table"), ("[tls]", "tls.cert is missing"), ('[tls]\ncert = "a"', "tls.key is missing"),
    ('[tls]\ncert = "a"\nkey = "b"\nmin_version = "1.1"', "tls.min_version is neither"),
    ('[tls]\ncert = "a"\nkey = ""', "tls.key is no text"),
    ("[auth]", "auth has to have one"), (USERS + '[auth.token]\nrealm = "https://a/"', "auth has to have one"),
    ("[auth.htpasswd]", "auth.htpasswd.file is missing"),
    (USERS + 'realm = "a\\"b"', "auth.htpasswd.realm is no text of ASCII"),
    (USERS + 'realm = "a\\r\\nb"', "auth.htpasswd.realm is no text"),
    ('[auth.token]\nrealm = "auth.example"', "auth.token.realm is no URL"),
    ('[auth.token]\nrealm = "https://u:p@a/"', "auth.token.realm"),
    ('[auth.token]\nrealm = "https://a/"', "auth.token.service is missing"),
    ('[auth.token]\nrealm = "https://a/"\nservice = "s"\nissuer = "i"\nkeys = "k"\nleeway = "1h"',
    "auth.token.leeway is no time from 0 to 300"),
    ("groups = []", "groups is no table"), ('[groups]\na = "ann"', "groups.a is no list"),
    ('[groups]\na = [1]', "groups.a is no list"),
    ('[groups]\na = ["x:y"]', "groups.a holds 'x:y'"), ('[groups]\na = ["*"]', "groups.a holds"),
    ("rule = 1", "rule is no list"), ("[rule]\na = 1", "rule is no list"), ("rule = [1]", r"rule\[1\] is no table"),
    ("[[rule]]", r"rule\[1\].repositories is missing"), ('[[rule]]\nrepositories = ["a"]', r"rule\[1\].actions is missing"),
    (RULE, r"rule\[1\].users is missing"), (RULE + "anonymous = true\n" + RULE, r"rule\[2\].users is missing"),
    (RULE + 'users = ["ann"]', r"rule\[1\].users counts for nothing"),
    (RULE.replace('"a"', '"A"'), "holds 'A', which no repository"),
    (RULE.replace('"a"', '"a/../b"'), "which no repository"), (RULE.replace("pull", "pul"), "unknown 'pul', .*'pull'"),
    (RULE.replace('["pull"]', '"pull"'), "actions is no list"), (USERS + RULE + 'groups = ["devs"]', "unknown 'devs'"),
    (USERS + '[groups]\ndevs = ["ann"]\n' + RULE + 'groups = ["dev"]', "unknown 'dev', .*'devs'"),
    (USERS + RULE + 'users = ["a\\u0007"]', "users"),
    (RULE + "anonymous = true\nuser = []", r"unknown key 'rule\[1\].user', .*'users'"),
    ("[limits]\nrequests_per_user = -1", "limits.requests_per_user is no number"),
    ("[limits]\nrequests_per_user = nan", "limits.requests_per_user"),
    ("[limits]\nrequests_per_address = inf", "limits.requests_per_address"), ("[limits]\nburst = 0", "limits.burst"),
    ("[limits]\nrequests_per_user = true", "no number"),
    ('[limits]\nmax_manifest = "5MiB"', "limits.max_manifest is no size from 1024 to 4194304"),
    ("[limits]\nuploads_per_user = -1", "limits.uploads_per_user"),
    ('[proxy]\n"docker.io" = "docker.io"', "proxy.docker.io is no registry"),
    ('[proxy]\ndocker.io = "https://x"', "proxy.docker is no text"),
    ('[proxy]\n"A" = "https://x"', "proxy.A is no registry"), ('[proxy]\n"a" = "https://x/path"', "proxy.a is no registry"),
    ('[proxy]\n"a" = "ftp://x"', "proxy.a"), ('[proxy]\n"a/b" = "https://x"', "proxy.a/b"),
    ('[proxy]\n"a" = "https://u:p@x"', "proxy.a"),
    ("a = ", "is not TOML"), ("a = 1\na = 2", "is not TOML"), ("\ufeff", "is not TOML"), ("a = " + "[" * 5000, "is not TOML"),
])
def test_what_cannot_be_meant_is_named_with_file_and_key(text: str, says: str) -> None:
    with pytest.raises(InvalidContent, match=says) as caught:
        parse(text.encode(), FILE)
    assert caught.value.where == str(FILE) and "\n" not in str(caught.value)


def test_what_is_not_utf8() -> None:
    with pytest.raises(InvalidContent, match="not TOML"):
        parse(b"# \xff", FILE)


def test_there_are_bounds_on_rules_and_lists() -> None:
    many = ", ".join(f'"a{number}"' for number in range(600))
    rule = f'[[rule]]\nanonymous = true\nactions = ["pull"]\nrepositories = [{many}]\n'
    assert len(parse(rule.encode(), FILE).rules[0].repositories) == 600
    with pytest.raises(InvalidContent, match="more than 1000 patterns"):
        parse((rule * 2).encode(), FILE)
    with pytest.raises(InvalidContent, match="no list of at most 1000"):
        parse(b"[groups]\na = [" + b'"x",' * 1001 + b"]", FILE)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.toml"):
        read(tmp_path / "nothing.toml")
    with pytest.raises(StorageError, match="cannot read"):
        read(tmp_path)
    (tmp_path / "big.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(LimitExceeded):
        read(tmp_path / "big.toml")
    (tmp_path / "good.toml").write_text('access_log = "log/access"\n[tls]\ncert = "/abs/c"\nkey = "../k"')
    found = read(tmp_path / "good.toml")
    assert found.tls == TlsFiles(Path("/abs/c"), tmp_path / "../k") and found.access_log == str(tmp_path / "log/access")


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().read_only = True  # type: ignore[misc]


@pytest.mark.parametrize(("text", "found"), [
    ("127.0.0.1:80", Listen("127.0.0.1", 80)), (":5000", Listen("", 5000)), ("[::1]:0", Listen("::1", 0)),
    ("reg.example:65535", Listen("reg.example", 65535)),
    ("reg.example", None), ("a:", None), ("a:-1", None), ("a:٣", None), ("a:1e3", None), ("[::1:80", None),
    ("http://a:80", None), ("a/b:1", None),
])
def test_addresses(text: str, found: Listen | None) -> None:
    assert values.listen(text) == found


@pytest.mark.parametrize(("text", "size", "seconds"), [
    ("200GB", 200 * 10**9, None), ("512MiB", 512 << 20, None), ("1.5 g", 1_500_000_000, None), ("7", 7, None),
    ("1m", 1_000_000, 60), ("90s", None, 90),
    ("1.5h", None, 5400), ("7d", None, 604800), ("-1", None, None), ("1e9", None, None), ("", None, None),
    ("9" * 16, None, None), ("GB", None, None), ("٣", None, None),
])
def test_sizes_and_times(text: str, size: int | None, seconds: float | None) -> None:
    assert (values.size(text), values.seconds(text)) == (size, seconds)


def test_cautions_are_for_what_strangers_reach() -> None:
    everywhere = Listen("", 5000)
    users = Htpasswd(Path("/users"))
    assert [len(settings.cautions()) for settings in (
        Settings(), Settings(listen=everywhere), Settings(listen=everywhere, read_only=True), Settings(listen=everywhere,
        auth=users),
        Settings(listen=everywhere, auth=users, tls=TlsFiles(Path("/c"), Path("/k"))), Settings(listen=Listen("::1"),
        auth=users),
    )] == [0, 1, 0, 1, 0, 0]
