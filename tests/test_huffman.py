"""Deflate's codes: what zlib reads is what was written."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.renderers.huffman import (
    DISTANCE_BITS,
    DISTANCE_FIRST,
    DISTANCES,
    END,
    LENGTH_BITS,
    LENGTH_FIRST,
    LITERALS,
    block_header,
    canonical_codes,
    code_lengths,
)

counts = st.lists(st.integers(0, 1000), min_size=1, max_size=300).filter(any)


def as_bytes(value: int, size: int) -> bytes:
    return value.to_bytes(-(-size // 8), "little")


@given(counts, st.integers(9, 15))
def test_codes_are_complete_and_no_longer_than_asked(counts: list[int], longest: int) -> None:
    lengths = code_lengths(counts, longest)
    assert [bool(length) for length in lengths] == [bool(count) for count in counts]
    assert max(lengths) <= longest
    room = sum(2 ** (longest - length) for length in lengths if length)
    assert room == 2**longest or (sum(map(bool, counts)) == 1 and room == 2 ** (longest - 1))


@given(counts)
def test_rarer_symbols_have_no_shorter_codes(counts: list[int]) -> None:
    used = [(count, length) for count, length in zip(counts, code_lengths(counts), strict=True)]
    ranked = [length for count, length in sorted(used, key=lambda each: -each[0]) if count]
    assert ranked == sorted(ranked) or len(set(counts)) < len(counts)


def test_no_code_begins_with_another() -> None:
    lengths = code_lengths([5, 1, 1, 2, 0, 9, 3])
    written = [
        f"{code:0{length}b}"[::-1]
        for code, length in zip(canonical_codes(lengths), lengths, strict=True)
        if length
    ]
    assert len(set(written)) == 6
    assert not any(a != b and b.startswith(a) for a in written for b in written)


@given(st.lists(st.integers(0, 9), min_size=LITERALS, max_size=LITERALS), st.binary(max_size=300))
def test_zlib_reads_what_such_a_block_holds(counts: list[int], data: bytes) -> None:
    literals = code_lengths([max(count, at <= END) for at, count in enumerate(counts)])
    value, size = block_header(literals, code_lengths([1] * DISTANCES))
    codes = canonical_codes(literals)
    for symbol in [*data, END]:
        value |= int(codes[symbol]) << size
        size += literals[symbol]
    assert zlib.decompress(as_bytes(value, size), -15) == data


@pytest.mark.parametrize("length", [*range(3, 30), 130, 131, 257, 258])
@pytest.mark.parametrize("distance", [1, 2, 5, 513, 8192, 24577, 32768])
def test_zlib_copies_what_the_tables_say(length: int, distance: int) -> None:
    literals, distances = code_lengths([1] * LITERALS), code_lengths([1] * DISTANCES)
    value, size = block_header(literals, distances)
    history = bytes(at * 7 % 251 for at in range(distance))
    codes = canonical_codes(literals)
    fields = [(int(codes[byte]), literals[byte]) for byte in history]
    at = max(at for at, first in enumerate(LENGTH_FIRST) if first <= length)
    near = max(near for near, first in enumerate(DISTANCE_FIRST) if first <= distance)
    fields.append((int(codes[END + 1 + at]), literals[END + 1 + at]))
    fields.append((length - int(LENGTH_FIRST[at]), int(LENGTH_BITS[at])))
    fields.append((int(canonical_codes(distances)[near]), distances[near]))
    fields.append((distance - int(DISTANCE_FIRST[near]), int(DISTANCE_BITS[near])))
    fields.append((int(codes[END]), literals[END]))
    pieces = [f"{value:0{size}b}"[::-1], *(f"{n:0{bits}b}"[::-1] for n, bits in fields if bits)]
    bits = "".join(pieces)
    copied = (history * (length // distance + 1))[:length]
    assert zlib.decompress(as_bytes(int(bits[::-1], 2), len(bits)), -15) == history + copied
