"""The OCI layout in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts.target import TargetContract

from lamina.archive import OciLayout


class TestOciLayout(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> OciLayout:
        return OciLayout(tmp_path / "layout", create=True)
