"""Real Redis servers on free loopback ports, for tests: alone, with TLS, Sentinel, Cluster."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trustme

# OPTIMEM_REDIS_SERVER=valkey-server make test: the same tests on Valkey.
PROGRAM = os.environ.get("OPTIMEM_REDIS_SERVER", "redis-server")
_PATIENCE = 30.0  # seconds


@dataclass
class Server:
    """One redis-server or sentinel process; can be killed and started again."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_port())
    program: tuple[str, ...] = (PROGRAM,)
    tls: bool = False

    def start(self) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        port = ("--tls-port", str(self.port), "--port", "0") if self.tls else ()
        plain = () if self.tls else ("--port", str(self.port))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.program, *port, *plain, "--bind", "127.0.0.1", *self.options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._listens(), f"{self.program[0]} on port {self.port}")
        return self

    def kill(self) -> None:
        """As a power failure would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE)

    def ask(self, *words: str) -> str:
        """A command's reply, by redis-cli."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start servers; stop whatever of them is left."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.kill)
        yield


@contextlib.contextmanager
def standalone(folder: Path, *options: str) -> Iterator[Server]:
    """One server that keeps nothing on disk unless told to."""
    server = Server(folder, options or ("--save", ""))
    with running(server):
        yield server


@contextlib.contextmanager
def with_aof(folder: Path) -> Iterator[Server]:
    """One server that has written each change to disk before it answers."""
    with standalone(
        folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always"
    ) as server:
        yield server


@contextlib.contextmanager
def with_tls(folder: Path) -> Iterator[str]:
    """The URL of a server that speaks TLS alone."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    keys = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem")
    clients = ("--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no")
    server = Server(folder, (*keys, *clients, "--save", ""), tls=True)
    with running(server):
        yield f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={folder / 'ca.pem'}"


@contextlib.contextmanager
def sentinel(folder: Path, name: str = "set") -> Iterator[tuple[str, Server, Server]]:
    """A primary, its replica and three sentinels: the URL, the primary and a sentinel."""
    primary = Server(folder / "primary", ("--save", ""))
    follows = ("--save", "", "--replicaof", "127.0.0.1", str(primary.port))
    replica = Server(folder / "replica", follows)
    watchers = [_watcher(folder / f"sentinel{n}", primary, name) for n in range(3)]
    with running(primary, replica, *watchers):
        wait_until(lambda: "state=online" in primary.ask("INFO", "replication"), "the replica")
        knows = partial(_knows_all, name=name)
        wait_until(lambda: all(map(knows, watchers)), "the sentinels to find each other")
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        yield f"redis+sentinel://{hosts}/{name}/0", primary, watchers[0]


def _watcher(folder: Path, primary: Server, name: str) -> Server:
    folder.mkdir(parents=True)
    (folder / "sentinel.conf").write_text(
        f"sentinel monitor {name} 127.0.0.1 {primary.port} 2\n"
        f"sentinel down-after-milliseconds {name} 1000\n"
        f"sentinel failover-timeout {name} 5000\n"
    )
    return Server(folder, ("--sentinel",), program=(PROGRAM, "sentinel.conf"))


def _knows_all(watcher: Server, name: str) -> bool:
    words = watcher.ask("SENTINEL", "MASTER", name).split()
    facts = dict(zip(words[::2], words[1::2], strict=False))
    return facts.get("num-other-sentinels") == "2" and facts.get("num-slaves") == "1"


@contextlib.contextmanager
def cluster(folder: Path, missed_after: int = 30_000) -> Iterator[tuple[str, list[Server]]]:
    """Three primaries with a replica each: the URL, and the six servers.

    A replica takes over from a primary that was silent for `missed_after` milliseconds, be it
    only for want of a processor.
    """
    alone = ("--save", "", "--repl-diskless-sync-delay", "0")
    options = (*alone, "--cluster-enabled", "yes", "--cluster-node-timeout", str(missed_after))
    servers = [Server(folder / f"node{number}", options) for number in range(6)]
    with running(*servers):
        hosts = [f"127.0.0.1:{server.port}" for server in servers]
        join = ["redis-cli", "--cluster", "create", *hosts, "--cluster-replicas", "1"]
        subprocess.run([*join, "--cluster-yes"], check=True, capture_output=True)
        wait_until(lambda: all(map(_joined, servers)), "the cluster")
        yield f"redis+cluster://{','.join(hosts)}", servers


def _joined(server: Server) -> bool:
    info = server.ask("CLUSTER", "INFO")
    nodes = server.ask("CLUSTER", "NODES").splitlines()
    replicas = sum(" slave " in line or "myself,slave" in line for line in nodes)
    return (
        "cluster_state:ok" in info
        and "cluster_known_nodes:6" in info
        and replicas == 3
        and _has_its_copy(server)
    )


def _has_its_copy(server: Server) -> bool:
    """A replica that has nothing yet could not take over, or would with nothing."""
    info = server.ask("INFO", "replication")
    return "role:master" in info or "master_link_status:up" in info


def wait_until(holds: Callable[[], bool], what: str, patience: float = _PATIENCE) -> None:
    """Wait for something that takes a moment; an error names what never came."""
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {patience:.0f} seconds for {what}")
        time.sleep(0.05)


def free_port() -> int:
    """A port that is free, and the one 10,000 above it too, which a cluster's bus takes."""
    while True:
        port = random.SystemRandom().randrange(10_000, 22_000)  # below those of outgoing calls
        with socket.socket() as below, socket.socket() as above, contextlib.suppress(OSError):
            below.bind(("127.0.0.1", port))
            above.bind(("127.0.0.1", port + 10_000))
            return port
