"""Every other command: how it calls the store, what it prints, its exit code."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from cli.stub import DIGEST, ID, invoke, summary
from lamina.cli.app import LazyGroup, cli
from lamina.cli.progress import Lines, bars, title
from lamina.cli.table import COMMANDS, GROUPS
from lamina.errors import ArchiveError, Conflict, InvalidReference, NotFound, StoreDamaged

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def loaded(*references: str, warnings: tuple[str, ...] = (), incomplete: tuple[SimpleNamespace, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(loaded=[SimpleNamespace(reference=one, image_id=ID, digest=DIGEST) for one in references],
                           warnings=list(warnings), incomplete=list(incomplete))


def batches(*outcomes: object) -> Callable[..., Iterator[SimpleNamespace]]:
    """The answer of `load_all`: each outcome in a batch of its own."""
    stats = SimpleNamespace(read=4_000_000, new=1_000_000, stored=500_000, known=1_000_000, seconds=0.5, layers=[])

    def load_all(sources: list[object], **_: object) -> Iterator[SimpleNamespace]:
        for place, outcome in zip(sources, outcomes, strict=True):
            if isinstance(outcome, StoreDamaged):
                raise outcome
            yield SimpleNamespace(outcomes=[(place, outcome)], stats=stats)
    return load_all


@pytest.mark.parametrize("words", [["load"], ["image", "load"]])
def test_load(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, "-i", "a.tar", "--platform", "linux/arm64", "--verify", "--compression", "none",
                 load_all=batches(loaded("app:1", "")))
    assert (ran.code, ran.out) == (0, f"Loaded image: app:1\nLoaded image ID: {ID}\n")
    assert ran.err == "read 4MB, new 1MB, deduplicated 4MB, ratio 10.00x, 8 MB/s\n"
    options = {"platform": "linux/arm64", "verify": True, "compression": "none"}
    assert ran.store.calls == [("load_all", ([Path("a.tar")],), options)]


def test_load_tells_of_warnings_and_missing_parts(capsys: Capture) -> None:
    part = SimpleNamespace(reference="app:1", digest=DIGEST, platform="linux/arm64", missing=("a", "b"))
    ran = invoke(capsys, "load", "-q", "a.tar",
                 load_all=batches(loaded("app:1", warnings=("tag\ntwice",), incomplete=(part,))))
    assert ran.err == ("lamina: warning: tag\\ntwice\n"
                       "lamina: warning: app:1 linux/arm64 is incomplete, 2 blobs not in the archive\n")


def test_load_does_not_tell_of_everything(capsys: Capture) -> None:
    part = SimpleNamespace(reference="", digest=DIGEST, platform="p" * 9999, missing=("a",))
    result = loaded("app:1", warnings=("x",) * 250_000, incomplete=(part,) * 101)
    ran = invoke(capsys, "load", "-q", "a.tar", load_all=batches(result))
    lines = ran.err.splitlines()
    assert len(lines) == 201
    assert max(map(len, lines)) < 500
    assert lines[-1] == "lamina: warning: and 249901 more like these"


def test_load_goes_on_after_a_bad_file(capsys: Capture) -> None:
    bad, gone = ArchiveError("not an archive", "bad.tar"), FileNotFoundError(2, "No such file", "gone")
    ran = invoke(capsys, "load", "a", "bad.tar", "gone", "b", load_all=batches(loaded("a:1"), bad, gone, loaded("b:1")))
    assert (ran.code, ran.out) == (1, "Loaded image: a:1\nLoaded image: b:1\n")
    assert ran.err == ("lamina: error: not an archive, bad.tar\nlamina: error: no such file, gone\n"
                       "read 16MB, new 4MB, deduplicated 16MB, ratio 10.00x, 8 MB/s\n"
                       "lamina: error: 2 of 4 could not be loaded: bad.tar, gone\n")


def test_load_says_what_is_wrong_with_the_only_file(capsys: Capture) -> None:
    ran = invoke(capsys, "load", "bad.tar", load_all=batches(ArchiveError("not an archive", "bad.tar")))
    assert (ran.code, ran.err) == (1, "lamina: error: not an archive, bad.tar\n")


def test_load_stops_where_the_store_itself_fails(capsys: Capture) -> None:
    ran = invoke(capsys, "load", "a", "b", load_all=batches(StoreDamaged("pack is damaged"), loaded("b:1")))
    assert (ran.code, ran.out, ran.err) == (1, "", "lamina: error: pack is damaged\n")


def test_load_refuses_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    ran = invoke(capsys, "load", load_all=batches(loaded()))
    assert (ran.code, ran.store.calls) == (1, [])
    assert "requested load from stdin, but stdin is empty" in ran.err


def test_load_reads_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"tar"))
    monkeypatch.setattr(sys, "stdin", stream)
    ran = invoke(capsys, "load", load_all=batches(loaded("a:1")))
    assert ran.store.calls[0][1] == ([stream.buffer],)


@pytest.mark.parametrize("words", [["save"], ["image", "save"]])
def test_save_to_a_file(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, "-o", "out.tar", "--format", "oci-archive", "a", "b",
                 save=SimpleNamespace(bytes=5_000_000, seconds=0.5))
    assert (ran.code, ran.out, ran.err) == (0, "", "saved 5MB, 10 MB/s\n")
    assert ran.store.calls == [("save", (("a", "b"), Path("out.tar")), {"format": "oci-archive", "platform": None})]


def test_save_refuses_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    ran = invoke(capsys, "save", "a")
    assert (ran.code, ran.store.calls) == (1, [])
    assert "cowardly refusing to save to a terminal. Use the -o flag or redirect" in ran.err


def test_save_of_a_layout_needs_a_directory(capsys: Capture) -> None:
    assert invoke(capsys, "save", "--format", "oci-dir", "a").code == 125


def test_import(capsys: Capture) -> None:
    ran = invoke(capsys, "import", "-c", "CMD sh", "--change", "ENV A=1", "-m", "why", "root.tar", "app:1", import_image=ID)
    assert ran.out == ID + "\n"
    assert ran.store.calls == [("import_image", (Path("root.tar"), "app:1"),
                                {"changes": ("CMD sh", "ENV A=1"), "message": "why", "platform": None})]


def test_tag(capsys: Capture) -> None:
    ran = invoke(capsys, "tag", "a", "b:2", tag=None)
    assert (ran.code, ran.out, ran.store.calls) == (0, "", [("tag", ("a", "b:2"), {})])


def inspected(names: list[str]) -> list[dict[str, object]]:
    if names == ["nope"]:
        raise NotFound("No such image: nope")
    if names == ["BAD"]:
        raise InvalidReference("invalid reference format", "BAD")
    return [{"Id": ID, "RepoTags": names, "Config": {"Cmd": None, "Env": ["é=<&>"], "Labels": {"b": "2", "a": "1"}}}]


def test_inspect_is_indented_as_docker_does(capsys: Capture) -> None:
    ran = invoke(capsys, "inspect", "app", inspect=inspected)
    assert ran.out.startswith('[\n    {\n        "Id": "sha256:')
    assert '"é=<&>"' in ran.out
    assert json.loads(ran.out) == inspected(["app"])


def test_inspect_prints_the_rest_of_a_missing_one(capsys: Capture) -> None:
    ran = invoke(capsys, "inspect", "nope", "app", "BAD", inspect=inspected)
    assert (ran.code, len(json.loads(ran.out))) == (1, 1)
    assert ran.err == "lamina: error: No such image: nope\nlamina: error: invalid reference format, BAD\n"
    ran = invoke(capsys, "inspect", "nope", inspect=inspected)
    assert (ran.code, ran.out) == (1, "[]\n")
    assert invoke(capsys, "inspect", "-f", "{{.Id}}", "nope", inspect=inspected).out == "\n"


@pytest.mark.parametrize(("template", "out"), [
    ("{{.Id}}", ID), ("{{.Config.Cmd}} {{json .Config.Cmd}}", "[] null"), ("{{.Config.Labels.none}}", "<no value>"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"), ("{{.Variant}}{{json .Config.Healthcheck}}", "null"),
    ('{{index .Config.Labels "a"}}', "1"), ("{{json .RepoTags}}", '["app"]'),
    # what JSON leaves out can be asked for, and stays out
    ("{{json .Config.StopTimeout}}{{.Config.StopSignal}}", "null"),
    ("{{json .Config}}", '{"Cmd":null,"Env":["é=<&>"],"Labels":{"a":"1","b":"2"}}'),
])
def test_inspect_by_template(capsys: Capture, template: str, out: str) -> None:
    assert invoke(capsys, "inspect", "-f", template, "app", inspect=inspected).out == out + "\n"


def test_inspect_with_a_bad_template(capsys: Capture) -> None:
    ran = invoke(capsys, "inspect", "-f", "{{.Nope}}", "app", inspect=inspected)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("lamina: error: template parsing error: template: :1: can't evaluate field Nope")


def removed(*errors: Exception) -> SimpleNamespace:
    return SimpleNamespace(events=[("Untagged", "a:1"), ("Deleted", ID)], frame_bytes=5000, dead_bytes=70, errors=list(errors))


@pytest.mark.parametrize("words", [["rmi"], ["image", "rm"], ["image", "remove"]])
def test_rmi(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, "--no-prune", "a", "b", remove=removed())
    assert (ran.code, ran.out, ran.err) == (0, f"Untagged: a:1\nDeleted: {ID}\n", "")
    assert ran.store.calls == [("remove", (("a", "b"),), {"force": False, "prune": False, "dry_run": False})]


def test_rmi_dry_run(capsys: Capture) -> None:
    ran = invoke(capsys, "rmi", "--dry-run", "a", remove=removed())
    assert ran.err == "would free 5kB in frames that nothing would refer to any more; 70B would be dead in frames that stay\n"


def test_rmi_tells_all_errors(capsys: Capture) -> None:
    missing, used = NotFound("No such image: b"), Conflict("conflict", "c", "use -f")
    ran = invoke(capsys, "rmi", "a", "b", "c", remove=removed(missing, used))
    assert (ran.code, ran.err) == (1, "lamina: error: No such image: b\nlamina: error: conflict, c, use -f\n")
    assert invoke(capsys, "rmi", "-f", "a", "b", remove=removed(missing)).code == 0
    assert invoke(capsys, "rmi", "-f", "a", "b", remove=removed(missing, used)).code == 1


def test_prune(capsys: Capture) -> None:
    ran = invoke(capsys, "image", "prune", "-f", "-a", "--filter", "label=x", prune=removed())
    assert ran.out == f"Deleted Images:\nuntagged: a:1\ndeleted: {ID}\n\nTotal reclaimed space: 5kB\n"
    assert ran.store.calls == [("prune", (), {"all": True, "filters": ("label=x",)})]


@pytest.mark.parametrize(("typed", "asked"), [("y\n", 1), ("Y\n", 1), ("n\n", 0), ("", 0), ("yes\n", 0)])
def test_prune_asks(capsys: Capture, monkeypatch: pytest.MonkeyPatch, typed: str, asked: int) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    ran = invoke(capsys, "image", "prune", prune=removed())
    assert (ran.code, len(ran.store.calls)) == (0, asked)
    assert ran.out.startswith("WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ")


def collected(**changes: object) -> SimpleNamespace:
    fields = {"packs_removed": 3, "bytes_freed": 2_000_000, "bytes_copied": 1000, "unused_freed": 1_990_000, "pending": 0,
              "problems": []}
    return SimpleNamespace(**{**fields, **changes})


def test_gc(capsys: Capture) -> None:
    ran = invoke(capsys, "gc", gc=collected())
    assert ran.out == ("Total reclaimed space: 2MB (3 packs removed, 1kB of live frames copied)\n"
                       "1990000 bytes that nothing referred to\n")
    assert ran.store.calls == [("gc", (), {"max_unused": 0.05, "max_unused_bytes": None, "dry_run": False})]
    assert json.loads(invoke(capsys, "gc", "--format", "json", gc=collected()).out) == {
        "PacksRemoved": 3, "BytesFreed": 2_000_000, "BytesCopied": 1000, "UnusedFreed": 1_990_000}
    ran = invoke(capsys, "gc", "--dry-run", gc=collected())
    assert ran.out.startswith("Would free 1.99MB: 1990000 bytes that nothing refers to (3 packs removed, ")
    ran = invoke(capsys, "gc", gc=collected(problems=["a is damaged"]))
    assert (ran.code, ran.err) == (1, "lamina: warning: a is damaged\n")


@pytest.mark.parametrize(("text", "part", "count"), [("0", 0, 0), ("5%", 0.05, None), ("0.5 %", 0.005, None),
                                                     ("200MB", 0, 200_000_000), ("1.5kib", 0, 1536), ("12b", 0, 12)])
def test_gc_max_unused(capsys: Capture, text: str, part: float, count: int | None) -> None:
    ran = invoke(capsys, "gc", "--max-unused", text, gc=collected())
    assert ran.store.calls == [("gc", (), {"max_unused": part, "max_unused_bytes": count, "dry_run": False})]


@pytest.mark.parametrize("words", [("--max-unused", "much"), ("--max-size", "5%"), ("--max-size", "-1"),
                                   ("--max-unused", "1e9"), ("--max-size", "1GB", "--max-unused", "0")])
def test_gc_refuses(capsys: Capture, words: tuple[str, ...]) -> None:
    ran = invoke(capsys, "gc", *words)
    assert (ran.code, ran.store.calls) == (125, [])


def shrunk(**changes: object) -> SimpleNamespace:
    fields = {"events": [("Untagged", "a:1"), ("Deleted", ID)], "unused_freed": 1_990_000, "size": 900,
              "collected": collected()}
    return SimpleNamespace(**{**fields, **changes})


def test_gc_max_size(capsys: Capture) -> None:
    images = f"Untagged: a:1\nDeleted: {ID}\nTo be freed: 1.99MB (1990000 bytes)\n"
    ran = invoke(capsys, "gc", "--max-size", "2GB", "--dry-run", shrink=shrunk(collected=None))
    assert (ran.code, ran.out) == (0, images + "Packs then: 900B at most\n")
    assert ran.store.calls == [("shrink", (2_000_000_000,), {"dry_run": True})]
    ran = invoke(capsys, "gc", "--max-size", "1KiB", shrink=shrunk())
    assert (ran.code, ran.out[: len(images)], ran.out[-16:]) == (0, images, "Packs now: 900B\n")
    row = json.loads(invoke(capsys, "gc", "--max-size", "1KiB", "--format", "json", shrink=shrunk()).out)
    assert row == {"Events": [["Untagged", "a:1"], ["Deleted", ID]], "UnusedFreed": 1_990_000, "Size": 900, "PacksRemoved": 3,
                   "BytesFreed": 2_000_000, "BytesCopied": 1000}


def test_pin(capsys: Capture) -> None:
    ran = invoke(capsys, "pin", "a", "b", pin=["a:latest"])
    assert (ran.out, ran.store.calls) == ("a:latest\n", [("pin", (("a", "b"),), {})])
    ran = invoke(capsys, "unpin", "a", pin=["a:latest"])
    assert (ran.out, ran.store.calls) == ("a:latest\n", [("pin", (("a",),), {"pinned": False})])
    assert invoke(capsys, "unpin").code == 125
    ran = invoke(capsys, "pin", pinned=[summary("app", "1"), summary("app", "<none>", digest=DIGEST)])
    assert ran.out.splitlines()[1:] == [f"app:1{' ' * (len(DIGEST) - 1)}   0123456789ab", f"app@{DIGEST}   0123456789ab"]
    assert json.loads(invoke(capsys, "pin", "--format", "json", pinned=[summary("app", "1")]).out) == {
        "Name": "app:1", "ID": ID, "Digest": "<none>"}


def test_prune_dry_run(capsys: Capture) -> None:
    ran = invoke(capsys, "image", "prune", "--dry-run", prune=removed())
    assert ran.out == f"Untagged: a:1\nDeleted: {ID}\n" and ran.err.startswith("would free 5kB in frames")
    assert ran.store.calls == [("prune", (), {"all": False, "filters": (), "dry_run": True})]


def test_backup(capsys: Capture) -> None:
    done = SimpleNamespace(packs=9, bytes=9_000_000, packs_copied=2, bytes_copied=3_000_000, packs_removed=1,
                           bytes_removed=1000, seconds=1.5, whole=True, problems=[])
    ran = invoke(capsys, "backup", "-q", "somewhere", backup=done)
    assert ran.out == "2 packs (3MB) copied, 1 packs (1kB) removed, 9 packs (9MB) in all, 1.5 s, 2MB/s\n"
    assert (ran.code, ran.err, ran.store.calls) == (0, "", [("backup", ("somewhere",), {})])
    assert json.loads(invoke(capsys, "backup", "somewhere", "--format", "json", backup=done).out) == {
        "PacksCopied": 2, "BytesCopied": 3_000_000, "PacksRemoved": 1, "BytesRemoved": 1000, "Packs": 9, "Bytes": 9_000_000,
        "Whole": True, "Seconds": 1.5}
    done.problems, done.whole = ["record 3 is damaged"], False
    ran = invoke(capsys, "backup", "somewhere", backup=done)
    assert ran.code == 1
    assert ran.err == ("lamina: warning: record 3 is damaged\n"
                       "the copy stays at its last whole view: run lamina repair, then this again\n")


def optimized(**changes: object) -> SimpleNamespace:
    fields = {"before": 4_000_000, "after": 3_000_000, "dead": 1000, "packs": 2, "left": 0, "pending": 0, "seconds": 1.25,
              "problems": []}
    return SimpleNamespace(**{**fields, **changes})


def test_optimize(capsys: Capture) -> None:
    ran = invoke(capsys, "optimize", "-q", "--level", "19", "--budget", "1.5m", "--memory", "512", optimize=optimized())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "4MB before, 3MB after (75%), 1kB of dead chunks left behind, 2 packs in 1.2 s\n"
    assert ran.store.calls == [("optimize", (), {"level": 19, "budget": 90.0, "memory": 512})]
    ran = invoke(capsys, "optimize", "--format", "json", optimize=optimized(left=7))
    assert json.loads(ran.out) == {"Before": 4_000_000, "After": 3_000_000, "Dead": 1000, "Packs": 2, "Left": 7, "Pending": 0,
                                   "Seconds": 1.25}
    assert ran.store.calls == [("optimize", (), {"level": 9, "budget": None, "memory": 300})]


def test_optimize_tells_what_is_left_and_what_is_wrong(capsys: Capture) -> None:
    ran = invoke(capsys, "optimize", optimize=optimized(before=0, after=0, left=5000, pending=6000, problems=["pack\n1"]))
    assert ran.code == 1
    assert ran.out == "0B before, 0B after, 1kB of dead chunks left behind, 2 packs in 1.2 s\n"
    assert ran.err == ("5kB of packs are left to do: run it again\n"
                       "6kB more go from the disk when those who read now have ended\n"
                       "lamina: warning: pack\\n1\n")


@pytest.mark.parametrize("wrong", [("--budget", "10"), ("--budget", "m"), ("--budget", "-1s"), ("--level", "0"),
                                   ("--level", "23"), ("--memory", "1")])
def test_optimize_refuses(capsys: Capture, wrong: tuple[str, str]) -> None:
    ran = invoke(capsys, "optimize", *wrong, optimize=optimized())
    assert (ran.code, ran.store.calls) == (125, [])


def verified(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{"bytes_read": 0, "blobs": 0, "problems": [], "notes": (), "seed": None, **changes})


WHOLE = {"sample": None, "since": "", "seed": None, "resume": False, "stored": False, "rehash": False}


def test_verify(capsys: Capture) -> None:
    damage = SimpleNamespace(what="frame checksum", where="pack ab\n12", images=("a:1", "b:1"))
    ran = invoke(capsys, "verify", "a", verify=verified(bytes_read=4000, blobs=5, problems=[damage]))
    assert (ran.code, ran.out) == (1, "frame checksum, pack ab\\n12, affects a:1, b:1\n")
    assert ran.err == "read 4kB, 5 blobs, 1 problem\n"
    assert ran.store.calls == [("verify", (("a",),), WHOLE)]
    ran = invoke(capsys, "verify", "--format", "json", verify=verified(problems=[damage]))
    assert json.loads(ran.out) == {"What": "frame checksum", "Where": "pack ab\n12", "Images": ["a:1", "b:1"]}


def test_verify_of_a_sound_store(capsys: Capture) -> None:
    ran = invoke(capsys, "verify", verify=verified(bytes_read=4000, blobs=5))
    assert (ran.code, ran.out, ran.err) == (0, "", "read 4kB, 5 blobs, no problems\n")


def test_verify_of_a_part(capsys: Capture) -> None:
    ran = invoke(capsys, "verify", "--sample", "2.5%", "--seed", "7", "--since", "last", "-q",
                 verify=verified(seed=7, stored=5000, notes=("so",)))
    assert ran.store.calls == [("verify", ((),), WHOLE | {"sample": 0.025, "since": "last", "seed": 7})]
    assert (ran.code, ran.err) == (0, "so\nthe sample has 5kB of the packs; it was chosen with --seed 7\n"
                                      "read 0B, 0 blobs, no problems\n")
    ran = invoke(capsys, "verify", "--stored", verify=verified(stored=5000))
    assert (ran.code, ran.err) == (0, "read 5kB of packs, no problems\n")
    assert ran.store.calls == [("verify", ((),), WHOLE | {"stored": True})]
    for option in ("resume", "rehash"):
        assert invoke(capsys, "verify", f"--{option}", verify=verified()).store.calls[0][2][option] is True
    stopped = invoke(capsys, "verify", verify=KeyboardInterrupt())
    assert (stopped.code, stopped.err) == (130, "go on with lamina verify --resume\nlamina: interrupted\n")
    assert invoke(capsys, "verify", "a", verify=KeyboardInterrupt()).err == "lamina: interrupted\n"


@pytest.mark.parametrize("wrong", [("--sample", "5"), ("--sample", "0%"), ("--sample", "101%"), ("--sample", "x%"),
                                   ("--sample", "1%", "--seed", "-1")])
def test_verify_refuses(capsys: Capture, wrong: tuple[str, ...]) -> None:
    ran = invoke(capsys, "verify", *wrong, verify=verified())
    assert (ran.code, ran.store.calls) == (125, [])


def test_store_option(capsys: Capture) -> None:
    assert invoke(capsys, "--store", "/some/where", "images", images=[]).path == Path("/some/where")


def commands(group: dict[str, tuple[str, str, str, str]]) -> list[tuple[str, click.Command, str]]:
    lazy = LazyGroup("x")
    lazy.entries = group
    context = click.Context(cli)
    return [(name, command, entry[3]) for name, entry in group.items() if (command := lazy.get_command(context, name))]


@pytest.mark.parametrize("group", [COMMANDS, *GROUPS.values()])
def test_the_table_knows_which_options_take_a_value(group: dict[str, tuple[str, str, str, str]]) -> None:
    for name, command, values in commands(group):
        takes = [word for one in command.params if isinstance(one, click.Option) and not one.is_flag and one.nargs == 1
                 and one.name != "human" for word in one.opts]
        assert sorted(takes) == sorted(values.split()), name


def test_every_option_has_help() -> None:
    for group in (COMMANDS, *GROUPS.values()):
        for name, command, _ in commands(group):
            assert command.help, name
            assert all(one.help for one in command.params if isinstance(one, click.Option)), name


def test_help_lists_every_command_once_under_its_heading(capsys: Capture) -> None:
    lines = invoke(capsys, "--help").out.partition("\nImages:\n")[2].splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(listed) == sorted(COMMANDS)
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [heading for heading in ("Registries:", "Store:", "More:") if heading in headings]
    assert "Store:" in headings
    assert len({line.index(COMMANDS[name][1][:20]) for line, name in zip(
        [line for line in lines if line.startswith("  ") and line[2] != " "], listed, strict=True)}) == 1


def test_a_group_has_one_list(capsys: Capture) -> None:
    out = invoke(capsys, "image", "--help").out
    assert "\nCommands:\n  ls" in out
    assert "Images:" not in out


def test_lines_of_progress(capsys: Capture) -> None:
    lines = Lines()
    lines.start(DIGEST, DIGEST, 10)
    lines.start("x", "path/\x1b" + "y" * 50, None)
    lines.advance(DIGEST, 4_000_000)
    lines.done(DIGEST, "loaded")
    lines.done("x", "exists")
    lines.done("never begun", "saved")
    out = capsys.readouterr().err.splitlines()
    assert out[0].startswith("loaded fedcba987654 4MB in 0.")
    assert out[1:] == [f"exists path/\\x1b{'y' * 6}…{'y' * 16}", "saved never begun"]


def test_bars_take_everything_from_any_thread(capsys: Capture) -> None:
    with bars() as shown:
        for number in range(30):
            shown.start(str(number), f"sha256:{number:064}", None if number % 2 else 100)
            shown.advance(str(number), 100)
            shown.done(str(number), "loaded")
        shown.advance("unknown", 1)
        shown.done("unknown", "loaded")
    assert "loaded" in capsys.readouterr().err


def test_titles_of_items() -> None:
    assert title(DIGEST, "application/vnd.oci.image.layer.v1.tar") == "fedcba987654"
    assert title("some/file", "") == "some/file"
    assert title("1:2", "label") == "label"
    assert len(title("key", "x" * 100)) == 32
