"""`images`, `history` and `inspect` of many images at once, with parents, as the engine that made them prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interop.compare import same
from interop.daemons import Docker
from interop.programs import Lamina
from interop.samples import APP, COMMITTED, EMPTY, GONE, ODD, OTHER_NAMES, SAME, SAMPLES

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def store(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Lamina:
    """A store of all that the engine has."""
    lamina = Lamina(tmp_path_factory.mktemp("all") / "store")
    lamina.load(everything)
    return lamina


def test_every_image_is_there(engine: Docker, store: Lamina) -> None:
    assert len(engine.ids()) > 20
    assert sorted(set(store("images", "-aq", "--no-trunc").split())) == engine.ids()


# A row without its age: docker need not be asked again because the clock has moved on.
ROW = "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}} {{.CreatedAt}} {{.Size}}"
FLAGS = [(), ("-a",), ("-q",), ("-a", "-q"), ("--no-trunc",), ("--digests",),
         ("--digests", "--no-trunc", "-a"), ("--format", ROW)]
FILTERS = [
    ("dangling=true",), ("dangling=false",), ("label=lamina.kind",), ("label=lamina.kind=app",), ("label=lamina.empty",),
    ("label=lamina.kind=none",), ("label=lamina.kind", "label=lamina.empty="), (f"before={APP}",), (f"since={APP}",),
    (f"since={EMPTY}", f"before={COMMITTED}"), ("reference=lamina.test/app",), ("reference=lamina.test/*:1",),
    ("reference=*/team/app",), ("reference=lamina.test:5000/*/*:2",), ("reference=lamina.test/app:s*", f"reference={ODD}"),
    ("reference=nothing",), ("dangling=true", "label=lamina.kind=app"),
    ("label=lamina.kind=same", "reference=lamina.test/same"),
]
NAMES = ["lamina.test/app", APP, "lamina.test/*", "lamina.test:5000/team/app", "nothing", "lamina.test/app:nothing"]


@pytest.mark.parametrize("words", FLAGS, ids=" ".join)
def test_images(engine: Docker, store: Lamina, words: tuple[str, ...]) -> None:
    assert len(same(engine, store, "images", *words, order=False)) >= len(SAMPLES)


def test_newest_first(engine: Docker, store: Lamina) -> None:
    same(engine, store, "images", "-a", "--format", "{{.CreatedAt}}")


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
def test_created_in_local_time(engine: Docker, store: Lamina, zone: str) -> None:
    same(engine, store, "images", "--format", "{{.ID}} {{.Tag}} {{.CreatedAt}}", order=False, env={"TZ": zone})
    same(engine, store, "history", "--human=false", "--format", "{{.CreatedAt}}", EMPTY, env={"TZ": zone})


@pytest.mark.parametrize("filters", FILTERS, ids=" ".join)
def test_filters(engine: Docker, store: Lamina, filters: tuple[str, ...]) -> None:
    words = [word for text in filters for word in ("--filter", text)]
    for every in ((), ("-a",)):
        same(engine, store, "images", *every, "--format", ROW, *words, order=False)


@pytest.mark.parametrize("name", NAMES)
def test_names(engine: Docker, store: Lamina, name: str) -> None:
    same(engine, store, "images", name, order=False)


@pytest.mark.parametrize("words", [(), ("--no-trunc",)], ids=" ".join)
@pytest.mark.parametrize("name", SAMPLES)
def test_history_with_the_ids_of_ancestors(engine: Docker, store: Lamina, name: str, words: tuple[str, ...]) -> None:
    assert same(engine, store, "history", *words, name)


@pytest.mark.parametrize("name", [*SAMPLES, *OTHER_NAMES])
def test_inspect_with_the_parent(engine: Docker, store: Lamina, name: str) -> None:
    theirs, ours = (json.loads(command("inspect", name))[0] for command in (engine, store))
    for field in ("Id", "RepoTags", "RepoDigests", "Parent", "Created", "Config", "RootFS"):
        assert ours[field] == theirs[field], field


TEMPLATES = ["{{.Id}} {{.Os}}/{{.Architecture}}", "{{json .Config.Env}}", "{{json .RootFS}}", "{{index .RepoTags 0}}",
             '{{range .RootFS.Layers}}{{.}} {{end}}', '{{join .RepoTags ", "}}', "{{.Config.Labels}}",
             "{{json .ContainerConfig}}", "{{.Config.StopSignal}}", r"{{.Id}}\t{{.Author}}"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates(engine: Docker, store: Lamina, template: str) -> None:
    for name in (APP, GONE, SAME, COMMITTED):
        assert store("inspect", "-f", template, name) == engine("inspect", "-f", template, name)
