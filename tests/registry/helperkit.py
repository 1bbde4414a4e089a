"""Credential helpers of the tests: small shell scripts in a directory that is the PATH."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def helper(directory: Path, name: str, script: str) -> dict[str, str]:
    """Write `docker-credential-NAME` (a shell script); an environment that finds it."""
    directory.mkdir(exist_ok=True, parents=True)
    path = directory / f"docker-credential-{name}"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.defpath}:/usr/bin:/bin"}


# Keeps what it is told in files beside it, and notes each call.
KEEPER = r"""
cd "$(dirname "$0")"
given=$(cat)
echo "$1 $given" >> calls
name() { printf '%s' "$1" | tr -c 'a-zA-Z0-9.\n' _; }
case $1 in
store) url=$(printf '%s' "$given" | sed 's/.*"ServerURL": *"\([^"]*\)".*/\1/'); printf '%s' "$given" > "kept.$(name "$url")";;
get) cat "kept.$(name "$given")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
erase) rm "kept.$(name "$given")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
esac
"""


def keeper(directory: Path, name: str = "keeper") -> dict[str, str]:
    """A helper that keeps."""
    return helper(directory, name, KEEPER)


def calls(directory: Path) -> list[str]:
    """How it was called."""
    path = directory / "calls"
    return path.read_text().splitlines() if path.exists() else []


def environment(home: Path, **more: str) -> Mapping[str, str]:
    """An environment of its own, so that the files of who runs the tests are not looked at."""
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": f"{os.defpath}:/usr/bin:/bin", **more}
