"""The configuration as the HTTP part asks for it: who may do what, how often, how much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.images.served.names import one_name
from lamina.images.served.proxied.routes import Routes
from lamina.registry.server.access.basic import user_of
from lamina.registry.server.access.limits import Throttle, Uploads
from lamina.registry.server.refusal import Refusal
from lamina.registry.server.settings import Limits, Settings

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from lamina.registry.server import configured
    from lamina.registry.server.access.grants import Grant
    from lamina.registry.server.access.live import Live


def rule_names(settings: configured.Settings) -> Callable[[str], str]:
    """The name that rules are about: the catalog's, or of what comes from elsewhere the full one."""
    routes = Routes(settings.proxies)

    def name(repository: str) -> str:
        with suppress(Refusal):
            place = routes.find(repository)
            if place is not None and place.route.shared:
                return place.name
        return one_name(repository)

    return name


class Gate:
    """An `admission.Access` over what the configuration says now."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._limits: configured.Limits | None = None
        self._counters(live.settings)

    def _counters(self, settings: configured.Settings) -> None:
        """New ones when their limits have changed."""
        if settings.limits != self._limits:
            self._limits = settings.limits
            self._throttle, self._uploads = Throttle(settings.limits, time.monotonic), Uploads(settings.limits)

    def settings(self) -> Settings:
        """For the HTTP part, as they are now."""
        now = self._live.settings
        self._counters(now)
        limits = Limits(manifest=now.limits.max_manifest)
        if now.limits.max_blob:
            limits = replace(limits, blob=now.limits.max_blob)
        allowed = {"blob": now.delete.blobs, "manifest": now.delete.manifests, "tag": now.delete.tags}
        return Settings(limits, deletes=frozenset(what for what, may in allowed.items() if may))

    def admit(self, headers: Mapping[str, str], repository: str | None, action: str, /,
              also: Sequence[tuple[str, str]] = ()) -> Grant:
        """Let a request through, or refuse it."""
        grant = self._live.admit(headers, repository, action, also)
        self._throttle.user(grant.user)
        return grant

    def before(self, request: BaseRequest) -> None:
        """Before anything is done for an address."""
        if request.remote:
            self._throttle.address(request.remote)

    @contextmanager
    def holding(self, request: BaseRequest) -> Iterator[None]:
        """While a body comes in.  Who has not proved a name yet may only use up what that name has."""
        with self._uploads.hold(user_of(request.headers) or request.remote or ""):
            yield
