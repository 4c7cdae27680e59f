"""The search index as bytes: where each term stands, eight bytes a posting.

One format for every home, so that all of them rank alike. A term's postings are kept in
blocks of `BLOCK` turns: an append touches the last block alone, and a reader joins them.
"""

from __future__ import annotations

import struct
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


def index_stretches(stretches: Iterable[tuple[int, Mapping[str, int]]]) -> Postings:
    """The postings of (position, how often each term occurs), one for each stretch of text."""
    by_term: dict[str, bytes] = {}
    documents = total = 0
    for position, counts in stretches:
        terms = sum(counts.values())
        length = min(terms, _MOST)
        once = _pack(position, 1, length)
        for term, count in counts.items():
            data = once if count == 1 else _pack(position, min(count, _MOST), length)
            by_term[term] = by_term[term] + data if term in by_term else data
        documents += 1
        total += terms
    return Postings(by_term, documents, total)


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
