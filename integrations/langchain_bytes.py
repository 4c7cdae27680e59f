"""A ByteStore of LangChain in a session's home: `pip install 'optimem[langchain]'`.

    cache = SessionByteStore(memory)
    embeddings = CacheBackedEmbeddings.from_bytes_store(model, cache, namespace="e5")

It keeps bytes beside a session's own images: with its encryption, within its expiry, gone when
the session is forgotten. They may be evicted, as everything that can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimem.errors import InputError, MissingExtraError
from optimem.memory import Memory

try:
    from langchain_core.stores import ByteStore
except ImportError:
    raise MissingExtraError("A ByteStore for LangChain", "langchain") from None

_PREFIX = "bytes/"


class SessionByteStore(ByteStore):
    """Bytes by key, of one session; safe to use from several threads.

    Args:
        memory: the session, which must have a turn.

    Raises:
        InputError: the session has not begun, so that nothing could be kept.
    """

    def __init__(self, memory: Memory) -> None:
        self._store = memory.store
        self._scope = memory.scope
        if not self._store.state(self._scope).turns:
            raise InputError(f"session {self._scope.session!r} has no turns yet: append one first")

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The bytes of each key; None for one that has none."""
        return [self._store.blob(self._scope, _PREFIX + key) for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Keep bytes; those that were there are replaced."""
        for key, value in key_value_pairs:
            while self._store.put_blob(self._scope, _PREFIX + key, value) != value:
                self._store.drop_blobs(self._scope, [_PREFIX + key])

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove keys; those that are not there are passed over."""
        self._store.drop_blobs(self._scope, [_PREFIX + key for key in keys])

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys that start with a prefix, in alphabetical order; all without one."""
        for name in self._store.blob_names(self._scope):
            if name.startswith(_PREFIX + (prefix or "")):
                yield name.removeprefix(_PREFIX)
