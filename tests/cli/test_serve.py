"""`lamina serve` says in one line what it lacks, before it listens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KEYS = '[auth.token]\nrealm = "https://auth.test/token"\nservice = "here"\nissuer = "auth.test"\nkeys = "keys"\n'


@pytest.mark.parametrize(("lacking", "configuration", "what"), [
    ("aiohttp", "", "a server needs the library aiohttp"),
    ("bcrypt", '[auth.htpasswd]\nfile = "users"\n', "logins by htpasswd need the library bcrypt"),
    ("jwt", KEYS, "tokens need the libraries PyJWT and cryptography"),
    ("cryptography", KEYS, "tokens need the libraries PyJWT and cryptography"),
])
def test_a_library_that_is_not_installed(tmp_path: Path, lacking: str, configuration: str, what: str) -> None:
    (tmp_path / "serve.toml").write_text(configuration)
    (tmp_path / "users").write_bytes(b"")
    (tmp_path / "keys").write_bytes(b"{}")
    words = ["--store", f"{tmp_path}/store", "serve", "--listen", "127.0.0.1:0", "--config", f"{tmp_path}/serve.toml"]
    code = f"import sys; sys.modules[{lacking!r}] = None; sys.argv[1:] = {words!r}; from lamina.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"lamina: error: {what}, install lamina[serve]\n"
