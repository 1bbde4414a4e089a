"""What a process shares on its way to registries: connections, configuration, who we are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock
from typing import Self

from lamina.reference import Reference
from lamina.registry.auth import Authorizer, Keyring
from lamina.registry.client import Client
from lamina.registry.configuration import Endpoint, Registries
from lamina.registry.credentials import Credentials
from lamina.registry.http import Http
from lamina.registry.repository import Repository
from lamina.registry.target import RegistryTarget
from lamina.registry.timings import Timings
from lamina.registry.uploading import UploadJournal


class Network:
    """Registries by name.  Thread-safe; a context manager that ends the connections."""

    def __init__(self, registries: Registries, credentials: Credentials, timings: Timings | None = None) -> None:
        self.registries, self.credentials, self.timings = registries, credentials, timings or Timings()
        self.http = Http(registries, self.timings)
        self._lock = Lock()
        self._clients: dict[Endpoint, Client] = {}

    @classmethod
    def load(cls, env: Mapping[str, str] = os.environ, timings: Timings | None = None) -> Self:
        """As the user's configuration and credentials say (`configuration`, `credentials`)."""
        return cls(Registries.load(env), Credentials.load(env), timings)

    def target(self, reference: Reference, *, uploads: UploadJournal | None = None) -> RegistryTarget:
        """The repository that a reference names; its tag and digest are not looked at.  Nothing is asked yet.

        `uploads`: where the state of uploads outlives the process.
        """
        clients = [self._client(endpoint) for endpoint in self.registries.candidates(reference.domain)]
        return RegistryTarget(Repository(reference, clients, self.timings), uploads=uploads,
                              connections=self.registries.connections(reference.domain))

    def close(self) -> None:
        """End the connections; targets are of no use after it."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _client(self, endpoint: Endpoint) -> Client:
        """One for each endpoint: tokens and what was found out of its scheme are shared."""
        with self._lock:
            client = self._clients.get(endpoint)
            if client is None:
                keys: Keyring = self.credentials
                # A mirror is another party: it gets the credential that is stored for it, not the registry's.
                known_as = endpoint.host if endpoint.mirror else endpoint.domain
                authorizer = Authorizer(self.http, keys, known_as, endpoint.base, self.timings)
                client = self._clients[endpoint] = Client(self.http, endpoint, authorizer, self.timings)
            return client
