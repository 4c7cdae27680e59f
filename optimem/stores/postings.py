"""The search index as bytes: where each term stands, eight bytes a posting.

One format for every home, so that all of them rank alike. A term's postings are kept in
blocks of `BLOCK` turns: an append touches the last block alone, and a reader joins them.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimem.errors import StoreError

BLOCK = 1 << 13  # turns
POSTING = np.dtype([("position", "<u4"), ("count", "<u2"), ("length", "<u2")])
"""Position of the turn, how often the term stands in one stretch of it, and how many
terms that stretch has."""

_pack = struct.Struct("<IHH").pack
_MOST = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Postings:
    """What a run of turns adds to a search index, or takes from it.

    Attributes:
        by_term: the packed postings of each term, in the order of the turns.
        documents: how many stretches of text there are.
        terms: how many terms they have together.
    """

    by_term: Mapping[str, bytes]
    documents: int
    terms: int


def index_stretches(stretches: Iterable[tuple[int, list[str]]]) -> Postings:
    """The postings of (position, terms) pairs, one for each stretch of text, in order."""
    by_term: defaultdict[str, bytearray] = defaultdict(bytearray)
    documents = total = 0
    for position, terms in stretches:
        length = min(len(terms), _MOST)
        for term, count in Counter(terms).items():
            by_term[term] += _pack(position, min(count, _MOST), length)
        documents += 1
        total += len(terms)
    return Postings({term: bytes(data) for term, data in by_term.items()}, documents, total)


def decode_postings(data: bytes) -> NDArray[np.void]:
    """Packed postings as an array of `POSTING`; raises StoreError on damaged bytes."""
    if len(data) % POSTING.itemsize:
        raise StoreError("the search index in the store is damaged: a posting is cut short")
    return np.frombuffer(data, POSTING)


def without(data: bytes, positions: Set[int]) -> bytes:
    """Packed postings without those of some turns."""
    found = decode_postings(data)
    gone = np.fromiter(positions, np.uint32, len(positions))
    return found[~np.isin(found["position"], gone)].tobytes()
