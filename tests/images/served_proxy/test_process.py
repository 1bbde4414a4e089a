"""`lamina serve --proxy` as a process, and how it is told."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from registry.fake import Fake

from images.served_proxy.kit import PATIENT, publish, small
from lamina.cli.commands.serve import command
from lamina.errors import InvalidContent
from lamina.images.served.serving import Served
from lamina.registry.server.access import configuration
from lamina.registry.server.access.values import proxy
from lamina.store import BlobStore


def test_a_process(fake: Fake, tmp_path: Path) -> None:
    one = small()
    publish(fake, "team/app", one, "1")
    with BlobStore.open(tmp_path / "store"):
        pass
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lamina", "--store", str(tmp_path / "store"), "serve", "--listen", "127.0.0.1:0",
         "--workers", "2", "--proxy", f"hub.test={fake.base}"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while not (found := re.search(r"serving http://127.0.0.1:(\d+)", said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENT)
        connection.request("GET", "/v2/hub.test/team/app/manifests/1")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, one.manifest)
        connection.close()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENT)
        assert process.returncode == 0, said + rest
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    with BlobStore.open(tmp_path / "store") as store:
        assert store.catalog.ref("hub.test/team/app:1") is not None


def test_the_command_line_stands_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text('[proxy]\n"a.test" = "https://a.test"\n"b.test" = "https://b.test"\n"" = "https://c.test"')
    options = Served("store", str(tmp_path / "serve.toml"), proxies=(("b.test", "https://other.test"),))
    assert Served.decode(options.encode()) == options
    assert dict(options.live(print).settings.proxies) == {
        "a.test": "https://a.test", "b.test": "https://other.test", "": "https://c.test"}


@pytest.mark.parametrize("word", ["docker.io", "=", "Docker.IO=https://x", "a/b=https://x", "a=ftp://x", "a=https://x/v2", "..=https://x"])
def test_what_is_no_proxy(word: str, tmp_path: Path) -> None:
    name, _, base = word.partition("=")
    assert proxy(name, base) is None
    result = CliRunner().invoke(command, ["--proxy", word], obj=None)
    assert result.exit_code != 0
    if "=" in word:
        with pytest.raises(InvalidContent, match="proxy"):
            configuration.parse(f'[proxy]\n"{name}" = "{base}"'.encode(), tmp_path)


def test_docker_io_is_told_once(tmp_path: Path) -> None:
    text = '[proxy]\n"" = "https://one.test"\n"docker.io" = "https://{}.test"'
    assert configuration.parse(text.format("one").encode(), tmp_path).proxies
    with pytest.raises(InvalidContent, match="same repositories"):
        configuration.parse(text.format("two").encode(), tmp_path)
