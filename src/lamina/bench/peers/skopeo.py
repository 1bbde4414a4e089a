"""skopeo: copies blobs as they are, into a directory for each image."""

from __future__ import annotations

from lamina.bench.peers.base import Peer
from lamina.bench.process import Timing


class Skopeo(Peer):
    """Neither compresses nor shares; nothing of it is synced to disk when it ends."""

    name, package, programs = "skopeo", "skopeo", ("skopeo",)
    what_in, what_out = "copy … dir:", "copy dir: …"

    def load(self) -> Timing:
        self.store.mkdir()
        total = Timing(0, 0)
        for number, source in enumerate(self.sources):
            for image in range(source.images):
                at = f"{'oci' if source.format == 'oci' else 'docker-archive'}:{self.link(source, number)}"
                if source.format == "oci" and source.path.is_file():
                    at = f"oci-archive:{self.link(source, number)}"
                elif source.images > 1:
                    at += f":@{image}"
                total += self._copy(at, f"dir:{self.store}/{number}.{image}")
        return total

    def save(self) -> Timing:
        self.output.mkdir()
        total = Timing(0, 0)
        for copy in sorted(self.store.iterdir()):
            total += self._copy(f"dir:{copy}", f"docker-archive:{self.output}/{copy.name}:bench/image:{copy.name}")
        return total

    def _copy(self, source: str, target: str) -> Timing:
        return self.call("skopeo", "--insecure-policy", "copy", "-q", source, target)[0]
