"""MemoryTarget, by the contract of all targets."""

from __future__ import annotations

import pytest
from contracts.samples import put
from contracts.target import TargetContract

from lamina.content.memory import MemoryTarget


class TestMemoryTarget(TargetContract):
    @pytest.fixture
    def target(self) -> MemoryTarget:
        return MemoryTarget()


def test_name_and_digest_lead_to_the_digest() -> None:
    target = MemoryTarget()
    blob = put(target, b"x")
    assert target.resolve(f"some/name:tag@{blob.digest}") == blob
