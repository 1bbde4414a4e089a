"""A registry by the contract of all targets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contracts.target import TargetContract

from lamina.registry.target import RegistryTarget
from registry.fake import Fake
from registry.guard import Guard
from registry.kit import NAME, Journal, Keys, target_of

TAGS = (f"{NAME.name}:1", f"{NAME.name}:latest")


class TestRegistryTarget(TargetContract):
    names = TAGS

    @pytest.fixture
    def target(self) -> Iterator[RegistryTarget]:
        with Fake() as fake, target_of(fake) as target:
            yield target


class TestStrictRegistry(TargetContract):
    """One that wants blobs before manifests, asks for tokens, hands out three tags a page and small pieces."""

    names = TAGS
    manifest_before_blobs = False

    @pytest.fixture
    def target(self) -> Iterator[RegistryTarget]:
        with Fake(Guard("token", private=True)) as fake:
            fake.strict = fake.stateful = True
            fake.relative, fake.page = False, 1
            with target_of(fake, keys=Keys("user", "secret"), uploads=Journal()) as target:
                yield target


class TestSmallPieces(TargetContract):
    """Blobs of the contract in several pieces."""

    names = TAGS

    @pytest.fixture
    def target(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryTarget]:
        monkeypatch.setattr("lamina.registry.pushing.PIECE", 10_000)
        with Fake() as fake:
            fake.stateful, fake.chunk_min = True, 20_000
            with target_of(fake, uploads=Journal()) as target:
                yield target
