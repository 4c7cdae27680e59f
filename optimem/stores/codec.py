"""How values become bytes in a store, and back; every decoder refuses what it did not write."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
_SEAL = 16  # bytes
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    zlib.error,
    struct.error,
)
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}


def encode_turn(turn: Turn) -> bytes:
    """A turn's message as it came; id and time are kept beside it."""
    return _pack(dict(turn.message))


def decode_turn(data: bytes, id: str, time: float | None) -> Turn:
    """The inverse of `encode_turn`; raises StoreError on damaged bytes."""
    with _refusing(f"turn {id!r}"):
        turn = parse(_unpack(data), id=id, time=time)
        return turn if turn.time == time else replace(turn, time=time)


def encode_turn_facts(facts: TurnFacts) -> bytes:
    """A turn's facts as one short line."""
    values = [facts.role, facts.tokens, facts.images, facts.calls, facts.answers]
    return dump_json(values).encode()


def decode_turn_facts(data: bytes, time: float | None) -> TurnFacts:
    """The inverse of `encode_turn_facts`; raises StoreError on damaged bytes."""
    with _refusing("a turn's facts"):
        role, tokens, images, calls, answers = json.loads(data)
        sizes = tuple(None if size is None else _pair(size) for size in images)
        return TurnFacts(
            _ROLES[role], _whole(tokens), time, sizes, _strings(calls), _strings(answers)
        )


def turn_digest(turn: Turn) -> bytes:
    """Tells whether two turns have the same content, without their words."""
    line = json.dumps(dict(turn.message), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(line.encode()).digest()[:16]


def encode_record(turn: Turn) -> bytes:
    """A whole turn in one piece: time (8 bytes), length of the id (4), id, message."""
    id = encode_name(turn.id)
    return _pack_time(turn.time) + struct.pack("<I", len(id)) + id + encode_turn(turn)


def decode_record(data: bytes) -> Turn:
    """The inverse of `encode_record`; raises StoreError on damaged bytes."""
    with _refusing("a turn"):
        time, length = _unpack_time(data), struct.unpack_from("<I", data, 8)[0]
        id = decode_name(data[12 : 12 + length])
        return decode_turn(data[12 + length :], id, time)


def encode_timed_facts(facts: TurnFacts) -> bytes:
    """A turn's facts with its time (8 bytes) in front."""
    return _pack_time(facts.time) + encode_turn_facts(facts)


def decode_timed_facts(data: bytes) -> TurnFacts:
    """The inverse of `encode_timed_facts`; raises StoreError on damaged bytes."""
    with _refusing("a turn's facts"):
        return decode_turn_facts(data[8:], _unpack_time(data))


def encode_page(page: Page) -> bytes:
    """A sealed page without its number."""
    spans = [[s.position, s.role, s.start, s.stop, s.begins, s.ends] for s in page.spans]
    marks = [[mark.position, mark.index] for mark in page.marks]
    return _pack([page.rows, spans, marks, page.stop, page.style])


def decode_page(data: bytes, number: int) -> Page:
    """The inverse of `encode_page`; raises StoreError on damaged bytes."""
    with _refusing(f"page {number}"):
        rows, spans, marks, stop, style = _unpack(data)
        return Page(
            number=number,
            rows=_strings(rows),
            spans=tuple(_span(*values) for values in spans),
            marks=tuple(Mark(*_pair(mark)) for mark in marks),
            stop=_pair(stop),
            style=_string(style),
        )


def encode_page_facts(facts: PageFacts) -> bytes:
    """A page's facts as one line."""
    marks = [[mark.position, mark.index] for mark in facts.marks]
    positions = [facts.first, facts.last, facts.stop]
    values = [facts.hash, *positions, facts.tokens, facts.anchors, facts.caption_tokens, marks]
    return dump_json(values).encode()


def decode_page_facts(data: bytes, number: int) -> PageFacts:
    """The inverse of `encode_page_facts`; raises StoreError on damaged bytes."""
    with _refusing(f"facts of page {number}"):
        hash_, first, last, stop, tokens, anchors, caption, marks = json.loads(data)
        return PageFacts(
            number=number,
            hash=_string(hash_),
            first=_whole(first),
            last=_whole(last),
            stop=_whole(stop),
            tokens=_whole(tokens),
            anchors=_strings(anchors),
            caption_tokens=_whole(caption),
            marks=tuple(Mark(*_pair(mark)) for mark in marks),
        )


def encode_settings(settings: Mapping[str, Json]) -> str:
    """What a session was begun with; equal settings give equal text."""
    return json.dumps(dict(settings), separators=(",", ":"), sort_keys=True)


def decode_settings(line: str | bytes) -> dict[str, Json]:
    """What a session was begun with; raises StoreError on damaged text."""
    with _refusing("a session's settings"):
        settings = json.loads(line)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
        return settings


def decode_plan(line: str | bytes) -> Plan:
    """A plan; raises StoreError on damaged text."""
    with _refusing("a plan"):
        text = line if isinstance(line, str) else line.decode()
        plan = Plan.from_json(text)
        if plan.to_json() != text:
            raise ValueError("not as it was written")
        return plan


def readable(data: bytes) -> bytes:
    """A stored value decompressed; one that is not compressed as it is."""
    if data[:1] == _DEFLATED:
        with suppress(zlib.error):
            return zlib.decompress(data[1:])
    return data


def readable_record(data: bytes) -> bytes:
    """A record with its message decompressed."""
    with _refusing("a turn"):
        message = 12 + struct.unpack_from("<I", data, 8)[0]
        return data[:message] + readable(data[message:])


def encode_name(name: str) -> bytes:
    """A user's name or id as bytes; it may hold NUL and lone surrogates."""
    return name.encode("utf-8", "surrogatepass")


def decode_name(name: bytes) -> str:
    """The inverse of `encode_name`."""
    return name.decode("utf-8", "surrogatepass")


def seal_blob(value: bytes) -> bytes:
    """Bytes with their hash in front."""
    return hashlib.sha256(value).digest()[:_SEAL] + value


def open_blob(data: bytes) -> bytes | None:
    """The inverse of `seal_blob`; None for damaged bytes, which are then made anew."""
    value = data[_SEAL:]
    return value if seal_blob(value) == data else None


def _pack(value: Json) -> bytes:
    line = dump_json(value).encode()
    if len(line) < _WORTH_DEFLATING:
        return _PLAIN + line
    return _DEFLATED + zlib.compress(line, 1)


def _unpack(data: bytes) -> Json:
    kind, line = data[:1], data[1:]
    if kind == _DEFLATED:
        line = zlib.decompress(line)
    elif kind != _PLAIN:
        raise ValueError("unknown encoding")
    return json.loads(line)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Whatever is wrong with stored bytes, say whose they are."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
        zlib.error,
    ) as error:
        raise StoreError(f"{what} in the store is damaged: {error}") from None


def _span(position: Json, role: Json, start: Json, stop: Json, begins: Json, ends: Json) -> Span:
    places = _whole(position), _ROLES[role], _whole(start), _whole(stop)
    return Span(*places, _flag(begins), _flag(ends))


def _pair(value: Json) -> tuple[int, int]:
    first, second = value
    return _whole(first), _whole(second)


def _strings(values: Json) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return tuple(map(_string, values))


def _string(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _whole(value: Json) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _pack_time(time: float | None) -> bytes:
    return struct.pack("<d", math.nan if time is None else time)


def _unpack_time(data: bytes) -> float | None:
    (time,) = struct.unpack_from("<d", data)
    return None if math.isnan(time) else time
