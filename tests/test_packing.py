"""Compression gives back what it was given, and says so when it cannot."""

from __future__ import annotations

import contextlib
import json
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import StoreError
from optimem.messages import parse
from optimem.stores.codec import decode_turn, turn_line
from optimem.stores.packing import DAMAGE, Dictionary, earlier_dictionary, pack, shipped, unpack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TRANSCRIPTS = Path(__file__).parent / "transcripts"
LINES = [
    b'{"role":"user","content":"ticket %d is open, says Ada"}' % number for number in range(99)
]
OWN = Dictionary(zstd.train_dict(LINES, 8 << 10).dict_content)


def packed_before(line: bytes) -> bytes:
    """As versions did that gave a session a dictionary of its own."""
    return b"d" + zstd.compress(line, zstd_dict=OWN.prepared)


@given(st.binary(max_size=600))
def test_everything_comes_back(line: bytes) -> None:
    packed = pack(line)
    assert unpack(packed) == unpack(packed, OWN) == line
    assert len(packed) <= len(line) + 1
    assert earlier_dictionary(packed) == 0


@given(
    st.binary(max_size=90),
    st.sampled_from([b"", b"j", b"z", b"s", b"d", b"s(\xb5/\xfd", b"d(\xb5/\xfd"]),
)
def test_random_bytes_are_refused(tail: bytes, head: bytes) -> None:
    earlier_dictionary(head + tail)
    try:
        unpack(head + tail)
    except (*DAMAGE, StoreError):
        return
    assert head + tail[:1] != head or head in (b"j", b"")


def test_what_was_written_before_is_read() -> None:
    assert unpack(b"z" + zlib.compress(LINES[0], 1)) == LINES[0]
    assert unpack(b"s" + zstd.compress(LINES[0])) == LINES[0]
    assert unpack(packed_before(LINES[0]), OWN) == LINES[0]
    assert earlier_dictionary(packed_before(LINES[0])) == OWN.id


def test_a_dictionary_that_is_not_there_is_named() -> None:
    with pytest.raises(StoreError, match=rf"needs dictionary {OWN.id}, .*pip install -U optimem"):
        unpack(packed_before(LINES[0]))
    with pytest.raises(StoreError, match=f"needs dictionary {OWN.id}"):
        decode_turn(packed_before(LINES[0]), "id", None, shipped())


def test_a_frame_without_a_dictionary_is_damaged() -> None:
    with pytest.raises(DAMAGE):
        unpack(b"d" + zstd.compress(LINES[0]))


def test_a_changed_byte_is_noticed() -> None:
    line = b" ".join(b"words of every kind %d" % (number * 7919) for number in range(40))
    packed = pack(line)
    for at in range(len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with contextlib.suppress(*DAMAGE, StoreError):
            assert unpack(damaged) == line  # some bits of a frame's header mean nothing
        with pytest.raises(DAMAGE):
            unpack(packed[:at])


@pytest.mark.parametrize(
    ("kind", "most"), [("coding", 33), ("memory", 54), ("tool_calls", 38), ("zh", 46)]
)
def test_turns_that_the_dictionary_was_not_made_of_get_smaller(kind: str, most: int) -> None:
    raw = stored = 0
    for path in TRANSCRIPTS.glob(f"{kind}*.json"):
        for message in json.loads(path.read_text("utf-8"))["messages"]:
            raw += len(json.dumps(message, separators=(",", ":")))
            stored += len(pack(turn_line(parse(message))))
    assert 100 * stored / raw < most
