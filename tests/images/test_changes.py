"""Dockerfile instructions of `import --change`."""

from __future__ import annotations

from typing import Any

import pytest

from lamina.errors import UsageError
from lamina.images.changes import apply_changes
from lamina.images.words import expand, split_words


def changed(*changes: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    apply_changes(config, changes)
    return config


@pytest.mark.parametrize(("change", "config"), [
    ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
    ("CMD a $b", {"Cmd": ["/bin/sh", "-c", "a $b"]}),
    ("CMD [a", {"Cmd": ["/bin/sh", "-c", "[a"]}),
    ("CMD []", {"Cmd": []}),
    ("cmd a", {"Cmd": ["/bin/sh", "-c", "a"]}),
    ('ENTRYPOINT ["/x"]', {"Entrypoint": ["/x"]}),
    ("ENV a=1 b='2 3' c=\"4 5\" d=6\\ 7", {"Env": ["a=1", "b=2 3", "c=4 5", "d=6 7"]}),
    ("ENV a b c ", {"Env": ["a=b c"]}),
    ("EXPOSE 80 53/udp 8000-8002/TCP", {"ExposedPorts": {
        "53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}}),
    ("LABEL a.b=c d=\"e f\"", {"Labels": {"a.b": "c", "d": "e f"}}),
    ("ONBUILD RUN make", {"OnBuild": ["RUN make"]}),
    ("USER 1000:1000", {"User": "1000:1000"}),
    ('VOLUME ["/b", "/a"]', {"Volumes": {"/a": {}, "/b": {}}}),
    ("VOLUME /b /a", {"Volumes": {"/a": {}, "/b": {}}}),
    ("WORKDIR a/../b/", {"WorkingDir": "/b"}),
    ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
    ("HEALTHCHECK --interval=1m30s --timeout=5s --start-period=0s --retries=3 CMD curl x",
     {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Timeout": 5 * 10**9,
                      "StartPeriod": 0, "Retries": 3}}),
    ('HEALTHCHECK CMD ["x", "y"]', {"Healthcheck": {"Test": ["CMD", "x", "y"]}}),
])
def test_instructions(change: str, config: dict[str, Any]) -> None:
    assert changed(change) == config


def test_they_build_on_each_other() -> None:
    assert changed("ENV a=1", "ENV b=$a-${a} a=2", "WORKDIR /x", "WORKDIR ${b}", "USER ${c:-nobody}",
                   "LABEL l='$a' m=\"$a\"") == {
        "Env": ["a=2", "b=1-1"], "WorkingDir": "/x/1-1", "User": "nobody", "Labels": {"l": "$a", "m": "2"}}


def test_several_lines_in_one() -> None:
    assert changed("# comment\nUSER me\n\nENV a=1 \\\n b=2") == {"User": "me", "Env": ["a=1", "b=2"]}


@pytest.mark.parametrize(("change", "message"), [
    ("RUN make", "^run is not a valid change command"), ("FROM x", "^from is not a valid change command"),
    ("nothing", "^nothing is not a valid change command"), ("ENV", "ENV requires at least one argument"),
    ("ENV a", "ENV must have two arguments"), ("ENV a=1 b", "can't find = in 'b'"),
    ("ENV a='1", "looking for matching quote"), ("EXPOSE http", "Invalid containerPort: http"),
    ("EXPOSE 70000", "Invalid containerPort"), ("EXPOSE 9-8", "Invalid containerPort"),
    ("USER a b", "USER requires exactly one argument"), ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"), ("HEALTHCHECK RUN x", "Unknown type 'RUN'"),
    ("HEALTHCHECK CMD", "Missing command"), ("HEALTHCHECK --every=1s CMD x", "Unknown flag: every"),
    ("HEALTHCHECK --interval=1 CMD x", "invalid duration"), ("HEALTHCHECK --interval=1us CMD x", "less than 1ms"),
    ("HEALTHCHECK --retries=-1 CMD x", "natural number"), ('VOLUME [""]', "can not be an empty string"),
    ("LABEL a=${b", "bad substitution"),
])
def test_refused(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        changed(change)


@pytest.mark.parametrize(("word", "value"), [
    ("$a$b", "12"), ("${a}x", "1x"), ("$ax", ""), ("\\$a", "$a"), ("'$a'", "$a"), ('"$a"', "1"), ("$", "$"),
    ("${c:-x}", "x"), ("${a:-x}", "1"), ("${a:+x}", "x"), ("${c:+x}", ""), ('"\\n\\"\\\\"', '\\n"\\'),
    ("a\\ b", "a b"), ("\\", "\\"), ("${c:-$a}", "1"),
])
def test_words(word: str, value: str) -> None:
    assert expand(word, {"a": "1", "b": "2"}) == value


def test_splitting() -> None:
    assert split_words(" a 'b c'  \"d e\"f g\\ h ") == ["a", "'b c'", '"d e"f', "g\\ h"]
