"""Sessions and their log in Redis, as steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from optimem.errors import ConflictError, NotFoundError, StoreError
from optimem.stores import codec
from optimem.stores.cipher import Ciphers, Plain, check_marks, plain
from optimem.stores.packing import Dictionary, earlier_dictionary, pack, unpack
from optimem.stores.protocol import Draft, SessionState, counted
from optimem.stores.redis_commands import Command, Life, RedisKeys, Steps, Value, milliseconds
from optimem.stores.redis_scripts_log import (
    APPEND,
    DROP,
    DROP_DICTIONARIES,
    DUMP,
    REPLACE,
    RESTORE,
    STATE,
)
from optimem.values import Entry, Json, Scope, TurnFacts

_WRITTEN_AT_ONCE = 256  # turns, so that others wait for one script only a little
_MOST_DICTIONARIES = 64  # kept ready for use
_DICTIONARY = b"dictionary:"  # a field of a session that an earlier version wrote, and its id
_RETRIES = 8
_LACKING = "turns need a dictionary that this version of optimem lacks: pip install -U optimem"


class RedisLog(RedisKeys):
    """The verbs of the Store protocol for sessions and turns."""

    def __init__(
        self, prefix: str = "optimem", life: Life | None = None, ciphers: Ciphers = plain
    ) -> None:
        super().__init__(prefix, life, ciphers)
        self._ready: dict[tuple[Scope, int], Dictionary] = {}

    # Sessions

    def state(self, scope: Scope) -> Steps[SessionState]:
        (row,) = yield [self._call(STATE, scope)]
        if not row:
            yield from self._check_key(scope.namespace)
            return SessionState()
        *counters, sealed = row
        line = self._cipher(scope).open(sealed, b"settings")
        return counted(counters, codec.decode_settings(line))

    def sessions(self, namespace: str) -> Steps[list[str]]:
        yield from self._check_key(namespace)
        cipher = self._ciphers(namespace)
        directory = self._directory(cipher, namespace)
        (sealed,) = yield [("SMEMBERS", directory)]
        if not sealed:
            return []
        named = sorted((cipher.open(name, b"session"), name) for name in sealed)
        scopes = [Scope(namespace, codec.decode_name(name)) for name, _ in named]
        there = yield [("EXISTS", self._keys(scope)[0]) for scope in scopes]
        gone = [name for (_, name), count in zip(named, there, strict=True) if not count]
        if gone:
            yield [("SREM", directory, *gone)]
        return [scope.session for scope, count in zip(scopes, there, strict=True) if count]

    def drop(self, scope: Scope, turns: int | None = None) -> Steps[int]:
        cipher = self._cipher(scope)
        directory = self._directory(cipher, scope.namespace)
        while True:
            blobs = yield from self._blob_keys(scope)
            values = (len(blobs), -1 if turns is None else turns)
            (removed,) = yield [self._call(DROP, scope, values, blobs)]
            if removed == b"moved":
                return 0
            if removed is not None:
                break
        (_, left) = yield [("SREM", directory, self._name(scope)), ("SCARD", directory)]
        if cipher.mark and not left:
            yield [("SREM", self._marks(scope.namespace), cipher.mark)]
        return int(removed)

    def fork(self, scope: Scope, target: Scope) -> Steps[None]:
        if scope.namespace != target.namespace:
            raise ConflictError("a session is forked within its namespace: export and import it")
        (dumped,) = yield [self._call(DUMP, scope)]
        if not dumped:
            raise NotFoundError(f"no session {scope.session!r} to fork")
        yield self._enlist(target)
        values = [milliseconds(self._life.session), *(value or b"" for value in dumped)]
        (done,) = yield [self._call(RESTORE, target, values)]
        if not done:
            raise ConflictError(f"session {target.session!r} already has turns: name another")

    # Turns

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> Steps[list[int]]:
        if not drafts:
            return []
        values = self._append_values(scope, drafts, settings)
        (reply,) = yield [self._call(APPEND, scope, values)]
        outcome, *rest = reply
        if outcome == b"stored":
            created, *positions = rest
            if created:
                yield self._enlist(scope)
            return [int(position) for position in positions]
        if outcome == b"taken":
            id = codec.decode_name(self._cipher(scope).open(rest[0], b"id"))
            raise ConflictError(
                f"turn {id!r} is already in the log with other content:"
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
        for _ in range(_RETRIES):
            (records,) = yield [("LRANGE", self._keys(scope)[1], start, stop - 1)]
            entries = yield from self._entries(scope, list(enumerate(records, start)))
            if entries is not None:
                return entries, len(records) == stop - start
        raise StoreError(_LACKING)

    def entries_at(self, scope: Scope, positions: Iterable[int]) -> Steps[list[Entry]]:
        wanted = [position for position in positions if position >= 0]
        if not wanted:
            return []
        log = self._keys(scope)[1]
        for _ in range(_RETRIES):
            records = yield [("LINDEX", log, position) for position in wanted]
            entries = yield from self._entries(scope, list(zip(wanted, records, strict=True)))
            if entries is not None:
                return entries
        raise StoreError(_LACKING)

    def turn_facts(self, scope: Scope, start: int = 0) -> Steps[list[tuple[int, TurnFacts]]]:
        (lines,) = yield [("LRANGE", self._keys(scope)[2], start, -1)]
        cipher = self._cipher(scope)
        return [
            (position, codec.decode_timed_facts(cipher.open(line, b"facts")))
            for position, line in enumerate(lines, start)
            if line
        ]

    def position(self, scope: Scope, turn_id: str) -> Steps[int | None]:
        id = self._cipher(scope).seal(codec.encode_name(turn_id), b"id")
        (found,) = yield [("HGET", self._keys(scope)[3], id)]
        return None if found is None else codec.decode_place(found)

    def recompress(self, scope: Scope) -> Steps[None]:
        (fields,) = yield [("HKEYS", self._keys(scope)[0])]
        if not any(field.startswith(_DICTIONARY) for field in fields):
            return
        for _ in range(_RETRIES):
            state = yield from self.state(scope)
            # Without any turns at first: from then on earlier versions refuse the session.
            (done,) = yield [self._call(REPLACE, scope, [state.generation])]
            for start in range(0, state.turns, _WRITTEN_AT_ONCE):
                done = done and (yield from self._write_anew(scope, state, start))
            if done:
                yield [self._call(DROP_DICTIONARIES, scope)]
            if done or not state.turns:
                return
        raise StoreError("the session is being changed too fast to rewrite: try again")

    # Parts

    def _append_values(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> list[Value]:
        cipher = self._cipher(scope)
        line = cipher.seal(codec.encode_settings(settings).encode(), b"settings")
        values: list[Value] = [line, milliseconds(self._life.session), int(self._life.refreshed)]
        for draft in drafts:
            turn = draft.turn
            name = codec.encode_name(turn.id)
            id = cipher.seal(name, b"id")
            body = cipher.seal(codec.encode_turn(turn), _place(name))
            values += (id, codec.turn_digest(turn, cipher.digest))
            values.append(codec.encode_record(turn.time, id, body))
            values.append(cipher.seal(codec.encode_timed_facts(draft.facts), b"facts"))
        return values

    def _entries(
        self, scope: Scope, records: Sequence[tuple[int, bytes | None]]
    ) -> Steps[list[Entry] | None]:
        """The turns of some records; None when their dictionary was dropped since."""
        cipher = self._cipher(scope)
        found = []
        for position, record in records:
            if not record:
                continue
            time, id, body = codec.decode_record(record)
            name = cipher.open(id, b"id")
            packed = cipher.open(body, _place(name))
            earlier = None
            if needed := earlier_dictionary(packed):
                earlier = yield from self._dictionary(scope, needed)
                if earlier is None:
                    return None
            turn = codec.decode_turn(packed, codec.decode_name(name), time, earlier)
            found.append(Entry(position, turn))
        return found

    def _write_anew(self, scope: Scope, state: SessionState, start: int) -> Steps[bool]:
        """Compress turns of a session's own dictionaries as all others are.

        False when others have changed them meanwhile.
        """
        cipher = self._cipher(scope)
        stop = min(start + _WRITTEN_AT_ONCE, state.turns) - 1
        (records,) = yield [("LRANGE", self._keys(scope)[1], start, stop)]
        changed: list[Value] = []
        for position, record in enumerate(records, start):
            if not record:
                continue
            time, id, body = codec.decode_record(record)
            place = _place(cipher.open(id, b"id"))
            packed = cipher.open(body, place)
            if needed := earlier_dictionary(packed):
                earlier = yield from self._dictionary(scope, needed)
                if earlier is None:
                    return False
                anew = cipher.seal(pack(unpack(packed, earlier)), place)
                changed += (position, codec.encode_record(time, id, anew))
        if not changed:
            return True
        (done,) = yield [self._call(REPLACE, scope, [state.generation, *changed])]
        return bool(done)

    def _dictionary(self, scope: Scope, id: int) -> Steps[Dictionary | None]:
        """A dictionary that an earlier version made of a session's words, if it is there."""
        ready = self._ready.get((scope, id))
        if ready is None:
            (sealed,) = yield [("HGET", self._keys(scope)[0], _DICTIONARY + b"%d" % id)]
            if sealed is None:
                return None
            ready = Dictionary(self._cipher(scope).open(sealed, b"dictionary"))
            if len(self._ready) >= _MOST_DICTIONARIES:
                self._ready.clear()
            self._ready[scope, id] = ready
        return ready

    def _blob_keys(self, scope: Scope) -> Steps[list[str]]:
        (keys,) = yield [("HKEYS", self._keys(scope)[8])]
        return [key.decode() for key in keys]

    def _name(self, scope: Scope) -> bytes:
        return self._cipher(scope).seal(codec.encode_name(scope.session), b"session")

    def _enlist(self, scope: Scope) -> list[Command]:
        cipher = self._cipher(scope)
        directory = self._directory(cipher, scope.namespace)
        commands: list[Command] = [("SADD", directory, self._name(scope))]
        if cipher.mark:
            commands.append(("SADD", self._marks(scope.namespace), cipher.mark))
        return commands

    def _check_key(self, namespace: str) -> Steps[None]:
        """Raise StoreError when sessions of the namespace are kept with another key, or none."""
        marks, has_plain = yield [
            ("SMEMBERS", self._marks(namespace)),
            ("EXISTS", self._directory(Plain(), namespace)),
        ]
        check_marks(namespace, self._ciphers(namespace), set(marks), bool(has_plain))


def _place(id: bytes) -> bytes:
    return b"turn " + id
