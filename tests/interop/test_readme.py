"""The README's registries, as they stand there; what asks for a password is given one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from interop.daemons import Docker
from interop.programs import run
from interop.registries import free_port

pytestmark = pytest.mark.interop

README = Path(__file__).parents[2] / "README.md"


def given(script: str, line: str, instead: str) -> str:
    """The script with one of its lines replaced, which must be there once."""
    assert script.count(line) == 1, line
    return script.replace(line, instead)


def script_below(heading: str) -> str:
    """The one script between a heading and the next."""
    chapter = README.read_text().split(f"\n{heading}\n")[1].split("\n#")[0]
    (script,) = re.findall(r"^```bash\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    return str(script)


def follow(script: str, home: Path, **environ: str) -> str:
    """What it prints, run by bash as a user whose home is empty."""
    shim = home / "bin" / "lamina"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m lamina "$@"\n')
    shim.chmod(0o755)
    env = {"HOME": str(home), "PATH": f"{shim.parent}:{os.environ['PATH']}", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "",
           "DOCKER_CONFIG": "", "LAMINA_STORE": "", **environ}
    return run("bash", "-euo", "pipefail", "-c", script, env=env, cwd=home).stdout.decode()


def test_a_private_registry_in_five_minutes(scratch: Path, tmp_path: Path) -> None:
    script = script_below("### A private registry in five minutes")
    script = given(script, "sudo apt-get install -y docker-registry apache2-utils openssl\n", "")
    script = given(script, "htpasswd -cB users alice ", "htpasswd -icB users alice <<< secret ")
    script = given(script, "lamina login -u alice localhost:5443 ",
                   "lamina login -u alice --password-stdin localhost:5443 <<< secret ")
    script = given(script, "tar -c -C / etc ", "tar -c -C /usr/share common-licenses ")
    host = f"localhost:{free_port()}"
    script = given(script, "docker-registry serve config.yml &\n",
                   "docker-registry serve config.yml 2> log &\ntrap 'kill $!' EXIT\n"
                   f"until curl -sko /dev/null https://{host}/v2/; do sleep 0.1; done\n").replace("localhost:5443", host)
    said = follow(script, tmp_path)
    assert "Login Succeeded" in said
    assert re.search(r"^1: digest: sha256:[0-9a-f]{64} size: \d+$", said, re.MULTILINE)
    assert "Status: Downloaded newer image for localhost:" in said


def test_run_a_registry(scratch: Path, fresh_engine: Docker, tmp_path: Path) -> None:
    script = script_below("## Run a registry")
    script = given(script, "sudo apt-get install -y apache2-utils openssl\n", "")
    script = re.sub(r"^pip install .*\n", "", script, count=1, flags=re.MULTILINE)
    script = given(script, "htpasswd -cB -C 10 users alice ", "htpasswd -icB -C 10 users alice <<< secret ")
    script = given(script, "docker login -u alice localhost:5443 ",
                   "docker login -u alice --password-stdin localhost:5443 <<< secret ")
    script = given(script, "curl --cacert cert.pem -u alice ", "curl --cacert cert.pem -u alice:secret ")
    script = given(script, "tar -c -C / etc ", "tar -c -C /usr/share common-licenses ")
    host = f"localhost:{free_port()}"
    script = given(script, "lamina serve --config serve.toml & ",
                   "lamina serve --config serve.toml 2> log &\nserver=$!; trap 'kill $server; wait $server; cat log >&2' EXIT\n"
                   "until grep -q ^serving log; do kill -0 $server; sleep 0.1; done #").replace("localhost:5443", host)
    fresh_engine.clear()
    try:
        said = follow(script, tmp_path, **{**fresh_engine.env, "DOCKER_CONFIG": str(tmp_path / "docker")})
        assert "Login Succeeded" in said
        assert "Status: Downloaded newer image for localhost:" in said
        pushed = re.search(r"^2: digest: (sha256:[0-9a-f]{64}) size: \d+$", said, re.MULTILINE)
        assert pushed is not None
        rows = [line.split()[:3] for line in said.splitlines() if line.startswith("team/app ")]
        assert sorted(row[:2] for row in rows) == [["team/app", "1"], ["team/app", "2"]]
        assert {row[2] for row in rows} == {fresh_engine.id(f"{host}/team/app:2")[7:19]}
        assert re.search(r"^lamina_requests_total\{.*route=\"manifest\".*\} [1-9]", said, re.MULTILINE)
    finally:
        fresh_engine.clear()
