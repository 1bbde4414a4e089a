"""Other programs that keep images or files, each with a place of its own: what the user has with them is never touched."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.bench.peers.base import Peer
from lamina.bench.peers.borg import Borg
from lamina.bench.peers.docker import Docker
from lamina.bench.peers.podman import Podman
from lamina.bench.peers.restic import Restic
from lamina.bench.peers.skopeo import Skopeo
from lamina.errors import NotFound, UsageError

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Docker, Skopeo, Podman, Restic, Borg)}

__all__ = ["PEERS", "Peer", "parse_peers"]


def parse_peers(words: Sequence[str]) -> list[type[Peer]]:
    """From `docker,skopeo`, given once or several times.  `UsageError` for a stranger, `NotFound` for what is not installed."""
    names = dict.fromkeys(name.strip() for word in words for name in word.split(","))
    for name in names:
        if name not in PEERS:
            raise UsageError(f"cannot compare with {name!r}", hint=f"known are {', '.join(PEERS)}")
    chosen = [PEERS[name] for name in names]
    for peer in chosen:
        for program in peer.programs:
            if peer.find(program) is None:
                raise NotFound(f"{peer.name} is to be compared with, but {program} is not installed",
                               hint=f"install it (Debian: {peer.package}) or leave it out of --against")
    return chosen
