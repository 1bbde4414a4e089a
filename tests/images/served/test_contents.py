"""A store does what contents of a registry must."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contracts.contents import ContentsContract

from lamina.images.served.contents import StoreContents
from lamina.registry.server.contents import Contents


class TestStore(ContentsContract):
    @pytest.fixture
    def contents(self, served: StoreContents) -> Contents:
        return served

    @pytest.fixture
    def again(self, another: Callable[[], StoreContents]) -> Callable[[], Contents]:
        return another
