"""The README's private registry, as it stands there; what asks for a password is given one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from interop.programs import run
from interop.registries import free_port

pytestmark = pytest.mark.interop

README = Path(__file__).parents[2] / "README.md"


def given(script: str, line: str, instead: str) -> str:
    """The script with one of its lines replaced, which must be there once."""
    assert script.count(line) == 1, line
    return script.replace(line, instead)


def test_a_private_registry_in_five_minutes(scratch: Path, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    script = given(script, "sudo apt-get install -y docker-registry apache2-utils openssl\n", "")
    script = given(script, "htpasswd -cB users alice ", "htpasswd -icB users alice <<< secret ")
    script = given(script, "lamina login -u alice localhost:5443 ",
                   "lamina login -u alice --password-stdin localhost:5443 <<< secret ")
    script = given(script, "tar -c -C / etc ", "tar -c -C /usr/share common-licenses ")
    host = f"localhost:{free_port()}"
    script = given(script, "docker-registry serve config.yml &\n",
                   "docker-registry serve config.yml 2> log &\ntrap 'kill $!' EXIT\n"
                   f"until curl -sko /dev/null https://{host}/v2/; do sleep 0.1; done\n").replace("localhost:5443", host)
    shim = tmp_path / "bin" / "lamina"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m lamina "$@"\n')
    shim.chmod(0o755)
    env = {"HOME": str(tmp_path), "PATH": f"{shim.parent}:{os.environ['PATH']}", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "",
           "DOCKER_CONFIG": "", "LAMINA_STORE": ""}
    done = run("bash", "-euo", "pipefail", "-c", script, env=env, cwd=tmp_path)
    said = done.stdout.decode()
    assert "Login Succeeded" in said
    assert re.search(r"^1: digest: sha256:[0-9a-f]{64} size: \d+$", said, re.MULTILINE)
    assert "Status: Downloaded newer image for localhost:" in said
