"""restic: a deduplicating backup of the archives' bytes."""

from __future__ import annotations

from lamina.bench.peers.base import Peer
from lamina.bench.process import Timing


class Restic(Peer):
    """Chunks, compression (auto) and encryption, which it cannot do without."""

    name, package, programs = "restic", "restic", ("restic",)
    what_in, what_out = "backup", "restore"

    def environment(self) -> dict[str, str]:
        return {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.store),
                "RESTIC_CACHE_DIR": str(self.folder / "cache")}

    def version(self) -> str:
        return self.call("restic", "version")[1].split()[1]

    def load(self) -> Timing:
        self.call("restic", "init", "-q")
        return self.call("restic", "backup", "-q", *(source.path.absolute() for source in self.sources))[0]

    def save(self) -> Timing:
        return self.call("restic", "restore", "-q", "latest", "--target", self.output)[0]
