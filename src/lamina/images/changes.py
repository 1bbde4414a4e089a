"""Dockerfile instructions that change an image's config, as `import --change` takes them.

Docker's ten: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD USER VOLUME WORKDIR.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lamina.errors import InvalidContent, UsageError
from lamina.images.words import expand, split_words
from lamina.jsonlimits import loads

Config = dict[str, Any]

_CONTINUED = re.compile(r"\\[ \t]*\n")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}
_HEALTH = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "retries": "Retries"}
_SHELL = ("/bin/sh", "-c")
_NOT_IN_ONBUILD = ("ONBUILD", "FROM", "MAINTAINER")


def apply_changes(config: Config, changes: Sequence[str]) -> None:
    """Apply instructions in order, each perhaps of several lines; `UsageError` for what is wrong."""
    for line in _lines("\n".join(changes)):
        name, rest = ([*line.split(None, 1), ""])[:2]
        action = _ACTIONS.get(name.upper())
        if action is None:
            raise UsageError(f"{name.lower()} is not a valid change command", line[:160],
                             f"known are {' '.join(sorted(_ACTIONS))}")
        rest = rest.strip()
        if not rest and name.upper() not in ("CMD", "ENTRYPOINT"):
            raise UsageError(f"{name.upper()} requires at least one argument", line[:160])
        action(config, rest)


def _lines(text: str) -> Iterator[str]:
    for line in _CONTINUED.sub("", text).splitlines():
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield stripped


def _json_list(text: str) -> list[str] | None:
    """The words of an instruction in JSON form; None where it is in the shell's."""
    if not text.startswith("["):
        return None
    try:
        value = loads(f'{{"words":{text}}}'.encode(), "instruction")["words"]
    except InvalidContent:
        # As docker: what only looks like JSON is a shell's line.
        return None
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def _command_words(text: str) -> list[str]:
    words = _json_list(text)
    if words is not None:
        return words
    return [*_SHELL, text] if text else []


def _environment(config: Config) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in config.get("Env") or [])


def _expanded_words(config: Config, text: str) -> list[str]:
    environment = _environment(config)
    return [expand(word, environment) for word in split_words(text)]


def _pairs(config: Config, text: str, name: str) -> list[tuple[str, str]]:
    """`a=b c=d`, or the old form `a b`, whose value is the rest of the line."""
    environment = _environment(config)
    words = split_words(text)
    if "=" not in words[0]:
        key, *rest = text.split(None, 1)
        if not rest:
            raise UsageError(f"{name} must have two arguments", text[:160])
        return [(expand(key, environment), expand(rest[0], environment))]
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"Syntax error - can't find = in {word[:80]!r}. Must be of the form: name=value",
                             text[:160])
        pairs.append((expand(key, environment), expand(value, environment)))
    return pairs


def _command(key: str) -> Callable[[Config, str], None]:
    def action(config: Config, text: str) -> None:
        config[key] = _command_words(text)
    return action


def _env(config: Config, text: str) -> None:
    for key, value in _pairs(config, text, "ENV"):
        variables = _environment(config) | {key: value}
        config["Env"] = [f"{name}={value}" for name, value in variables.items()]


def _label(config: Config, text: str) -> None:
    config["Labels"] = (config.get("Labels") or {}) | dict(_pairs(config, text, "LABEL"))


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in _expanded_words(config, text):
        found = _PORT.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if found is None or not first <= last <= 65535:
            raise UsageError(f"Invalid containerPort: {word[:80]}", text[:160])
        ports |= {f"{port}/{(found[3] or 'tcp').lower()}": {} for port in range(first, last + 1)}
    config["ExposedPorts"] = dict(sorted(ports.items()))


def _volume(config: Config, text: str) -> None:
    words = _json_list(text)
    environment = _environment(config)
    places = split_words(text) if words is None else words
    paths = [expand(word, environment).strip() for word in places]
    if not all(paths):
        raise UsageError("VOLUME specified can not be an empty string", text[:160])
    volumes = (config.get("Volumes") or {}) | {path: {} for path in paths}
    config["Volumes"] = dict(sorted(volumes.items()))


def _user(config: Config, text: str) -> None:
    words = _expanded_words(config, text)
    if len(words) != 1:
        raise UsageError("USER requires exactly one argument", text[:160])
    config["User"] = words[0]


def _workdir(config: Config, text: str) -> None:
    path = expand(text, _environment(config))
    whole = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "", path))
    config["WorkingDir"] = "/" + whole.lstrip("/")


def _onbuild(config: Config, text: str) -> None:
    name = text.split(None, 1)[0].upper()
    if name == "ONBUILD":
        raise UsageError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", text[:160])
    if name in _NOT_IN_ONBUILD:
        raise UsageError(f"{name} isn't allowed as an ONBUILD trigger", text[:160])
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _healthcheck(config: Config, text: str) -> None:
    health: dict[str, Any] = {}
    while text.startswith("--"):
        option, text = ([*text.split(None, 1), ""])[:2]
        name, _, value = option[2:].partition("=")
        if name not in _HEALTH:
            raise UsageError(f"Unknown flag: {name[:80]}", option[:160])
        health[_HEALTH[name]] = _retries(value) if name == "retries" else _nanoseconds(name, value)
    kind, rest = ([*text.split(None, 1), ""])[:2]
    rest = rest.strip()
    if kind.upper() == "NONE":
        if rest or health:
            raise UsageError("HEALTHCHECK NONE takes no arguments", text[:160])
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD":
        raise UsageError(f"Unknown type {kind[:80]!r} in HEALTHCHECK (try CMD)", text[:160])
    if not rest:
        raise UsageError("Missing command after HEALTHCHECK CMD", text[:160])
    words = _json_list(rest)
    config["Healthcheck"] = {"Test": ["CMD-SHELL", rest] if words is None else ["CMD", *words], **health}


def _retries(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UsageError("--retries must be a natural number", text[:80])
    return int(text)


def _nanoseconds(name: str, text: str) -> int:
    if not _DURATION.fullmatch(text):
        raise UsageError(f"invalid duration for --{name}", text[:80], "expected for instance 30s or 1m30s")
    total = sum(float(number) * _NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if 0 < total < 10**6:
        raise UsageError(f"Interval {name!r} cannot be less than 1ms", text[:80])
    return int(total)


_ACTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
