"""What both Redis stores have: a client of redis-py, how it is spoken to, what its errors mean."""

from __future__ import annotations

from typing import Any, TypeGuard

from redis.exceptions import RedisClusterException, RedisError

from optimem.errors import StoreError
from optimem.stores.cipher import Ciphers, plain
from optimem.stores.redis_commands import PATIENCE, Call, Command, Everywhere, Life, Replicas
from optimem.stores.redis_patience import Patience, in_cluster
from optimem.stores.redis_steps import RedisSteps
from optimem.stores.redis_url import Address

ERRORS = (RedisError, RedisClusterException)
"""What redis-py raises."""


class Connected:
    """What both stores have: a client, whether it is theirs, and the steps to run on it."""

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "optimem",
        life: Life | None = None,
        url: str = "",
        ciphers: Ciphers = plain,
        replicas: Replicas | None = None,
        patience: int = PATIENCE,
    ) -> None:
        """Use a client of redis-py, which stays open when the store is closed.

        Raises:
            StoreError: the client decodes its replies, so that bytes would be lost.
        """
        if _decodes(client):
            raise StoreError("this Redis client decodes replies: make one without decode_responses")
        self.url = url or "a Redis client"
        self.steps = RedisSteps(prefix, life, ciphers)
        self._replicas = replicas or Replicas()
        self._patience = patience
        self._client = client
        self._owns_client = False
        self._closed = False

    def _open_client(self) -> Any:
        if self._closed:
            raise StoreError(f"{self.url} is closed: open the store again")
        return self._client

    def _begin(self, client: Any) -> Patience:
        return Patience(self._patience if in_cluster(client) else 0)

    def _waits(self, command: Command) -> TypeGuard[Call]:
        if not self._replicas.count or not isinstance(command, Call):
            return False
        return command.script.acknowledges

    def _refused(self, error: Exception) -> StoreError:
        reason = str(error)
        if reason.startswith("LATER"):
            return StoreError(
                f"{self.url} was written by a later version of optimem: pip install -U optimem"
            )
        if reason.startswith("LOST"):
            return StoreError(
                f"{self.url} has lost a part of this session, by eviction it seems: set"
                " maxmemory-policy to noeviction or volatile-lru, and forget the session"
            )
        return StoreError(f"{self.url} does not answer as it should: {reason}")


def opened(address: Address, library: Any, ciphers: Ciphers) -> dict[str, Any]:
    """What a store is made with that a URL describes; the library is redis or redis.asyncio."""
    return {
        "client": address.connect(library),
        "prefix": address.prefix,
        "life": address.life,
        "url": address.shown,
        "replicas": address.replicas,
        "patience": address.patience,
        "ciphers": ciphers,
    }


def pipelined(client: Any) -> Any:
    """A pipeline of a client's."""
    pipeline = client.pipeline(transaction=False)
    if in_cluster(client):  # what is set on a client does not reach its pipelines
        pipeline.RedisClusterRequestTTL = client.RedisClusterRequestTTL
    return pipeline


def on_the_wire(command: Command, whole: bool = False) -> tuple[Any, ...]:
    """A command as it is sent; a script by its name, or whole when the server lacks it."""
    if isinstance(command, Everywhere):
        return command.words
    if not isinstance(command, Call):
        return command
    script = ("EVAL", command.script.text) if whole else ("EVALSHA", command.script.sha)
    return (*script, len(command.keys), *command.keys, *command.values)


def all_clients(client: Any) -> list[Any]:
    """A client, and those that ask the sentinels for it."""
    sentinel = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *(sentinel.sentinels if sentinel else ())]


def to_everyone(client: Any) -> dict[str, str]:
    """What makes a client of a cluster ask every primary."""
    return {"target_nodes": "primaries"} if in_cluster(client) else {}


def _decodes(client: Any) -> bool:
    options = getattr(client, "connection_pool", None)
    known = options.connection_kwargs if options is not None else {}
    if not known and hasattr(client, "get_connection_kwargs"):
        known = client.get_connection_kwargs()
    return bool(known.get("decode_responses"))
