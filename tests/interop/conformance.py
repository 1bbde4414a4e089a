"""The OCI distribution conformance programme: run against a registry, and what it says of each check.

It is `conformance` of opencontainers/distribution-spec, as `.ci/conformance` builds it.  No list of checks is fixed:
what is asked follows from the options, and whatever fails or is not offered is tried in other ways, so that a registry with
faults may have more checks than one without.  The version (1.0, 1.1, dev) chooses nothing but the options that are not given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

# What no version, or not every version, turns on by itself.
ALL_ON: Mapping[str, str] = dict.fromkeys((
    "OCI_API_BLOBS_DIGEST_HEADER", "OCI_API_BLOBS_MOUNT_ANONYMOUS", "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_DIGEST_HEADER", "OCI_API_MANIFESTS_TAG_PARAM", "OCI_API_REFERRER", "OCI_DATA_SPARSE"), "true")

_ROOT = "OCI Conformance Test/"
_BY_OPTIONS = "is disabled in the configuration"
_DIGEST = re.compile(r"\b(sha(?:256|512):[0-9a-f]{8})[0-9a-f]{56,}\b")
_TIMEOUT = 300.0  # seconds; it takes 3 to 20


@dataclass(frozen=True, slots=True)
class Check:
    """One check that did not pass: a failure, an error, skipped (the registry has it not), or disabled (by the options)."""

    name: str
    status: str
    reason: str

    def __str__(self) -> str:
        return f"{self.status}: {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """How many checks there were, and each that did not pass; some count twice (a deletion, and that it is at once)."""

    passed: int
    failed: int
    skipped: int
    disabled: int
    errors: int
    others: tuple[Check, ...]

    @property
    def total(self) -> int:
        """All checks."""
        return self.passed + self.failed + self.skipped + self.disabled + self.errors

    def __str__(self) -> str:
        counted = Counter(map(str, self.others))
        said = [f"  {number} x {each}" if number > 1 else f"  {each}" for each, number in counted.items()]
        return "\n".join([f"{self.passed} of {self.total} checks passed, {self.failed} failed, {self.skipped} skipped, "
                          f"{self.disabled} disabled, {self.errors} errors", *said])


def find_programme() -> Path | None:
    """Where it is: LAMINA_CONFORMANCE, which must be right if it is set, or `conformance` on the PATH."""
    named = os.environ.get("LAMINA_CONFORMANCE")
    found = shutil.which(named or "conformance")
    if named and found is None:
        pytest.fail(f"LAMINA_CONFORMANCE is no program: {named}", pytrace=False)
    return Path(found).resolve() if found else None


def run_conformance(programme: Path, url: str, directory: Path, *, version: str = "dev", options: Mapping[str, str] = ALL_ON,
                    user: str = "", password: str = "", ca: Path | None = None) -> Report:
    """Run it against `url` (http[s]://host:port), trusting `ca`.

    `directory` is made: what was there would be taken for its configuration or its report.  It gets report.html, with every
    request and answer, and junit.xml.
    """
    where = urlsplit(url)
    # None of the caller's options: a filter would hide much.
    env = {name: value for name, value in os.environ.items() if not name.startswith("OCI_")}
    env |= {"OCI_REGISTRY": where.netloc, "OCI_TLS": "enabled" if where.scheme == "https" else "disabled",
            "OCI_VERSION": version, "OCI_USERNAME": user, "OCI_PASSWORD": password, "OCI_RESULTS_DIR": ".", **options}
    if ca is not None:
        env["SSL_CERT_FILE"] = os.fspath(ca)
    directory.mkdir()
    done = subprocess.run([programme], env=env, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=_TIMEOUT, check=False)
    junit = directory / "junit.xml"
    if not junit.exists():  # it exits with 0 even so
        pytest.fail(f"the conformance programme wrote no report: {done.stderr.decode(errors='replace')[-2000:]}", pytrace=False)
    report = _read(junit)
    # What is skipped it does not mind.
    assert (done.returncode == 0) == (not report.failed and not report.errors), f"exit {done.returncode}\n{report}"
    return report


def _read(junit: Path) -> Report:
    """Counts stand on the suite alone: its test cases are fewer."""
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    total, failed, errors, skipped, disabled = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped", "disabled"))
    others = tuple(_check(case) for case in suite.iter("testcase") if case.get("status") != "passed")
    return Report(total - failed - errors - skipped - disabled, failed, skipped, disabled, errors, others)


def _check(case: ElementTree.Element) -> Check:
    """Its reason on one line.  What the options disable is called skipped too, and says so in its output alone."""
    name, status, reason = case.get("name", ""), case.get("status", ""), case.findtext("system-out") or ""
    if not reason:
        reason = (case.findtext("system-err") or "").rpartition("skipping test:")[2]
        status = "disabled" if _BY_OPTIONS in reason else status
    reason = " / ".join(line.strip() for line in reason.strip().split("\n"))
    return Check(name.removeprefix(_ROOT), status, _DIGEST.sub(r"\1...", reason))
