"""Registries that benchmarks talk to: `lamina serve` and Debian's docker-registry, what their processes use, and HTTP load."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import environment

_TICK = os.sysconf("SC_CLK_TCK")
_BUFFER = 1 << 20
ACCEPT = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Registry:
    """One that runs: `who` it is, where it listens, what it keeps its data in."""

    who: str
    port: int
    pid: int
    data: Path

    def processes(self) -> list[int]:
        """Its process and all below it."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                rest = path.read_text().rpartition(")")[2].split()
                parents.setdefault(int(rest[1]), []).append(int(path.parent.name))
        found = [self.pid]
        for each in found:
            found += parents.get(each, [])
        return found

    def cpu(self) -> float:
        """CPU seconds that the tree has used, children that have ended included."""
        total = 0
        for each in self.processes():
            with contextlib.suppress(OSError):
                rest = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, rest[11:15]))
        return total / _TICK

    def memory(self, *more: int) -> tuple[int, int]:
        """Bytes of the tree (and of the trees of `more`): shared pages by halves and thirds (PSS); of it what is no file."""
        return memory([*self.processes(), *more])

    def disk(self) -> int:
        """Bytes that its files take on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.data.rglob("*") if path.is_file())


def memory(processes: Sequence[int]) -> tuple[int, int]:
    """See `Registry.memory`."""
    whole = anonymous = 0
    for each in processes:
        with contextlib.suppress(OSError):
            rows = dict(line.split(":", 1) for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:])
            whole += int(rows["Pss"].split()[0]) << 10
            anonymous += (int(rows["Pss_Anon"].split()[0]) + int(rows["Pss_Shmem"].split()[0])) << 10
    return whole, anonymous


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(who: str, command: list[str], port: int, data: Path, log: Path) -> Iterator[Registry]:
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment())
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{who} does not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield Registry(who, port, process.pid, data)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:  # it waits for connections that stay open
            process.kill()
            process.wait()


@contextlib.contextmanager
def docker_registry(work: Path) -> Iterator[Registry]:
    """An empty one of Debian's, below `work`; deletion is switched on."""
    data, port = work / "docker-registry", _free_port()
    shutil.rmtree(data, ignore_errors=True)
    (work / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage:\n  filesystem: {{rootdirectory: {data}}}\n  delete: {{enabled: true}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n")
    with _running("docker-registry", ["docker-registry", "serve", f"{work}/registry.yml"], port, data,
                  work / "docker-registry.log") as found:
        yield found


@contextlib.contextmanager
def lamina_serve(work: Path, workers: int) -> Iterator[Registry]:
    """A server of ours over an empty store."""
    data, port = work / "store", _free_port()
    shutil.rmtree(data, ignore_errors=True)
    command = [sys.executable, "-m", "lamina", "--store", str(data), "serve", "--listen", f"127.0.0.1:{port}",
               "--workers", str(workers)]
    with _running("lamina serve", command, port, data, work / "serve.log") as found:
        while not (data / "state").exists():
            time.sleep(0.02)
        yield found


@dataclass
class Load:
    """What a number of clients got: requests, bytes of bodies, wall seconds; `own`: CPU seconds of the clients."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    own: float = 0.0
    server: float = 0.0  # CPU seconds of the registry


@dataclass
class _Client:
    """One connection, at one request at a time; `left` counts the bytes of a body that are still to come, -1 in the head."""

    socket: socket.socket
    requests: list[bytes]
    at: int
    left: int = -1
    head: bytes = field(default=b"")


def get(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {ACCEPT}\r\n\r\n".encode()


def load(registry: Registry, requests: list[bytes], clients: int, seconds: float) -> Load:
    """Let clients ask for all of these over and over, each beginning elsewhere, for so many seconds and until what is on its
    way then has come.  Every answer has to be 200.

    One thread and epoll: some 25 us a request.  Bodies are thrown away in the kernel (MSG_TRUNC), so that as little of the
    processor as can be goes to the clients: the caller has seen to it that they are right.
    """
    poll = select.epoll()
    all_of_them: dict[int, _Client] = {}
    for number in range(clients):
        one = socket.create_connection(("127.0.0.1", registry.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(one.fileno(), select.EPOLLIN)
        all_of_them[one.fileno()] = _Client(one, requests, number * len(requests) // clients)
    found, buffer = Load(), memoryview(bytearray(_BUFFER))
    began, own, server = time.perf_counter(), time.process_time(), registry.cpu()
    end = began + seconds
    for client in all_of_them.values():
        client.socket.sendall(requests[client.at])
    busy = clients
    while busy:
        for number, _ in poll.poll():
            client = all_of_them[number]
            if _step(client, buffer, found):
                client.left, client.at = -1, (client.at + 1) % len(requests)
                if time.perf_counter() < end:
                    client.socket.sendall(requests[client.at])
                else:
                    busy -= 1
                    poll.unregister(number)
                    client.socket.close()
    found.seconds, found.own = time.perf_counter() - began, time.process_time() - own
    found.server = registry.cpu() - server
    poll.close()
    return found


def _step(client: _Client, buffer: memoryview, found: Load) -> bool:
    """Take what has come; whether that was the end of an answer."""
    if client.left < 0:
        count = client.socket.recv_into(buffer, 4096)
        head, end, rest = (client.head + bytes(buffer[:count])).partition(b"\r\n\r\n")
        if not count:
            raise SystemExit("the registry has closed a connection")
        if not end:
            client.head = head
            return False
        client.head = b""
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the registry says {head[:200]!r}")
        client.left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(rest)
        found.bytes += len(rest)
    else:
        count = client.socket.recv_into(buffer, min(client.left, _BUFFER), socket.MSG_TRUNC)
        if not count:
            raise SystemExit("the registry has closed a connection in the middle of a body")
        client.left -= count
        found.bytes += count
    if client.left:
        return False
    found.requests += 1
    return True
