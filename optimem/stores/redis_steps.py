"""What a Redis store does, as commands: generators that yield commands and are sent replies.

Nothing here talks to a server. `optimem.stores.redis` runs the same steps with a
blocking client or an asynchronous one, so that neither has a body of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from optimem.errors import ConflictError, NotFoundError
from optimem.stores import codec
from optimem.stores.postings import BLOCK, POSTING, Postings, without
from optimem.stores.protocol import Draft, SessionState
from optimem.stores.redis_scripts import (
    ADD_PAGES,
    APPEND,
    DROP,
    DUMP,
    DURABLE,
    ERASE,
    FREQUENCIES,
    INDEX,
    POSTINGS,
    PUT_BLOB,
    RESTORE,
    REWIND,
    SIZES,
    STATE,
    SWAP_PLAN,
    Script,
)
from optimem.values import Entry, Json, Page, PageFacts, Plan, Scope, TurnFacts

_HASHES = ("meta", "ids", "pages", "plans", "index", "blobs")

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


class RedisSteps:
    """The verbs of the Store protocol as steps.

    Args:
        prefix: what every key begins with.
        life: how long sessions and blobs live.
    """

    def __init__(self, prefix: str = "optimem", life: Life | None = None) -> None:
        self._prefix = prefix
        self._life = life or Life()

    # Sessions

    def state(self, scope: Scope) -> Steps[SessionState]:
        (row,) = yield [self._call(STATE, scope)]
        if not row:
            return SessionState()
        turns, pages, generation, indexed, documents, terms = (int(n or 0) for n in row[:-1])
        settings = codec.decode_settings(row[-1])
        return SessionState(turns, pages, generation, indexed, documents, terms, settings)

    def sessions(self, namespace: str) -> Steps[list[str]]:
        (names,) = yield [("SMEMBERS", self._directory(namespace))]
        found = sorted(names)
        if not found:
            return []
        scopes = [Scope(namespace, codec.decode_name(name)) for name in found]
        there = yield [("EXISTS", self._keys(scope)[0]) for scope in scopes]
        gone = [name for name, count in zip(found, there, strict=True) if not count]
        if gone:
            yield [("SREM", self._directory(namespace), *gone)]
        return [scope.session for scope, count in zip(scopes, there, strict=True) if count]

    def drop(self, scope: Scope) -> Steps[int]:
        while True:
            blobs = yield from self._blob_keys(scope)
            (turns,) = yield [self._call(DROP, scope, [len(blobs)], blobs)]
            if turns is not None:
                yield [("SREM", self._directory(scope.namespace), codec.encode_name(scope.session))]
                return int(turns)

    def fork(self, scope: Scope, target: Scope) -> Steps[None]:
        (dumped,) = yield [self._call(DUMP, scope)]
        if not dumped:
            raise NotFoundError(f"no session {scope.session!r} to fork")
        yield [self._enlist(target)]
        values = [_milliseconds(self._life.session), *(value or b"" for value in dumped)]
        (done,) = yield [self._call(RESTORE, target, values)]
        if not done:
            raise ConflictError(f"session {target.session!r} already has turns: name another")

    # The log

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> Steps[list[int]]:
        if not drafts:
            return []
        line = codec.encode_settings(settings)
        values: list[Value] = [line, _milliseconds(self._life.session), int(self._life.refreshed)]
        for draft in drafts:
            turn = draft.turn
            values += (codec.encode_name(turn.id), codec.turn_digest(turn))
            values += (codec.encode_record(turn), codec.encode_timed_facts(draft.facts))
        (reply,) = yield [self._call(APPEND, scope, values)]
        outcome, *rest = reply
        if outcome == b"stored":
            created, *positions = rest
            if created:
                yield [self._enlist(scope)]
            return [int(position) for position in positions]
        if outcome == b"taken":
            raise ConflictError(
                f"turn {codec.decode_name(rest[0])!r} is already in the log with other content:"
                " give the new turn another id"
            )
        raise ConflictError(
            f"session {scope.session!r} was meanwhile begun with other settings: open it again"
        )

    def entries_between(
        self, scope: Scope, start: int, stop: int
    ) -> Steps[tuple[list[Entry], bool]]:
        """Turns from `start` up to `stop`, and whether the log reaches so far."""
        if stop <= start:
            return [], False
        (records,) = yield [("LRANGE", self._keys(scope)[1], start, stop - 1)]
        entries = [
            Entry(position, codec.decode_record(record))
            for position, record in enumerate(records, start)
            if record
        ]
        return entries, len(records) == stop - start

    def entries_at(self, scope: Scope, positions: Iterable[int]) -> Steps[list[Entry]]:
        wanted = [position for position in positions if position >= 0]
        if not wanted:
            return []
        log = self._keys(scope)[1]
        records = yield [("LINDEX", log, position) for position in wanted]
        return [
            Entry(position, codec.decode_record(record))
            for position, record in zip(wanted, records, strict=True)
            if record
        ]

    def turn_facts(self, scope: Scope, start: int = 0) -> Steps[list[tuple[int, TurnFacts]]]:
        (lines,) = yield [("LRANGE", self._keys(scope)[2], start, -1)]
        return [
            (position, codec.decode_timed_facts(line))
            for position, line in enumerate(lines, start)
            if line
        ]

    def position(self, scope: Scope, turn_id: str) -> Steps[int | None]:
        (found,) = yield [("HGET", self._keys(scope)[3], codec.encode_name(turn_id))]
        return None if found is None else int(found.partition(b":")[0])

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
        values = [seen.generation, seen.indexed, len(blobs), *taken, *positions]
        (removed,) = yield [self._call(ERASE, scope, values, blobs)]
        return None if removed is None else int(removed)

    # Pages, plans, blobs

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> Steps[bool]:
        values: list[Value] = [generation]
        for page, facts in pages:
            values += (page.number, codec.encode_page_facts(facts), codec.encode_page(page))
        (done,) = yield [self._call(ADD_PAGES, scope, values)]
        return bool(done)

    def page(self, scope: Scope, number: int) -> Steps[Page | None]:
        (body,) = yield [("HGET", self._keys(scope)[4], f"b{number}")]
        return None if body is None else codec.decode_page(body, number)

    def page_facts(
        self, scope: Scope, start: int = 0, stop: int | None = None
    ) -> Steps[list[PageFacts]]:
        pages = self._keys(scope)[4]
        (fields,) = yield [("HLEN", pages)]
        numbers = range(fields // 2)[start:stop]
        if not numbers:
            return []
        (lines,) = yield [("HMGET", pages, *(f"f{number}" for number in numbers))]
        # A page that was dropped in between ends the list.
        known = [(number, line) for number, line in zip(numbers, lines, strict=True) if line]
        return [codec.decode_page_facts(line, number) for number, line in known]

    def plans(self, scope: Scope) -> Steps[dict[str, Plan]]:
        (found,) = yield [("HGETALL", self._keys(scope)[5])]
        return {codec.decode_name(name): codec.decode_plan(line) for name, line in found.items()}

    def swap_plan(self, scope: Scope, name: str, plan: Plan, past: Plan | None) -> Steps[bool]:
        values = (codec.encode_name(name), plan.to_json(), "" if past is None else past.to_json())
        (done,) = yield [self._call(SWAP_PLAN, scope, values)]
        return bool(done)

    def blob(self, scope: Scope, key: str) -> Steps[bytes | None]:
        (sealed,) = yield [("GET", self._blob_key(scope, key))]
        return None if sealed is None else codec.open_blob(sealed)

    def put_blob(self, scope: Scope, key: str, value: bytes) -> Steps[bytes]:
        damaged = b""
        while True:
            values = (codec.seal_blob(value), _milliseconds(self._life.blob), damaged)
            call = self._call(PUT_BLOB, scope, values, [self._blob_key(scope, key)])
            (there,) = yield [call]
            if there is None:
                return value
            kept = codec.open_blob(there)
            if kept is not None:
                return kept
            damaged = there

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> Steps[None]:
        names = [self._blob_key(scope, key) for key in keys]
        if names:
            yield [("UNLINK", *names), ("HDEL", self._keys(scope)[8], *names)]

    # The search index

    def index(self, scope: Scope, postings: Postings, stop: int, seen: SessionState) -> Steps[bool]:
        values: list[Value] = [seen.generation, seen.indexed, stop, seen.indexed // BLOCK]
        values += (postings.documents, postings.terms)
        for term, data in postings.by_term.items():
            values += (codec.encode_name(term), data)
        (done,) = yield [self._call(INDEX, scope, values)]
        return bool(done)

    def frequencies(self, scope: Scope, terms: Iterable[str]) -> Steps[dict[str, int]]:
        wanted = list(terms)
        names = map(codec.encode_name, wanted)
        (sizes,) = yield [self._call(FREQUENCIES, scope, [BLOCK, *names])]
        return {
            term: int(size) // POSTING.itemsize
            for term, size in zip(wanted, sizes, strict=True)
            if size
        }

    def completions(self, scope: Scope, prefixes: Iterable[str], limit: int) -> Steps[list[str]]:
        terms = self._keys(scope)[7]
        firsts = [codec.encode_name(prefix) for prefix in prefixes]
        if not firsts:
            return []
        ranges = ((b"[" + first, b"(" + first + b"\xff") for first in firsts)
        found = yield [
            ("ZRANGEBYLEX", terms, first, last, "LIMIT", 0, limit) for first, last in ranges
        ]
        return [codec.decode_name(term) for term in chain.from_iterable(found) if term]

    def postings(self, scope: Scope, terms: Iterable[str]) -> Steps[dict[str, bytes]]:
        wanted = list(terms)
        names = map(codec.encode_name, wanted)
        (packed,) = yield [self._call(POSTINGS, scope, [BLOCK, *names])]
        return {term: data for term, data in zip(wanted, packed, strict=True) if data}

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
        meta, log, facts, ids, pages, plans, index, terms, blobs = self._keys(scope)
        lists = yield [("LRANGE", key, 0, -1) for key in (log, facts)]
        hashes = yield [("HGETALL", key) for key in (meta, ids, pages, plans, index, blobs)]
        (words,) = yield [("ZRANGE", terms, 0, -1)]
        found = [("log", codec.readable_record(record)) for record in lists[0] if record]
        found += (("facts", line) for line in lists[1])
        for name, pairs in zip(_HASHES, hashes, strict=True):
            found += ((name, part) for pair in pairs.items() for part in map(codec.readable, pair))
        found += (("terms", word) for word in words)
        for number in range(len(hashes[2]) // 2):
            page = codec.decode_page(hashes[2][b"b%d" % number], number)
            found.append((f"page {number}", codec.encode_name(page.text)))
        for key in hashes[5]:
            (value,) = yield [("GET", key)]
            found.append(("blob", value or b""))
        return found

    # Parts

    def _taken_back(
        self, scope: Scope, pages: int, postings: Postings, gone: set[int], seen: SessionState
    ) -> Steps[list[Value]]:
        """The arguments that take turns out of the index; they hold while nothing moves."""
        index = self._keys(scope)[6]
        blocks = range(-(-seen.indexed // BLOCK))
        names = [codec.encode_name(term) for term in postings.by_term]
        fields = [[b"%s\0%d" % (name, block) for block in blocks] for name in names]
        found = yield [("HMGET", index, *row) for row in fields if row]
        taken: list[Value] = []
        for name, row, packed in zip(names, fields, found, strict=False):
            there = [(field, data) for field, data in zip(row, packed, strict=True) if data]
            kept = [(field, without(data, gone)) for field, data in there]
            dead = not any(data for _, data in kept)
            for field, data in kept:
                taken += (name if dead else b"", field, data)
        counts = (pages, postings.documents, postings.terms, len(taken) // 3)
        return [*counts, *taken]

    def _blob_keys(self, scope: Scope) -> Steps[list[str]]:
        (keys,) = yield [("HKEYS", self._keys(scope)[8])]
        return [key.decode() for key in keys]

    def _call(
        self, script: Script, scope: Scope, values: Sequence[Value] = (), more: Sequence[str] = ()
    ) -> Call:
        return Call(script, [*self._keys(scope), *more], values)

    def _enlist(self, scope: Scope) -> Command:
        return ("SADD", self._directory(scope.namespace), codec.encode_name(scope.session))

    def _directory(self, namespace: str) -> str:
        return f"{self._prefix}:{_hashed(namespace)}:sessions"

    def _keys(self, scope: Scope) -> list[str]:
        tag = self._tag(scope)
        return [f"{tag}:{name}" for name in DURABLE]

    def _blob_key(self, scope: Scope, key: str) -> str:
        return f"{self._tag(scope)}:blob:{_hashed(key)}"

    def _tag(self, scope: Scope) -> str:
        """Names of users never stand in a key: they may hold anything, braces and colons too."""
        return f"{self._prefix}:{{{_hashed(scope.namespace, scope.session)}}}"


def _hashed(*names: str) -> str:
    encoded = [codec.encode_name(name) for name in names]
    return hashlib.sha256(b"".join(b"%d:%s" % (len(n), n) for n in encoded)).hexdigest()[:32]


def _milliseconds(seconds: int | None) -> int:
    return 0 if seconds is None else seconds * 1000
