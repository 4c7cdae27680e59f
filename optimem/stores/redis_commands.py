"""What a Redis store sends: commands, scripts, and the keys of a session.

Nothing here talks to a server. Steps are generators that yield commands and are sent
replies; `optimem.stores.redis` runs them with a blocking client or an asynchronous one, so
that neither has a body of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from optimem.stores import codec
from optimem.stores.cipher import Cipher, Ciphers, plain
from optimem.stores.redis_scripts import DURABLE, Script
from optimem.values import Scope

PATIENCE = 30
"""Seconds to wait for a cluster; it misses a failed primary after 15 by default."""

T = TypeVar("T")
Value = str | bytes | int


@dataclass(frozen=True, slots=True)
class Call:
    """A script to run: its keys, all of one slot, and its arguments."""

    script: Script
    keys: Sequence[str]
    values: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Everywhere:
    """A command for every primary; its replies come as one list."""

    words: tuple[str, ...]


Command = tuple[Value, ...] | Call | Everywhere
Steps = Generator[list[Command], list[Any], T]
"""Yields commands that may be sent together, is sent their replies, returns the outcome."""


@dataclass(frozen=True, slots=True)
class Life:
    """How long what is stored lives.

    Attributes:
        session: seconds until a session expires, None for ever.
        refreshed: whether each append begins them anew.
        blob: seconds until page images and vision tokens expire, never after their session.
    """

    session: int | None = None
    refreshed: bool = True
    blob: int | None = None


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas must have an append before it counts as done.

    Attributes:
        count: 0 for none: then a fail-over may lose the last turns.
        milliseconds: how long to wait for them.
    """

    count: int = 0
    milliseconds: int = 1000


class RedisKeys:
    """The keys of sessions, and how their values are kept.

    Users' names never stand in a key: they may hold anything, braces and colons too.

    Args:
        prefix: what every key begins with.
        life: how long sessions and blobs live.
        ciphers: how each namespace is kept; unencrypted by default.
    """

    def __init__(
        self, prefix: str = "optimem", life: Life | None = None, ciphers: Ciphers = plain
    ) -> None:
        self._prefix = prefix
        self._life = life or Life()
        self._ciphers = ciphers

    def claim_key(self, scope: Scope, key: str) -> str:
        """The key of a claim on a blob, in its session's slot."""
        return f"{self._tag(scope)}:claim:{hashed(self._cipher(scope), key)}"

    def queue_key(self, namespace: str, name: str) -> str:
        """The key of a queue of a namespace's jobs, in a slot of its own."""
        return f"{self._prefix}:{hashed(self.cipher(namespace), namespace, name)}:queue"

    def cipher(self, namespace: str) -> Cipher:
        """How a namespace is kept."""
        return self._ciphers(namespace)

    def _cipher(self, scope: Scope) -> Cipher:
        return self._ciphers(scope.namespace)

    def _call(
        self, script: Script, scope: Scope, values: Sequence[Value] = (), more: Sequence[str] = ()
    ) -> Call:
        return Call(script, [*self._keys(scope), *more], values)

    def _keys(self, scope: Scope) -> list[str]:
        tag = self._tag(scope)
        return [f"{tag}:{name}" for name in DURABLE]

    def _blob_key(self, scope: Scope, key: str) -> str:
        return f"{self._tag(scope)}:blob:{hashed(self._cipher(scope), key)}"

    def _tag(self, scope: Scope) -> str:
        name = hashed(self._cipher(scope), scope.namespace, scope.session)
        return f"{self._prefix}:{{{name}}}"

    def _directory(self, cipher: Cipher, namespace: str) -> str:
        """The set of a namespace's sessions."""
        return f"{self._prefix}:{hashed(cipher, namespace)}:sessions"

    def _marks(self, namespace: str) -> str:
        """The set of the keys that a namespace is encrypted with, as marks."""
        name = hashlib.sha256(codec.encode_name(namespace)).hexdigest()[:32]
        return f"{self._prefix}:{name}:marks"


def hashed(cipher: Cipher, *names: str) -> str:
    """Names as a part of a key."""
    encoded = [codec.encode_name(name) for name in names]
    return cipher.digest(b"".join(b"%d:%s" % (len(n), n) for n in encoded)).hex()[:32]


def milliseconds(seconds: int | None) -> int:
    """As scripts take a life; 0 for none."""
    return 0 if seconds is None else seconds * 1000
