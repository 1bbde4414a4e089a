"""The OCI conformance programme finds nothing that fails, and nothing to skip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from interop.conformance import ALL_ON, find_programme, run_conformance
from interop.registries import PASSWORD, USER, debian_registry
from interop.served import ServedRegistry

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session")
def programme() -> Path:
    found = find_programme()
    if found is None:
        pytest.skip("the program conformance (of the OCI distribution specification) is missing: "
                    "`.ci/conformance DIR` builds it, PATH or LAMINA_CONFORMANCE must lead to it")
    return found


# Each version with the options that are its own, then all that there are, whose checks are the same for every version.  The
# numbers are those of a registry without fault: fewer would mean that not everything was asked.
@pytest.mark.parametrize(("version", "options", "passed", "disabled"), [
    ("1.0", {}, 850, 8), ("1.1", {}, 860, 2), ("dev", {}, 986, 0), ("dev", ALL_ON, 1032, 0),
], ids=["1.0", "1.1", "dev", "all-on"])
def test_every_check_passes(served: ServedRegistry, programme: Path, tmp_path: Path, version: str, options: Mapping[str, str],
                            passed: int, disabled: int) -> None:
    report = run_conformance(programme, served.url, tmp_path / "results", version=version, options=options)
    assert (report.failed, report.skipped, report.errors) == (0, 0, 0), f"\n{report}"
    assert (report.passed, report.disabled) == (passed, disabled), f"\n{report}"


def test_what_another_registry_lacks_is_found(programme: Path, tmp_path: Path) -> None:
    """The control, over TLS and with a login: failures, skips and their reasons are seen."""
    few = {**ALL_ON, "OCI_DATA_IMAGE": "false", "OCI_DATA_SHA512": "false"}  # no filter: with one it writes no report
    with debian_registry(tmp_path / "registry", password=True, tls=True) as debian:
        report = run_conformance(programme, f"https://{debian.host}", tmp_path / "results", options=few,
                                 user=USER, password=PASSWORD, ca=debian.ca)
    said = str(report)
    assert (report.failed, report.skipped, report.disabled, report.errors) == (7, 3, 0, 0), said
    assert "failure: sha256 blobs/chunked out-of-order/blob-patch-chunked: blob out of order chunk: unexpected status" in said
    assert "skipped: sha256 blobs/post only/blob-post-only: registry does not support content in the POST" in said
