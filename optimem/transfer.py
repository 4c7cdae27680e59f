"""Sessions from one home to another, as JSON lines: every turn with its id, time and message.

    {"optimem": 1, "session": "42", "settings": {…}}
    {"id": "…", "time": 1700000000.0, "message": {…}}

A session of which turns were forgotten names hashes of their ids in its first line.

Pages, plans and the search index are not in it: they are made anew where they arrive.
An import that was interrupted is run again: turns that are there already are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from optimem.errors import InputError, NotFoundError
from optimem.ledger.facts import turn_facts
from optimem.messages import parse
from optimem.stores import Draft, Store
from optimem.tokens import find_counter
from optimem.values import Scope, Turn, dump_json

_FORMAT = 1
_AT_ONCE = 256  # turns of one append
_HINT = "name a file of `optimem export`; a transcript is added by `optimem ingest`"


def export_sessions(store: Store, namespace: str, sessions: Sequence[str] = ()) -> Iterator[str]:
    """The lines of some sessions, of all in the namespace by default.

    Raises:
        NotFoundError: there is no such session.
    """
    known = store.sessions(namespace)
    if unknown := set(sessions).difference(known):
        raise NotFoundError(f"no session {min(unknown)!r} in namespace {namespace!r}")
    return _lines(store, [Scope(namespace, session) for session in sessions or known])


def _lines(store: Store, scopes: Iterable[Scope]) -> Iterator[str]:
    for scope in scopes:
        settings = dict(sorted(store.state(scope).settings.items()))
        header = {"optimem": _FORMAT, "session": scope.session, "settings": settings}
        if tombstones := sorted(each.hex() for each in store.forgotten(scope)):
            header["forgotten"] = tombstones
        yield dump_json(header)
        for entry in store.entries(scope):
            turn = entry.turn
            yield dump_json({"id": turn.id, "time": turn.time, "message": dict(turn.message)})


def import_sessions(store: Store, namespace: str, lines: Iterable[str]) -> Iterator[int]:
    """Add exported sessions to a home; yields how many turns each step has stored.

    Raises:
        InputError: naming the first line that cannot be read; those before it are stored.
        ConflictError: a session there has other content under the same id.
    """
    scope: Scope | None = None
    settings: dict[str, Any] = {}
    forgotten: list[bytes] = []
    waiting: list[Turn] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _read(line, number)
        if "optimem" in value:
            yield from _store(store, scope, waiting, settings, forgotten)
            scope, settings, forgotten = _header(value, namespace, number)
        elif scope is None:
            raise InputError(f"line {number}: a session's first line is missing; {_HINT}")
        else:
            waiting.append(_turn(value, number))
        if len(waiting) == _AT_ONCE:
            yield from _store(store, scope, waiting, settings, forgotten)
    yield from _store(store, scope, waiting, settings, forgotten)


def move_sessions(source: Store, target: Store, namespace: str) -> Iterator[int]:
    """Move a namespace to another home, or to another key; yields how many turns each step moves.

    A session leaves the source once all its turns are in the target: after a break, move
    again. Turns that are added to the source meanwhile are moved too; those that are
    forgotten there meanwhile are not noticed, so forget before or after.
    """
    for session in source.sessions(namespace):
        scope = Scope(namespace, session)
        moved = 0
        while (state := source.state(scope)).turns:
            waiting: list[Turn] = []
            for entry in source.entries(scope, moved, state.turns):
                waiting.append(entry.turn)
                if len(waiting) == _AT_ONCE:
                    yield from _store(target, scope, waiting, state.settings)
            yield from _store(target, scope, waiting, state.settings)
            target.bury(scope, source.forgotten(scope))
            moved = state.turns
            source.drop(scope, moved)
    source.purge()


def _store(
    store: Store,
    scope: Scope | None,
    waiting: list[Turn],
    settings: dict[str, Any],
    forgotten: Iterable[bytes] = (),
) -> Iterator[int]:
    if scope is not None and waiting:
        counter = find_counter(settings["counter"])
        drafts = [Draft(turn, turn_facts(turn, counter)) for turn in waiting]
        store.append(scope, drafts, settings)
        store.bury(scope, forgotten)
        yield len(waiting)
        waiting.clear()


def _read(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"line {number} is no JSON: {error}; {_HINT}") from None
    if not isinstance(value, dict):
        raise InputError(f"line {number} is no object; {_HINT}")
    return value


def _header(
    value: dict[str, Any], namespace: str, number: int
) -> tuple[Scope, dict[str, Any], list[bytes]]:
    session, settings = value.get("session"), value.get("settings")
    if value["optimem"] != _FORMAT:
        raise InputError(f"line {number}: written by another version: pip install -U optimem")
    if not isinstance(session, str) or not isinstance(settings, dict):
        raise InputError(f"line {number}: a session's name and settings are missing")
    if not isinstance(settings.get("counter"), str):
        raise InputError(f"line {number}: the settings name no counter")
    try:
        forgotten = [bytes.fromhex(tombstone) for tombstone in value.get("forgotten", ())]
    except (TypeError, ValueError):
        raise InputError(f"line {number}: what was forgotten is no list of hashes") from None
    return Scope(namespace, session), settings, forgotten


def _turn(value: dict[str, Any], number: int) -> Turn:
    id, time = value.get("id"), value.get("time")
    if not isinstance(id, str) or not id or not isinstance(time, (int, float, type(None))):
        raise InputError(f"line {number}: a turn has an id and a time")
    try:
        turn = parse(value.get("message"), id=id, time=time)
    except InputError as error:
        raise InputError(f"line {number}: {error}") from None
    return replace(turn, time=None if time is None else float(time))
