"""Deflate's codes (RFC 1951): lengths of codes become codes, and a block's header.

Codes are written from their last bit on, as deflate reads them, so that a number may hold
several, the first in its lowest bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

END = 256
"""The symbol behind a block's last one."""

LITERALS = 286  # bytes, END, and the lengths of copies
DISTANCES = 30
_LONGEST = 15  # bits of a code
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

_FAR = np.arange(4, DISTANCES)
DISTANCE_BITS = np.r_[0, 0, 0, 0, _FAR // 2 - 1]
DISTANCE_FIRST = np.r_[1, 2, 3, 4, ((2 + _FAR % 2) << DISTANCE_BITS[4:]) + 1]
"""The first distance of each symbol; bits behind the code are added to it."""

LENGTH_BITS = np.r_[0, 0, 0, 0, np.repeat(np.arange(6), 4), 0]
LENGTH_FIRST = np.r_[3, 3 + np.cumsum(1 << LENGTH_BITS[:-2]), 258]
"""The first length of a copy for each symbol behind END."""


def code_lengths(counts: Sequence[int] | Numbers, longest: int = _LONGEST) -> list[int]:
    """Bits that each symbol's code takes so that all together take few; 0 for a count of 0.

    Args:
        counts: how often each symbol occurs.
        longest: how long a code may be. Rare symbols are counted as less rare until the
            codes are no longer than that.
    """
    counts = [int(count) for count in counts]
    floor = 1
    while True:
        lengths = _lengths([max(count, floor) if count else 0 for count in counts])
        if max(lengths) <= longest:
            return lengths
        floor *= 2


def canonical_codes(lengths: Sequence[int]) -> Numbers:
    """The canonical codes of given lengths, their first bit the lowest; 0 where there is none."""
    found = np.zeros(len(lengths), np.int64)
    code = 0
    for bits in range(1, _LONGEST + 1):
        code <<= 1
        for symbol in [at for at, length in enumerate(lengths) if length == bits]:
            found[symbol] = int(f"{code:0{bits}b}"[::-1], 2)
            code += 1
    return found


def block_header(literals: Sequence[int], distances: Sequence[int]) -> tuple[int, int]:
    """What a last block with its own codes begins with: its bits as a number, and how many."""
    runs = _runs([*literals, *distances])
    own = code_lengths(np.bincount([symbol for symbol, *_ in runs], minlength=19), 7)
    written = [own[symbol] for symbol in _ORDER]
    while not written[-1]:
        written.pop()
    fields = [(1, 1), (2, 2), (len(literals) - 257, 5), (len(distances) - 1, 5)]
    fields += [(len(written) - 4, 4), *((length, 3) for length in written)]
    table = canonical_codes(own)
    for symbol, more, bits in runs:
        fields += [(int(table[symbol]), own[symbol]), (more, bits)]
    value = size = 0
    for number, bits in fields:
        value |= number << size
        size += bits
    return value, size


def _lengths(counts: list[int]) -> list[int]:
    """Huffman's lengths; a single symbol gets one bit."""
    heap: list[tuple[int, int, tuple[int, ...]]]
    heap = [(count, at, (at,)) for at, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (low, _, left), (high, at, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (low + high, at, left + right))
    return lengths


def _runs(lengths: list[int]) -> list[tuple[int, int, int]]:
    """Lengths as deflate writes them: symbol, and a number with its bits behind it."""
    found: list[tuple[int, int, int]] = []
    for length, group in groupby(lengths):
        count = len(list(group))
        if length:
            found.append((length, 0, 0))
            count -= 1
        while count >= 3:
            most = min(count, 138 if not length else 6)
            if length:
                found.append((16, most - 3, 2))
            elif most < 11:
                found.append((17, most - 3, 3))
            else:
                found.append((18, most - 11, 7))
            count -= most
        found += [(length, 0, 0)] * count
    return found
