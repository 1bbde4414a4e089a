"""The runtime part of an image's config, whose types were checked when it came, and are not trusted here all the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from lamina.registry.server.page.frame import facts, section
from lamina.registry.server.page.words import isolated

MOST = 300  # lines of each setting
_TEXTS = (("User", "User"), ("Directory", "WorkingDir"), ("Stop signal", "StopSignal"), ("Shell", "Shell"))
_COMMANDS = (("Entrypoint", "Entrypoint"), ("Command", "Cmd"))
_NAMES = (("Ports", "ExposedPorts"), ("Volumes", "Volumes"))


def settings(config: Mapping[str, object]) -> str:
    """A card; '' if there is nothing to say."""
    rows = [(title, _line(config.get(name))) for title, name in _COMMANDS]
    rows += [(title, _line(config.get(name))) for title, name in _TEXTS]
    rows += [(title, _lines(value if isinstance(value := config.get(name), Mapping) else ())) for title, name in _NAMES]
    variables = config.get("Env")
    rows.append(("Environment", _lines(variables if isinstance(variables, (list, tuple)) else ())))
    labels = config.get("Labels")
    rows.append(("Labels", _lines(f"{name}={value}" for name, value in labels.items()) if isinstance(labels, Mapping) else ""))
    return section("Config", facts(rows), name="config") if any(cell for _, cell in rows) else ""


def _line(value: object) -> str:
    if not value:
        return ""
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f'<span class="code">{isolated(words, 2000)}</span>'


def _lines(values: Iterable[object]) -> str:
    told = [f'<li class="code">{isolated(one, 1000)}</li>' for one in list(values)[: MOST + 1]]
    if len(told) > MOST:
        told[-1] = '<li class="soft">and more</li>'
    return f'<ul class="plain">{"".join(told)}</ul>' if told else ""
