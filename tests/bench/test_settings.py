from __future__ import annotations

import pytest

from lamina.bench.peers import PEERS, Peer, parse_peers
from lamina.bench.settings import Setting, parse_sweep
from lamina.errors import NotFound, UsageError
from lamina.store.tuning import Tuning


def test_all_combinations_in_order_each_once() -> None:
    found = parse_sweep(["compression=none+zstd:3+none,chunk-size=16+64", "threads=1"])
    assert [str(one) for one in found] == [
        "none, 16 KiB, 1 thread", "none, 1 thread", "zstd:3, 16 KiB, 1 thread", "zstd:3, 1 thread"]
    assert parse_sweep([]) == []
    assert parse_sweep(["threads=2", "threads=3"]) == [Setting(threads=2), Setting(threads=3)]
    assert parse_sweep(["compression=zstd"]) == [Setting()]


@pytest.mark.parametrize(("words", "says"), [
    ("compression", "cannot read 'compression'"), ("compresion=none", "cannot read 'compresion=none'"), ("", "cannot read ''"),
    ("compression=none,zstd:1", "cannot read 'zstd:1'"), ("compression=", "unknown compression ''"),
    ("compression=zstd:20", "unknown compression 'zstd:20'"), ("chunk-size=48", "chunk size '48'"),
    ("chunk-size=8", "chunk size '8'"),
    ("chunk-size=2048", "chunk size '2048'"), ("chunk-size=64k", "chunk size '64k'"), ("chunk-size=+", "chunk size ''"),
    ("chunk-size=" + "9" * 5000, "chunk size"), ("threads=0", "'0' threads"), ("threads=65", "'65' threads"),
    ("threads=-1", "'-1' threads"), ("threads=²", "'²' threads"),
    ("threads=" + "+".join(map(str, range(1, 41))), "40 settings"),
])
def test_nonsense_is_refused(words: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sweep([words])
    assert says in str(caught.value)
    assert caught.value.hint


def test_chunks_fit_into_a_frame() -> None:
    assert Setting().tuning() == Tuning(0, 0, (16 << 10, 64 << 10, 256 << 10))
    assert Setting(chunk_size=1024, threads=3).tuning() == Tuning(3, 3, (256 << 10, 1 << 20, 1 << 20))


def test_an_engine_of_its_own_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert [name for name, peer in PEERS.items() if peer.impossible()] == ["docker"]
    assert PEERS["docker"].impossible() == "an engine of its own needs root"


def test_peers_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "find", classmethod(lambda cls, program: None if program == "restic" else f"/bin/{program}"))
    assert [peer.name for peer in parse_peers(["skopeo,borg", "skopeo"])] == ["skopeo", "borg"]
    with pytest.raises(UsageError, match="'rsync'"):
        parse_peers(["skopeo,rsync"])
    with pytest.raises(NotFound, match="restic is to be compared with, but restic is not installed"):
        parse_peers(["skopeo,restic"])
