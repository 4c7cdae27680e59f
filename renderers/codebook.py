"""The codes in which the lines of a page's pieces are written: see `deflate`.

Each size has a book of codes, which `build_codes` has learnt. A piece's line is a row of
tokens: its bytes, and copies of the byte in front of them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from optimem.renderers.huffman import (
    DISTANCE_BITS,
    DISTANCE_FIRST,
    END,
    LENGTH_BITS,
    LENGTH_FIRST,
    canonical_codes,
)
from optimem.renderers.typefaces import FOLDER, Cell

Bits = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

CODES_FILE = FOLDER / "codes.npz"
NOTHING = 256  # a token: the byte is part of a copy
UP = 2  # PNG's filter: a line as differences to the one above

_SHORTEST, _LONGEST = 3, 258  # bytes of a copy


class CodeBook(NamedTuple):
    """How a size is coded.

    Attributes:
        filters: PNG's filter of each of a cell's lines, 0 or `UP`; the first has 0, since
            the line above it belongs to other glyphs.
        literals: bits of the code of each byte, of END, and of each length of a copy.
        distances: the same of each distance.
    """

    filters: Bytes
    literals: Bytes
    distances: Bytes


class Code(NamedTuple):
    """Bits, the first the lowest, and how many; an array of each for many codes."""

    bits: Bits
    length: npt.NDArray[np.integer[Any]]


@functools.cache
def shipped_book(cell: Cell) -> CodeBook:
    """The code book of a size."""
    with np.load(CODES_FILE, allow_pickle=False) as file:
        return CodeBook(*(file[f"{cell[0]}x{cell[1]}-{name}"] for name in CodeBook._fields))


def filtered(lines: Bytes, filters: Bytes) -> Bytes:
    """Lines of cells or pieces, (..., height, bytes), as their filters leave them."""
    found = lines.copy()
    found[..., 1:, :] -= np.where(filters[1:, None] == UP, lines[..., :-1, :], 0)
    return found


def token_numbers(lines: Bytes) -> npt.NDArray[np.intp]:
    """What stands for each byte of pieces' lines, (..., width): a number of `tokens`.

    A byte stands for itself, but that three or more which follow their like are a copy.
    """
    same = lines[..., 1:] == lines[..., :-1]
    follow = np.zeros(lines.shape, np.intp)  # how many of the same byte come next
    for at in range(lines.shape[-1] - 2, -1, -1):
        follow[..., at] = np.where(same[..., at], follow[..., at + 1] + 1, 0)
    found = lines.astype(np.intp)
    covered = np.zeros(lines.shape[:-1], np.bool_)
    for at in range(1, lines.shape[-1]):
        before = covered & same[..., at - 1]
        begins = same[..., at - 1] & ~covered & (follow[..., at - 1] >= _SHORTEST)
        found[..., at] = np.where(before, NOTHING, found[..., at])
        found[..., at] = np.where(begins, NOTHING + follow[..., at - 1], found[..., at])
        covered = before | begins
    return found


def literal_codes(book: CodeBook) -> Code:
    """The codes of bytes, END and lengths."""
    lengths = book.literals.astype(np.int64)
    return Code(canonical_codes(lengths.tolist()).astype(np.uint64), lengths)


def tokens(book: CodeBook, width: int) -> Code:
    """The codes of what `token_numbers` gives: bytes, nothing, copies of 1 to width bytes."""
    literals = literal_codes(book)
    bits, lengths = np.zeros((2, NOTHING + width), np.uint64)
    bits[:NOTHING], lengths[:NOTHING] = literals.bits[:NOTHING], literals.length[:NOTHING]
    for size in range(_SHORTEST, width):
        bits[NOTHING + size], lengths[NOTHING + size] = copy_codes(book, size, 1)
    return Code(bits, lengths)


def copy_codes(book: CodeBook, size: int, distances: npt.ArrayLike) -> Code:
    """The codes of copies of so many bytes from some distances."""
    at = int(np.searchsorted(LENGTH_FIRST, size, side="right")) - 1
    literals = literal_codes(book)
    bits, length = int(literals.bits[END + 1 + at]), int(literals.length[END + 1 + at])
    bits |= (size - int(LENGTH_FIRST[at])) << length
    length += int(LENGTH_BITS[at])
    far = np.asarray(distances)
    near = np.searchsorted(DISTANCE_FIRST, far, side="right") - 1
    own = book.distances.astype(np.int64)[near]
    found = bits | canonical_codes(book.distances.tolist())[near] << length
    found |= (far - DISTANCE_FIRST[near]) << (length + own)
    return Code(found.astype(np.uint64), length + own + DISTANCE_BITS[near])


def filling_code(book: CodeBook, size: int) -> Code:
    """The code of so many bytes like the one before: a copy after another."""
    bits = length = 0
    for part in filling_parts(size):
        code = copy_codes(book, part, 1)
        bits |= int(code.bits) << length
        length += int(code.length)
    return Code(np.array(bits, np.uint64), np.array(length))


def filling_parts(size: int) -> list[int]:
    """The sizes of those copies; for no page's line is the last too short for one."""
    return [_LONGEST] * (size // _LONGEST) + [size % _LONGEST]
