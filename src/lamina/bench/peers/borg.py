"""borg: a deduplicating backup of the archives' bytes."""

from __future__ import annotations

from lamina.bench.peers.base import Peer
from lamina.bench.process import Timing


class Borg(Peer):
    """Chunks of 2 MiB and lz4, as it does by itself; without encryption."""

    name, package, programs = "borg", "borgbackup", ("borg",)
    what_in, what_out = "create", "extract"

    def environment(self) -> dict[str, str]:
        return {"BORG_REPO": str(self.store), "BORG_BASE_DIR": str(self.folder),
                "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def load(self) -> Timing:
        self.call("borg", "init", "-e", "none")
        return self.call("borg", "create", "::bench", *(source.path.absolute() for source in self.sources))[0]

    def save(self) -> Timing:
        self.output.mkdir()
        return self.call("borg", "extract", "::bench", cwd=self.output)[0]
