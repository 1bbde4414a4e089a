"""The configuration file of `lamina serve` (CONFIG.md): TOML, every key known and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lamina.errors import InvalidContent
from lamina.jsonlimits import MAX_BYTES
from lamina.registry.server.access import files, values
from lamina.registry.server.access.identity import is_user
from lamina.registry.server.access.patterns import is_pattern
from lamina.registry.server.access.tables import Table, nearest
from lamina.registry.server.configured import ACTIONS, Deletion, Htpasswd, Limits, Listen, Rule, Settings, TlsFiles, Token

_WHAT = "the configuration of the server"
_MAX_FILE = 1 << 20
# Each pattern is held against each name that is asked about for the first time, 10 us one.
MAX_PATTERNS = 1000
_YEAR = 366 * 86400.0


def read(path: Path) -> Settings:
    """The settings of a file; `NotFound`, `StorageError`, `LimitExceeded`, `InvalidContent` with file and key."""
    return parse(files.read(path, _WHAT, _MAX_FILE), path)


def parse(data: bytes, path: Path) -> Settings:
    """The settings that stand in `data`, which is what `path` holds; nothing else is read.  Errors as of `read`."""
    try:
        content = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # Also what is not UTF-8.
        reason = " ".join(str(error).split())[:160]
        raise InvalidContent(f"{_WHAT} is not TOML: {reason}", path) from error
    table = Table(content, path)
    groups = _groups(table)
    auth = _auth(table)
    found = Settings(
        listen=table.parsed("listen", values.listen, Listen(), 'address like "127.0.0.1:5000", "[::1]:5000" or ":5000"'),
        workers=table.whole("workers", 1, 1, 64),
        tls=_tls(table),
        auth=auth,
        anonymous_ping=table.flag("anonymous_ping", False),
        groups=tuple(groups.items()),
        rules=_rules(table, groups, auth is not None),
        limits=_limits(table),
        read_only=table.flag("read_only", False),
        delete=_deletion(table),
        proxies=_proxies(table),
        gc_every=table.seconds("gc_every", 0, 60, _YEAR),
        max_size=table.size("max_size", 0, 1),
        upload_expiry=table.seconds("upload_expiry", 24 * 3600, 60, _YEAR),
        access_log=_access_log(table),
        page=table.flag("page", True),
        files=(path.absolute(),),
    )
    table.finish()
    return found


def _tls(table: Table) -> TlsFiles | None:
    tls = table.table("tls")
    if tls is None:
        return None
    found = TlsFiles(tls.path("cert"), tls.path("key"), tls.text("min_version", "1.2"))
    if found.min_version not in {"1.2", "1.3"}:
        tls.refuse("min_version", 'is neither "1.2" nor "1.3"')
    tls.finish()
    return found


def _auth(table: Table) -> Htpasswd | Token | None:
    auth = table.table("auth")
    if auth is None:
        return None
    htpasswd, token = auth.table("htpasswd"), auth.table("token")
    auth.finish()
    if (htpasswd is None) == (token is None):
        table.refuse("auth", "has to have one of htpasswd and token", "write [auth.htpasswd] or [auth.token]")
    if htpasswd is not None:
        found: Htpasswd | Token = Htpasswd(htpasswd.path("file"), _quotable(htpasswd, "realm", "Lamina"))
        htpasswd.finish()
    elif token is not None:
        realm = token.parsed("realm", values.url, None, 'URL like "https://auth.example/token"')
        found = Token(realm, _quotable(token, "service"), token.text("issuer"), token.path("keys"),
                      int(token.seconds("leeway", 60, 0, 300)))
        token.finish()
    return found


def _quotable(table: Table, key: str, default: str | None = None) -> str:
    return table.parsed(key, values.plain, default, "text of ASCII without quotes and backslashes")


def _groups(table: Table) -> dict[str, frozenset[str]]:
    groups = table.table("groups")
    if groups is None:
        return {}
    found = {}
    for name in groups.keys():  # noqa: SIM118 - no dict
        users = groups.texts(name)
        _check_users(groups, name, users)
        found[name] = frozenset(users)
    return found


def _check_users(table: Table, key: str, users: tuple[str, ...]) -> None:
    for user in users:
        if not is_user(user):
            table.refuse(key, f"holds {user[:80]!r}, which is no user's name")


def _rules(table: Table, groups: dict[str, frozenset[str]], logins: bool) -> tuple[Rule, ...]:
    rules = tuple(_rule(one, groups, logins) for one in table.tables("rule"))
    if sum(len(rule.repositories) for rule in rules) > MAX_PATTERNS:
        table.refuse("rule", f"has more than {MAX_PATTERNS} patterns in all")
    return rules


def _rule(table: Table, groups: dict[str, frozenset[str]], logins: bool) -> Rule:
    patterns, actions = table.texts("repositories"), table.texts("actions", (*ACTIONS, "*"))
    for pattern in patterns:
        if not is_pattern(pattern):
            table.refuse("repositories", f"holds {pattern[:80]!r}, which no repository's name can match",
                         "* stands for a part of one component, ** for whole ones; names are in lower case")
    if not patterns or not actions:
        table.refuse("actions" if patterns else "repositories", "is missing or empty")
    users, members, anonymous = table.texts("users"), table.texts("groups"), table.flag("anonymous", False)
    _check_users(table, "users", tuple(user for user in users if user != "*"))
    for group in members:
        if group not in groups:
            table.refuse("groups", f"holds the unknown {group[:80]!r}", nearest(group, list(groups)) if groups else "")
    if (users or members) and not logins:
        table.refuse("users" if users else "groups", "counts for nothing, as nobody can log in",
                     "set [auth.htpasswd] or [auth.token]")
    if not users and not members and not anonymous:
        table.refuse("users", "is missing, and so are groups and anonymous: the rule is nobody's")
    table.finish()
    return Rule(patterns, frozenset(ACTIONS if "*" in actions else actions), frozenset(users), frozenset(members), anonymous)


def _limits(table: Table) -> Limits:
    limits = table.table("limits")
    if limits is None:
        return Limits()
    found = Limits(
        limits.number("requests_per_address", 0, 1e6), limits.number("requests_per_user", 0, 1e6),
        limits.whole("burst", Limits().burst, 1, 1_000_000), limits.size("max_blob", 0),
        limits.size("max_manifest", MAX_BYTES, 1024, MAX_BYTES),
        limits.whole("uploads_per_user", Limits().uploads_per_user, 0, 1_000_000))
    limits.finish()
    return found


def _deletion(table: Table) -> Deletion:
    delete = table.table("delete")
    if delete is None:
        return Deletion()
    found = Deletion(delete.flag("blobs", True), delete.flag("manifests", True), delete.flag("tags", True))
    delete.finish()
    return found


def _proxies(table: Table) -> tuple[tuple[str, str], ...]:
    proxies = table.table("proxy")
    if proxies is None:
        return ()
    found = []
    for name in proxies.keys():  # noqa: SIM118 - no dict
        one = values.proxy(name, proxies.text(name))
        if one is None:
            proxies.refuse(name, "is no registry to pass through", 'write "registry.example" = "https://registry.example"')
        found.append(one)
    ways = {base for name, base in found if name in ("", "docker.io", "index.docker.io")}
    if len(ways) > 1:
        proxies.refuse("docker.io", 'and "" are the same repositories, and come from two places')
    return tuple(found)


def _access_log(table: Table) -> str:
    """false for none, "-" for standard output, else a file."""
    if not table.has("access_log") or table.is_false("access_log"):
        return ""
    return "-" if table.text("access_log") == "-" else str(table.path("access_log"))
