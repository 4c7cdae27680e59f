"""How values become bytes in a store, and back; every decoder refuses what it did not write."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

from optimem.errors import StoreError
from optimem.messages import parse
from optimem.modes import Tier
from optimem.stores.cipher import Cipher
from optimem.stores.jobs import Job
from optimem.stores.packing import DAMAGE, Dictionary, pack, unpack
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

_SEAL = 16  # bytes
_BLOB_HASH = 8  # bytes
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}


def turn_line(turn: Turn) -> bytes:
    """A turn's message as it came; id and time are kept beside it."""
    # Not escaped: Chinese would take twice the room.
    line = json.dumps(dict(turn.message), ensure_ascii=False, separators=(",", ":"))
    return encode_name(line)


def encode_turn(turn: Turn) -> bytes:
    """A turn's message, compressed."""
    return pack(turn_line(turn))


def decode_turn(
    data: bytes, id: str, time: float | None, earlier: Dictionary | None = None
) -> Turn:
    """The inverse of `encode_turn`; raises StoreError on damaged bytes."""
    with _refusing(f"turn {id!r}"):
        turn = parse(json.loads(unpack(data, earlier)), id=id, time=time)
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


def turn_digest(turn: Turn, digest: Callable[[bytes], bytes]) -> bytes:
    """Tells whether two turns have the same content, without their words."""
    line = json.dumps(dict(turn.message), separators=(",", ":"), sort_keys=True)
    return digest(line.encode())[:_SEAL]


def encode_record(time: float | None, id: bytes, body: bytes) -> bytes:
    """A whole turn in one piece: time (8 bytes), length of the id (4), id, body."""
    return _pack_time(time) + struct.pack("<I", len(id)) + id + body


def decode_record(data: bytes) -> tuple[float | None, bytes, bytes]:
    """The inverse of `encode_record`; raises StoreError on damaged bytes."""
    with _refusing("a turn"):
        time, length = _unpack_time(data), struct.unpack_from("<I", data, 8)[0]
        return time, data[12 : 12 + length], data[12 + length :]


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
    return pack(dump_json([page.rows, spans, marks, page.stop, page.style]).encode())


def decode_page(data: bytes, number: int) -> Page:
    """The inverse of `encode_page`; raises StoreError on damaged bytes."""
    with _refusing(f"page {number}"):
        rows, spans, marks, stop, style = json.loads(unpack(data))
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
        return _plan(line if isinstance(line, str) else line.decode())


@lru_cache(maxsize=64)  # each context reads the plans of its session again
def _plan(text: str) -> Plan:
    plan = Plan.from_json(text)
    if plan.to_json() != text:
        raise ValueError("not as it was written")
    return plan


def readable(data: bytes) -> bytes:
    """A stored value decompressed; one that is not compressed as it is."""
    with suppress(*DAMAGE, StoreError):
        return unpack(data)
    return data


def encode_name(name: str) -> bytes:
    """A user's name or id as bytes; it may hold NUL and lone surrogates."""
    return name.encode("utf-8", "surrogatepass")


def tombstone(turn_id: str) -> bytes:
    """What stays of a turn that was forgotten: a hash of its id, by which it is known again."""
    return hashlib.sha256(encode_name(turn_id)).digest()[:16]


def decode_name(name: bytes) -> str:
    """The inverse of `encode_name`; raises StoreError on damaged bytes."""
    with _refusing("a name"):
        return name.decode("utf-8", "surrogatepass")


def decode_job(fields: Sequence[Any], cipher: Cipher) -> Job:
    """Session, page and mode as a queue keeps them; raises StoreError on damaged ones."""
    with _refusing("a job"):
        sealed, page, mode = fields
        label = mode.decode() if isinstance(mode, bytes) else _string(mode)
        return Job(decode_name(cipher.open(sealed, b"session")), int(page), Tier.parse(label).label)


def seal_blob(value: bytes) -> bytes:
    """Bytes with their hash in front."""
    return hashlib.sha256(value).digest()[:_SEAL] + value


def blob_hash(value: bytes, digest: Callable[[bytes], bytes]) -> bytes:
    """Tells contents of blobs apart."""
    return digest(value)[:_BLOB_HASH]


def decode_blob_entry(line: bytes) -> bytes | None:
    """The hash in what Redis keeps of each blob (<size>#<hash>:<name>); None before there were."""
    with _refusing("the list of images"):
        told = line.partition(b":")[0].partition(b"#")[2]
        return bytes.fromhex(told.decode()) if told else None


def decode_place(line: bytes) -> int:
    """The position in what Redis keeps of each id (<position>:<digest>)."""
    with _refusing("a turn's id"):
        return int(line.partition(b":")[0])


def open_blob(data: bytes) -> bytes | None:
    """The inverse of `seal_blob`; None for damaged bytes, which are then made anew."""
    value = data[_SEAL:]
    return value if seal_blob(value) == data else None


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Whatever is wrong with stored bytes, say whose they are."""
    try:
        yield
    except (*DAMAGE, AttributeError, RecursionError, struct.error) as error:
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
