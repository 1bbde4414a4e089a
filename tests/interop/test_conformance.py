"""The OCI conformance programme finds nothing that fails, and nothing to skip."""

from __future__ import annotations

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


# All options on: then the checks are the same for every version, and those of each version by itself are among them.  The
# number is that of a registry without fault: fewer would mean that not everything was asked.
def test_every_check_passes(served: ServedRegistry, programme: Path, tmp_path: Path) -> None:
    report = run_conformance(programme, served.url, tmp_path / "results", version="dev", options=ALL_ON)
    assert (report.failed, report.skipped, report.errors) == (0, 0, 0), f"\n{report}"
    assert (report.passed, report.disabled) == (1032, 0), f"\n{report}"


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
