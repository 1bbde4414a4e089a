"""Where the store is, and its names for completion: what a shell waits for, so it imports SQLite and little else."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """LAMINA_STORE, or `lamina/store` in the user's data directory."""
    named = os.environ.get("LAMINA_STORE", "")
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("lamina") / "store"


def stored_names(path: Path | None) -> list[str]:
    """Familiar names, in order; errors as of `lamina.store.peek.names`."""
    from lamina.store.peek import names

    return sorted(familiar(name) for name in names(path or default_path()) if not name.startswith("@"))


def familiar(name: str) -> str:
    """As `Reference.parse(name).familiar()` of a full name, without the 15 ms of importing it."""
    short = name.removeprefix("docker.io/")
    official = short.removeprefix("library/")
    return short if short == name or "/" in official else official
