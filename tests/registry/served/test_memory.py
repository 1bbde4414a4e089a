"""The contents in memory, by which the server is tested, do what contents must."""

from __future__ import annotations

import pytest
from contracts.contents import ContentsContract

from registry.served.memory import Memory


class TestMemory(ContentsContract):
    @pytest.fixture
    def contents(self, memory: Memory) -> Memory:  # type: ignore[override]
        memory.sparse = True
        return memory
