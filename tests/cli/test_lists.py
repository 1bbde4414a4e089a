"""`images`, `history`, `tree`, `system df`, `info`: what they print, to the blank."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from cli.stub import DIGEST, ID, invoke, summary
from lamina.cli.units import ZERO_TIME, go_time

Capture = pytest.CaptureFixture[str]


def images() -> list[SimpleNamespace]:
    return [summary("team/application", "v1.0", digest=DIGEST), summary("b", "2", created=ZERO_TIME, size=0),
            summary("<none>", "<none>", names=(), size=999_600)]


@pytest.mark.parametrize("words", [["images"], ["image", "ls"], ["image", "list"]])
def test_images_table(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, images=images())
    assert ran.code == 0
    assert ran.out == (
        "REPOSITORY         TAG       IMAGE ID       CREATED       SIZE\n"
        "team/application   v1.0      0123456789ab   3 weeks ago   1.05GB\n"
        "b                  2         0123456789ab   N/A           0B\n"
        "<none>             <none>    0123456789ab   3 weeks ago   1e+03kB\n")
    assert ran.store.calls == [("images", (), {"all": False, "name": "", "filters": ()})]
    assert ran.store.closed


def test_images_passes_its_options_on(capsys: Capture) -> None:
    ran = invoke(capsys, "images", "-a", "-f", "dangling=true", "--filter", "label=x", "app:1", images=[])
    assert ran.store.calls == [("images", (), {"all": True, "name": "app:1", "filters": ("dangling=true", "label=x")})]
    assert ran.out == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"


def test_images_with_digests_and_whole_ids(capsys: Capture) -> None:
    ran = invoke(capsys, "images", "--digests", "--no-trunc", images=[summary("a", "1", digest=DIGEST, size=5)])
    assert ran.out == (
        "REPOSITORY   TAG       DIGEST" + " " * 68 + "IMAGE ID" + " " * 66 + "CREATED       SIZE\n"
        f"a            1         {DIGEST}   {ID}   3 weeks ago   5B\n")


def test_images_quiet(capsys: Capture) -> None:
    assert invoke(capsys, "images", "-q", images=images()).out == "0123456789ab\n" * 3
    assert invoke(capsys, "images", "-q", "--no-trunc", images=images()[:1]).out == ID + "\n"


@pytest.mark.parametrize(("form", "out"), [
    ("{{.Repository}}:{{.Tag}}", "a:1\n"),
    (r"{{.ID}}\t{{.Size}}\n", "0123456789ab\t1.05GB\n\n"),
    ("table {{.Repository}}\\t{{.Size}}", "REPOSITORY   SIZE\na            1.05GB\n"),
    ("table {{upper .Repository}}", "REPOSITORY\nA\n"),
])
def test_images_by_template(capsys: Capture, form: str, out: str) -> None:
    assert invoke(capsys, "images", "--format", form, images=[summary("a", "1")]).out == out


def test_images_template_table_gets_digests(capsys: Capture) -> None:
    ran = invoke(capsys, "images", "--digests", "--format", "table {{.Tag}}", images=[summary("a", "1", digest="d")])
    assert ran.out == "TAG       DIGEST\n1         d\n"


def test_images_as_json_lines_with_dockers_keys(capsys: Capture) -> None:
    shown = images()[::2]
    ran = invoke(capsys, "images", "--format", "json", images=shown)
    assert '"Digest":"\\u003cnone\\u003e"' in ran.out.splitlines()[1]
    assert json.loads(ran.out.splitlines()[0]) == {
        "Containers": "N/A", "CreatedAt": go_time(shown[0].created), "CreatedSince": "3 weeks ago", "Digest": DIGEST,
        "ID": "0123456789ab", "Repository": "team/application", "SharedSize": "N/A", "Size": "1.05GB", "Tag": "v1.0",
        "UniqueSize": "N/A", "VirtualSize": "1.049GB"}
    assert invoke(capsys, "images", "--format", "{{json .}}", images=shown).out == ran.out


def test_control_characters_become_escapes_in_tables(capsys: Capture) -> None:
    out = invoke(capsys, "images", images=[summary("a\x1b[2J\n", "1\u202e")]).out
    assert out.splitlines()[1].startswith(r"a\x1b[2J\n   1\u202e   0123")


def history() -> list[SimpleNamespace]:
    now = datetime.now(UTC)
    step = "/bin/sh -c #(nop)  CMD [\"python3\"]\tand much more behind it"
    return [
        SimpleNamespace(image_id=ID, created=now - timedelta(hours=3), created_by=step, size=0, comment="", tags=("a:1",)),
        SimpleNamespace(image_id="<missing>", created=now - timedelta(days=90), created_by="ADD file", size=80_400_000,
                        comment="imported", tags=()),
    ]


@pytest.mark.parametrize("words", [["history"], ["image", "history"]])
def test_history_table(capsys: Capture, words: list[str]) -> None:
    ran = invoke(capsys, *words, "app", history=history())
    assert ran.out == (
        "IMAGE          CREATED        CREATED BY                                      SIZE      COMMENT\n"
        "0123456789ab   3 hours ago    /bin/sh -c #(nop)  CMD [\"python3\"] and much …   0B        \n"
        "<missing>      3 months ago   ADD file                                        80.4MB    imported\n")
    assert ran.store.calls == [("history", ("app",), {})]


def test_history_exact(capsys: Capture) -> None:
    rows = history()
    rows[1].created = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    ran = invoke(capsys, "history", "--human=false", "--no-trunc", "app", history=rows[1:])
    assert ran.out.startswith("IMAGE       CREATED AT")
    assert "   ADD file     80400000   imported\n" in ran.out


def test_history_quiet_and_whole(capsys: Capture) -> None:
    assert invoke(capsys, "history", "-q", "app", history=history()).out == "0123456789ab\n<missing>\n"
    assert "and much more behind it" in invoke(capsys, "history", "--no-trunc", "app", history=history()).out


def test_history_counts_places_of_wide_characters(capsys: Capture) -> None:
    rows = history()[:1]
    rows[0].created_by = "語" * 30
    assert "語" * 22 + "…   " in invoke(capsys, "history", "app", history=rows).out


def node(name: str, *children: SimpleNamespace, parent: str = "") -> SimpleNamespace:
    return SimpleNamespace(summary=summary(name, "1", parent=parent), adds_layers=2, adds_bytes=1500, new_bytes=20,
                           children=list(children))


def test_tree(capsys: Capture) -> None:
    roots = [node("base", node("left", node("leaf")), node("right")), node("other")]
    assert invoke(capsys, "tree", tree=roots).out == (
        "IMAGE         IMAGE ID      LAYERS  BYTES  NEW BYTES\n"
        "base:1        0123456789ab      +2  1.5kB        20B\n"
        "├─ left:1     0123456789ab      +2  1.5kB        20B\n"
        "│  └─ leaf:1  0123456789ab      +2  1.5kB        20B\n"
        "└─ right:1    0123456789ab      +2  1.5kB        20B\n"
        "other:1       0123456789ab      +2  1.5kB        20B\n")


def test_tree_of_a_long_chain(capsys: Capture) -> None:
    top = node("n0")
    last = top
    for number in range(1, 3000):
        last.children = [node(f"n{number}")]
        last = last.children[0]
    assert invoke(capsys, "tree", tree=[top]).out.count("└─ ") == 2999


def test_tree_as_json(capsys: Capture) -> None:
    lines = invoke(capsys, "tree", "--format", "json", tree=[node("base", node("child", parent=ID))]).out.splitlines()
    assert json.loads(lines[1]) == {"ID": ID, "Names": ["child:1"], "ParentID": ID, "Layers": 2, "Bytes": 1500, "NewBytes": 20}


def usage() -> SimpleNamespace:
    total = SimpleNamespace(logical=4_000_000, layers=2_000_000, chunks=1_600_000, stored=800_000, dead=8_000)
    return SimpleNamespace(total=total, images=[SimpleNamespace(summary=summary("a", "1"), shared=1000, unique=2000)])


def test_system_df(capsys: Capture) -> None:
    assert invoke(capsys, "system", "df", df=usage()).out == (
        "TYPE      SIZE      RATIO     RECLAIMABLE\n"
        "Images    4MB       1.00x     -\n"
        "Layers    2MB       2.00x     -\n"
        "Chunks    1.6MB     2.50x     -\n"
        "Packs     800kB     5.00x     8kB (1%)\n")


def test_system_df_verbose(capsys: Capture) -> None:
    assert invoke(capsys, "system", "df", "-v", df=usage()).out.endswith(
        "\nImages space usage:\n\n"
        "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      SHARED SIZE   UNIQUE SIZE\n"
        "a            1         0123456789ab   3 weeks ago   1.049GB   1kB           2kB\n")


def test_system_df_as_json(capsys: Capture) -> None:
    lines = invoke(capsys, "system", "df", "--format", "json", df=usage()).out.splitlines()
    assert json.loads(lines[3]) == {"Type": "Packs", "Size": "800kB", "Bytes": 800_000, "Ratio": "5.00x",
                                    "Reclaimable": "8kB (1%)"}


def test_system_df_of_an_empty_store(capsys: Capture) -> None:
    empty = usage()
    empty.total = SimpleNamespace(logical=0, layers=0, chunks=0, stored=0, dead=0)
    assert "Packs     0B        -         0B\n" in invoke(capsys, "system", "df", df=empty).out


FACTS = {"path": "/s\x1b", "format": 1, "stored_bytes": 2_000_000, "ok": True,
         "cpu": {"features": ["avx2", "sha_ni"], "none": []}}


def test_info(capsys: Capture) -> None:
    assert invoke(capsys, "info", info=FACTS).out == (
        "Path: /s\\x1b\nFormat: 1\nStored: 2MB\nOk: true\nCPU:\n Features: avx2 sha_ni\n None: none\n")
    assert json.loads(invoke(capsys, "info", "--format", "json", info=FACTS).out) == FACTS
    assert invoke(capsys, "info", "-f", "{{.format}} {{.cpu.features}}", info=FACTS).out == "1 [avx2 sha_ni]\n"
