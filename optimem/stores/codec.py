"""How values become bytes in a store, and back; every decoder refuses what it did not write."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import get_args

from optimem.errors import StoreError
from optimem.messages import parse
from optimem.values import (
    Json,
    Mark,
    Page,
    PageFacts,
    Plan,
    Role,
    Span,
    Turn,
    TurnFacts,
    dump_json,
)

_PLAIN, _DEFLATED = b"j", b"z"
_WORTH_DEFLATING = 200  # bytes
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}


def encode_turn(turn: Turn) -> bytes:
    """A turn's message as it came; id and time are kept beside it."""
    return _pack(dict(turn.message))


def decode_turn(data: bytes, id: str, time: float | None) -> Turn:
    """The inverse of `encode_turn`; raises StoreError on damaged bytes."""
    try:
        turn = parse(_unpack(data), id=id, time=time)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"turn {id} in the store is damaged: {error}") from None
    return turn if turn.time == time else replace(turn, time=time)


def encode_turn_facts(facts: TurnFacts) -> bytes:
    """A turn's facts as one short line."""
    values = [facts.role, facts.tokens, facts.images, facts.calls, facts.answers]
    return dump_json(values).encode()


def decode_turn_facts(data: bytes, time: float | None) -> TurnFacts:
    """The inverse of `encode_turn_facts`; raises StoreError on damaged bytes."""
    try:
        role, tokens, images, calls, answers = json.loads(data)
        sizes = tuple(size and (int(size[0]), int(size[1])) for size in images)
        return TurnFacts(_ROLES[role], int(tokens), time, sizes, tuple(calls), tuple(answers))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"a turn's facts in the store are damaged: {error}") from None


def encode_page(page: Page) -> bytes:
    """A sealed page without its number."""
    spans = [[s.position, s.role, s.start, s.stop, s.begins, s.ends] for s in page.spans]
    marks = [[mark.position, mark.index] for mark in page.marks]
    return _pack([page.rows, spans, marks, page.stop, page.style])


def decode_page(data: bytes, number: int) -> Page:
    """The inverse of `encode_page`; raises StoreError on damaged bytes."""
    try:
        rows, spans, marks, stop, style = _unpack(data)
        return Page(
            number=number,
            rows=tuple(str(row) for row in rows),
            spans=tuple(Span(p, _ROLES[role], a, b, c, d) for p, role, a, b, c, d in spans),
            marks=tuple(Mark(int(position), int(index)) for position, index in marks),
            stop=(int(stop[0]), int(stop[1])),
            style=str(style),
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise StoreError(f"page {number} in the store is damaged: {error}") from None


def encode_page_facts(facts: PageFacts) -> bytes:
    """A page's facts as one line."""
    marks = [[mark.position, mark.index] for mark in facts.marks]
    positions = [facts.first, facts.last, facts.stop]
    values = [facts.hash, *positions, facts.tokens, facts.anchors, facts.caption_tokens, marks]
    return dump_json(values).encode()


def decode_page_facts(data: bytes, number: int) -> PageFacts:
    """The inverse of `encode_page_facts`; raises StoreError on damaged bytes."""
    try:
        hash_, first, last, stop, tokens, anchors, caption, marks = json.loads(data)
        places = tuple(Mark(int(position), int(index)) for position, index in marks)
        names = tuple(str(anchor) for anchor in anchors)
        return PageFacts(number, hash_, first, last, stop, tokens, names, caption, places)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"facts of page {number} in the store are damaged: {error}") from None


def _pack(value: Json) -> bytes:
    line = dump_json(value).encode()
    if len(line) < _WORTH_DEFLATING:
        return _PLAIN + line
    return _DEFLATED + zlib.compress(line, 1)


def _unpack(data: bytes) -> Json:
    kind, line = data[:1], data[1:]
    try:
        if kind == _DEFLATED:
            line = zlib.decompress(line)
        elif kind != _PLAIN:
            raise ValueError("unknown encoding")
        return json.loads(line)
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from None


def decode_settings(line: str) -> dict[str, Json]:
    """What a session was begun with; raises StoreError on damaged text."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        raise StoreError(f"a session's settings in the store are damaged: {error}") from None


def decode_plan(line: str) -> Plan:
    """A plan; raises StoreError on damaged text."""
    try:
        return Plan.from_json(line)
    except (ValueError, TypeError) as error:
        raise StoreError(f"a plan in the store is damaged: {error}") from None
