"""`lamina bench` as a new user meets it: on a terminal, beside real programs, and its page in a real browser."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.daemons import Docker
from interop.programs import LAMINA, program
from interop.samples import APP, GONE

pytestmark = pytest.mark.interop

CHARTS = [f"chart-{name}" for name in ("stages-in", "stages-out", "times-in", "times-out", "scatter", "layers", "dedup")]
BROWSER = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
# Asks the browser what it has drawn: of each picture its size, its shapes, and those that stick out of it.
PROBE = """<script>
const found = {wide: document.documentElement.scrollWidth - window.innerWidth, charts: {}};
for (const svg of document.querySelectorAll("svg")) {
  const box = svg.getBoundingClientRect();
  const shapes = [...svg.querySelectorAll("rect, circle, line, text")].map(one => one.getBoundingClientRect());
  found.charts[svg.id] = {
    width: box.width, height: box.height, drawn: shapes.filter(one => one.width > 0).length,
    outside: shapes.filter(one => one.left < box.left - 3 || one.right > box.right + 3 || one.bottom > box.bottom + 3).length};
}
document.body.innerHTML = ""; document.body.textContent = "found" + JSON.stringify(found) + "end";
</script>"""


@pytest.fixture(scope="module")
def browse() -> Iterator[Callable[..., tuple[str, str]]]:
    """Open a page in a browser of its own; the document as it is then, and what the browser logged."""
    with tempfile.TemporaryDirectory() as home:
        def open_page(path: Path, *options: str) -> tuple[str, str]:
            command = [program(BROWSER[0]), *BROWSER[1:], f"--user-data-dir={home}", *options, "--dump-dom", path.as_uri()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            return done.stdout, done.stderr
        yield open_page


def on_a_terminal(command: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Run it on a terminal of its own; its exit status and all that it showed."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **env}) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # the other side has gone
                break
        os.close(master)
        return process.wait(60), shown.decode()


@pytest.fixture(scope="module")
def benched(saved: Callable[..., Path], engine: Docker, scratch: Path) -> tuple[str, Path, list[str], list[str]]:
    """What a bench beside skopeo and docker showed, its page, and the ids of the user's own engine before and after."""
    page, work = scratch / "report.html", scratch / "bench"
    work.mkdir()
    before = engine.ids()
    status, shown = on_a_terminal(
        [*LAMINA, "bench", "--runs", "2", "--against", "skopeo,docker", "--sweep", "compression=none", "--work", str(work),
         "--report", str(page), str(saved(APP)), str(saved(GONE))],
        {"DOCKER_HOST": engine.env["DOCKER_HOST"], "LAMINA_STORE": str(scratch / "nobody"), "TERM": "xterm", "COLUMNS": "120"})
    assert status == 0, shown
    assert list(work.iterdir()) == []
    assert not (scratch / "nobody").exists()
    return shown, page, before, engine.ids()


def test_tables_on_a_terminal(benched: tuple[str, Path, list[str], list[str]]) -> None:
    shown, _, before, after = benched
    assert before == after  # the user's engine was at hand, and left alone
    table = shown[shown.rindex("\x1b[K") + 3:].replace("\r\n", "\n")
    assert "\x1b" not in table
    for name in ("run 1 of 2: lamina zstd:1, in", "run 2 of 2: docker, save"):
        assert name in shown
    assert re.search(r"^hash +[\d.]+ +[\d.]+ +[\d.]+[kM]B +[\d.]+ +\d+%", table, re.MULTILINE)
    for who, what in (("lamina none", "in"), (r"skopeo \S+", "copy … dir:"), (r"docker \S+", "load"), (r"docker \S+", "save")):
        assert re.search(rf"^{who} +{what} +\d+\.\d\d +\d+\.\d\d–\d+\.\d\d +\d+ MB/s", table, re.MULTILINE), (who, table)
    assert APP in table and GONE in table


def test_the_page_in_a_browser(benched: tuple[str, Path, list[str], list[str]], browse: Callable[..., tuple[str, str]]) -> None:
    page = benched[1]
    document, log = browse(page)
    assert "CONSOLE" not in log
    assert all(f'id="{name}"' in document for name in CHARTS)


@pytest.mark.parametrize("size", ["1200,1600", "500,900"])
def test_every_picture_is_drawn(benched: tuple[str, Path, list[str], list[str]], browse: Callable[..., tuple[str, str]],
                                tmp_path: Path, size: str) -> None:
    text = benched[1].read_text()
    probed = tmp_path / "probed.html"
    # The page allows no script, which is as it should be: the probe goes into a copy without that.
    probed.write_text(re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", PROBE + "</body>"))
    found = json.loads(re.search(r"found({.*})end", browse(probed, f"--window-size={size}")[0])[1])  # type: ignore[index]
    assert found["wide"] <= 0, "the page is wider than the window"
    assert sorted(found["charts"]) == sorted(CHARTS)
    for name, chart in found["charts"].items():
        assert chart["width"] > 200 and chart["height"] > 30 and chart["drawn"] >= 4 and chart["outside"] == 0, (name, chart)


def test_the_browser_tells_of_errors(browse: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    """Else their absence would mean nothing: the page's own policy refuses a script, and says so."""
    broken = tmp_path / "broken.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    broken.write_text(f"<!DOCTYPE html>{policy}<script>1</script>")
    assert "CONSOLE" in browse(broken)[1]
