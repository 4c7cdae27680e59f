"""What a Redis store does, as steps (see `optimem.stores.redis_commands`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimem.stores import codec
from optimem.stores.postings import Postings
from optimem.stores.protocol import SessionState
from optimem.stores.redis_commands import Everywhere, Steps
from optimem.stores.redis_index import RedisIndex
from optimem.stores.redis_log import RedisLog
from optimem.stores.redis_pages import RedisPages
from optimem.stores.redis_scripts_log import BURY, ERASE, REWIND, SIZES
from optimem.values import Scope

_FORGOTTEN = b"forgotten:"
_BURIED_AT_ONCE = 1000


class RedisSteps(RedisLog, RedisPages, RedisIndex):
    """The verbs of the Store protocol as steps."""

    def rewind(
        self, scope: Scope, length: int, pages: int, postings: Postings, seen: SessionState
    ) -> Steps[bool]:
        gone = set(range(length, seen.indexed))
        taken = yield from self._taken_back(scope, pages, postings, gone, seen)
        values = [seen.generation, seen.indexed, length, *taken]
        (done,) = yield [self._call(REWIND, scope, values)]
        return bool(done)

    def erase(
        self,
        scope: Scope,
        positions: Sequence[int],
        pages: int,
        postings: Postings,
        seen: SessionState,
    ) -> Steps[int | None]:
        blobs = yield from self._blob_keys(scope)
        taken = yield from self._taken_back(scope, pages, postings, set(positions), seen)
        values = [seen.generation, seen.indexed, len(blobs), *taken]
        for entry in (yield from self.entries_at(scope, positions)):
            values += (entry.position, self._buried(scope, codec.tombstone(entry.turn.id)))
        (removed,) = yield [self._call(ERASE, scope, values, blobs)]
        return None if removed is None else int(removed)

    def forgotten(self, scope: Scope) -> Steps[frozenset[bytes]]:
        cipher, start = self._cipher(scope), len(_FORGOTTEN)
        (fields,) = yield [("HKEYS", self._keys(scope)[0])]
        return frozenset(
            cipher.open(field[start:], b"forgotten")
            for field in fields
            if field.startswith(_FORGOTTEN)
        )

    def bury(self, scope: Scope, tombstones: Iterable[bytes]) -> Steps[None]:
        fields = [self._buried(scope, tombstone) for tombstone in tombstones]
        for start in range(0, len(fields), _BURIED_AT_ONCE):
            yield [self._call(BURY, scope, fields[start : start + _BURIED_AT_ONCE])]

    def _buried(self, scope: Scope, tombstone: bytes) -> bytes:
        return _FORGOTTEN + self._cipher(scope).seal(tombstone, b"forgotten")

    def size(self, scope: Scope) -> Steps[dict[str, int]]:
        (sizes,) = yield [self._call(SIZES, scope)]
        return dict(zip(("log", "pages", "blobs"), map(int, sizes), strict=True))

    def warnings(self) -> Steps[list[str]]:
        (memory,) = yield [Everywhere(("INFO", "memory"))]
        (persistence,) = yield [Everywhere(("INFO", "persistence"))]
        found = []
        policies = {str(fact["maxmemory_policy"]) for fact in memory}
        if greedy := sorted(name for name in policies if name.startswith("allkeys-")):
            found.append(
                f"maxmemory-policy {greedy[0]} may evict a log: use noeviction or volatile-lru"
            )
        if not all(fact["aof_enabled"] for fact in persistence):
            found.append("appendonly is off: a crash of the server loses what it has not yet saved")
        return found

    def purge(self) -> Steps[None]:
        """Have append-only files written anew; snapshots and backups follow on their own."""
        (facts,) = yield [Everywhere(("INFO", "persistence"))]
        if any(fact["aof_enabled"] and not fact["aof_rewrite_in_progress"] for fact in facts):
            yield [Everywhere(("BGREWRITEAOF",))]

    def stored(self, scope: Scope) -> Steps[list[tuple[str, bytes]]]:
        cipher = self._cipher(scope)
        meta, _, facts, ids, pages, plans, index, _, blobs = self._keys(scope)
        state = yield from self.state(scope)
        entries, _ = yield from self.entries_between(scope, 0, state.turns)
        found = [("log", codec.encode_name(entry.turn.id)) for entry in entries]
        found += (("log", codec.turn_line(entry.turn)) for entry in entries)
        (lines,) = yield [("LRANGE", facts, 0, -1)]
        found += (("facts", cipher.open(line, b"facts")) for line in lines if line)
        hashes = yield [("HGETALL", key) for key in (meta, ids, pages, plans, index, blobs)]
        for field, value in hashes[0].items():
            sealed = field.startswith(b"dictionary:")
            found.append(("meta", cipher.open(value, b"dictionary") if sealed else value))
        found += (("forgotten", tombstone) for tombstone in (yield from self.forgotten(scope)))
        found += (("ids", cipher.open(id, b"id")) for id in hashes[1])
        for field, value in hashes[2].items():
            place = b"page facts" if field.startswith(b"f") else b"page"
            found.append(("pages", codec.readable(cipher.open(value, place))))
        for name, plan in hashes[3].items():
            found.append(("plans", cipher.open(name, b"plan name") + cipher.open(plan, b"plan")))
        found += (("index", part) for pair in hashes[4].items() for part in pair)
        for number in range(len(hashes[2]) // 2):
            page = yield from self.page(scope, number)
            found.append((f"page {number}", b"" if page is None else codec.encode_name(page.text)))
        for key in hashes[5]:
            (value,) = yield [("GET", key)]
            found.append(("blob", value or b""))
        return found
