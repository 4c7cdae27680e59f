"""Where a Redis store is: its URL, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from optimem.errors import StoreError
from optimem.stores.redis_commands import PATIENCE, Life, Replicas

_KINDS = {
    "redis": "single",
    "rediss": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_OURS = ("ttl", "ttl_refresh", "blob_ttl", "prefix", "wait", "wait_ms", "patience")
_RETRIES = 5  # some three seconds, from a tenth of a second each time longer


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis URL.

    Attributes:
        kind: "single", "sentinel" or "cluster".
        nodes: host and port of each server that the URL names.
        service: what Sentinel calls the set of servers.
        plain: a URL of the first node that redis-py can read.
        shown: the URL without its password.
        prefix: what every key begins with.
        life: how long sessions and blobs live.
        replicas: which must have an append before it counts as done.
        patience: seconds to wait while a cluster moves a slot or finds another primary.
    """

    kind: str
    nodes: tuple[tuple[str, int], ...]
    service: str
    plain: str
    shown: str
    prefix: str
    life: Life
    replicas: Replicas
    patience: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL; raises StoreError with what is wrong about it."""
        try:
            return cls._parse(urlsplit(url))
        except ValueError as error:
            raise StoreError(f"cannot read this Redis URL: {error}") from None

    @classmethod
    def _parse(cls, parts: SplitResult) -> Address:
        if parts.scheme not in _KINDS:
            raise ValueError(f"use one of {', '.join(f'{kind}://' for kind in _KINDS)}")
        kind = _KINDS[parts.scheme]
        user, _, hosts = parts.netloc.rpartition("@")
        nodes = tuple(_node(host) for host in hosts.split(","))
        service, path = "", parts.path
        if kind == "sentinel":
            service, _, path = parts.path.removeprefix("/").partition("/")
            if not service:
                raise ValueError("name the service: redis+sentinel://host:26379/service")
        options = parse_qsl(parts.query, keep_blank_values=True)
        ours = dict(pair for pair in options if pair[0] in _OURS)
        rest = urlencode([pair for pair in options if pair[0] not in _OURS])
        host, port = nodes[0]
        place = f"{user}@{host}:{port}" if user else f"{host}:{port}"
        scheme = parts.scheme.partition("+")[0]
        return cls(
            kind=kind,
            nodes=nodes,
            service=service,
            plain=urlunsplit((scheme, place, path, rest, "")),
            shown=f"{parts.scheme}://{hosts}{parts.path}",
            prefix=ours.get("prefix", "optimem"),
            replicas=Replicas(
                _whole(ours, "wait") or 0, _whole(ours, "wait_ms") or Replicas().milliseconds
            ),
            patience=_whole(ours, "patience") or PATIENCE,
            life=Life(_whole(ours, "ttl"), _refreshed(ours), _whole(ours, "blob_ttl")),
        )

    def connect(self, library: Any) -> Any:
        """A client of `redis` or `redis.asyncio`; it connects when it is first used.

        Raises:
            StoreError: an option has a value that redis-py does not take, or no node of a
                cluster answers.
        """
        from redis.backoff import ExponentialBackoff
        from redis.exceptions import RedisClusterException

        from optimem.stores.redis_patience import REDIRECTIONS

        retry = library.retry.Retry(ExponentialBackoff(cap=1.0, base=0.1), _RETRIES)
        try:
            if self.kind == "single":
                return library.Redis.from_url(self.plain, retry=retry)
            options = library.connection.parse_url(self.plain)
            secure = "connection_class" in options
            for name in ("host", "port", "connection_class"):
                options.pop(name, None)
            if secure:
                options["ssl"] = True
            if self.kind == "sentinel":
                watched = library.sentinel.Sentinel(list(self.nodes), socket_timeout=1.0)
                return watched.master_for(self.service, retry=retry, **options)
            nodes = [library.cluster.ClusterNode(*node) for node in self.nodes]
            cluster = library.cluster.RedisCluster(startup_nodes=nodes, retry=retry, **options)
            cluster.RedisClusterRequestTTL = REDIRECTIONS
            return cluster
        except (ValueError, TypeError) as error:
            raise StoreError(f"cannot use {self.shown}: {error}") from None
        except RedisClusterException as error:
            raise StoreError(f"{self.shown} does not answer as it should: {error}") from None


def _node(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "localhost", parts.port or 6379


def _refreshed(options: dict[str, str]) -> bool:
    word = options.get("ttl_refresh", "append")
    if word not in ("append", "never"):
        raise ValueError("ttl_refresh is append or never")
    return word == "append"


def _whole(options: dict[str, str], name: str) -> int | None:
    if name not in options:
        return None
    if not options[name].isdecimal() or not int(options[name]):
        raise ValueError(f"{name} is a whole number above 0")
    return int(options[name])
