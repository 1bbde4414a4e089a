"""An image store of the tests: it answers what it is told, and remembers how it was called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lamina.cli.run import run
from lamina.cli.settings import Settings

ID = "sha256:" + "0123456789abcdef" * 4
DIGEST = "sha256:" + "fedcba9876543210" * 4


def summary(repository: str = "app", tag: str = "1", **changes: Any) -> SimpleNamespace:
    fields = {
        "repository": repository, "tag": tag, "digest": "<none>", "image_id": ID, "parent": "", "size": 1_048_576_000,
        "created": datetime.now(UTC) - timedelta(days=21), "platform": "linux/amd64", "whole": True,
        "names": (f"{repository}:{tag}",),
    }
    return SimpleNamespace(**{**fields, **changes})


class StubStore:
    """Each method returns (or raises) what `answers` has under its name."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("progress", None)
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if callable(answer):
                answer = answer(*args, **kwargs)
            if isinstance(answer, BaseException):
                raise answer
            return answer
        return method

    def close(self) -> None:
        self.closed = True


class Ran:
    """What one command came to."""

    def __init__(self, code: int, out: str, err: str, store: StubStore, path: Path | None) -> None:
        self.code, self.out, self.err, self.store, self.path = code, out, err, store, path


def invoke(capsys: pytest.CaptureFixture[str], *arguments: str, **answers: Any) -> Ran:
    """Run one command on a stub with these answers."""
    store = StubStore(**answers)
    settings = Settings(lambda _: store)
    code = run(arguments, settings)
    out, err = capsys.readouterr()
    return Ran(code, out, err, store, settings.path)
