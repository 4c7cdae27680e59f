"""Compression gives back what it was given, and says so when it cannot."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.stores.packing import DAMAGE, Dictionary, dictionary_of, pack, unpack

LINES = [
    b'{"role":"user","content":"ticket %d is open, says Ada"}' % number for number in range(99)
]


def trained() -> Dictionary:
    made = Dictionary.train(LINES)
    assert made is not None
    return made


DICTIONARY = trained()


@given(st.binary(max_size=600), st.booleans())
def test_everything_comes_back(line: bytes, learned: bool) -> None:
    dictionary = DICTIONARY if learned else None
    packed = pack(line, dictionary)
    assert unpack(packed, Dictionary(DICTIONARY.data)) == line
    assert dictionary_of(packed) in (0, DICTIONARY.id)


@given(st.binary(max_size=90), st.sampled_from([b"", b"j", b"z", b"s", b"d", b"s(\xb5/\xfd"]))
def test_random_bytes_are_refused(tail: bytes, head: bytes) -> None:
    dictionary_of(head + tail)
    try:
        unpack(head + tail, DICTIONARY)
    except DAMAGE:
        return
    assert head + tail[:1] != head or head in (b"j", b"")


def test_a_dictionary_pays() -> None:
    line = b'{"role":"user","content":"ticket 5000 is open, says Ada"}'
    assert len(pack(line, DICTIONARY)) < len(pack(line)) - 20


def test_the_same_turns_make_the_same_dictionary() -> None:
    assert trained() == DICTIONARY
    assert trained().id == DICTIONARY.id != 0


def test_too_few_turns_make_none() -> None:
    assert Dictionary.train([]) is None
    assert Dictionary.train([b"one"]) is None


def test_another_dictionary_does_not_do() -> None:
    packed = pack(LINES[0], DICTIONARY)
    other = Dictionary.train(
        [b"something else entirely, number %d" % number for number in range(99)]
    )
    for wrong in (None, other):
        with pytest.raises(DAMAGE):
            unpack(packed, wrong)


@pytest.mark.parametrize("dictionary", [None, DICTIONARY])
def test_a_changed_byte_is_noticed(dictionary: Dictionary | None) -> None:
    line = b" ".join(b"words of every kind %d" % (number * 7919) for number in range(40))
    packed = pack(line, dictionary)
    for at in range(len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with contextlib.suppress(*DAMAGE):
            assert unpack(damaged, dictionary) == line  # some bits of a frame's header mean nothing
        with pytest.raises(DAMAGE):
            unpack(packed[:at], dictionary)


def test_what_was_written_before_zstd_is_read() -> None:
    assert unpack(b"z" + zlib.compress(LINES[0], 1)) == LINES[0]
