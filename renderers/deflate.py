"""A page's deflate stream, put together from pieces that were coded before.

A compressor reads half a million bytes to find out what the glyph codes say already: which
pixels come again. Here two neighbouring cells are a piece, a whole number of bytes at every
size. Each line of pixels of a piece is coded once, with codes that are fixed for the size
(`build_codes`), and kept. A page is the bits of its pieces in a row, but that a piece

* which goes on with the last byte in front of it is a copy of that byte, and
* which stands on the page already, not far above, is a copy of that where this is shorter:
  where it stands is looked up once for all its lines.

The bytes depend on the page and this module alone: no zlib takes part.
"""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.atlas import Atlas, Codes
from optimem.renderers.codebook import (
    Bits,
    Bytes,
    Code,
    CodeBook,
    Numbers,
    copy_codes,
    filling_code,
    filtered,
    literal_codes,
    shipped_book,
    token_numbers,
    tokens,
)
from optimem.renderers.huffman import END, block_header
from optimem.renderers.scanlines import pack

Places = npt.NDArray[np.int16]  # (64, 64): where a page's pieces are kept

_Number = TypeVar("_Number", bound=np.unsignedinteger[Any])

_ZLIB = b"\x78\x01"
_MODULUS = 65521  # of the checksum, Adler-32
_WINDOW = 32768  # a copy reaches back this far
_PIECES = COLUMNS // 2  # in a line
_AT = 12  # bits of a piece's number on the page
_NUMBERS = 1 << 10  # distinct cells that pieces are kept of
_KEPT = 1 << 14  # pieces that are kept: four pages of which no two are alike
_NONE = np.uint64(0)
_WORD = np.uint64(64)  # bits of a number
_TOO_LONG = 255  # bits: longer than any copy's


class Kept(NamedTuple):
    """Pieces that were coded, at the index that `places` says; index 0 is none.

    Attributes:
        places: (_NUMBERS * _NUMBERS,): by the numbers of two cells; 0 where not coded.
        bits, lengths: (_KEPT, height): each line's code. Of one that is too long for a
            number these are the bits of its first half,
        halves: (_KEPT, height, 2): which has so many, and the bits of its second half.
        last: (_KEPT, height): each line's last byte, and 256 more if others differ from it.
        sums: (3, _KEPT): what the checksum takes of it.
    """

    places: npt.NDArray[np.int16]
    bits: Bits
    lengths: Bytes
    halves: Bits
    last: npt.NDArray[np.uint16]
    sums: Numbers


class PageDeflater:
    """Deflates native pages of one size whose glyphs the atlas stores.

    Safe to share between threads.

    Args:
        atlas: has the glyphs.
        tier: the size.
        book: how it is coded; None takes the shipped one.
    """

    def __init__(self, atlas: Atlas, tier: Tier, book: CodeBook | None = None) -> None:
        self._table = atlas.table(tier)
        self._width, self._height = tier.cell  # of a cell in pixels; a piece has as many bytes
        line = 1 + _PIECES * self._width
        self._book = book = shipped_book(tier.cell) if book is None else book
        self._tokens = tokens(book, self._width)
        header, self._begin = block_header(book.literals.tolist(), book.distances.tolist())
        self._header = np.frombuffer(header.to_bytes(-(-self._begin // 64) * 8, "little"), "<u8")
        # Where each piece's first line starts, and how a copy of as many bytes is coded.
        rows, columns = np.arange(ROWS) * self._height * line, np.arange(_PIECES) * self._width
        self._starts = rows[:, None] + columns + 1
        bits, lengths = copy_codes(book, self._width, np.arange(_WINDOW + 1))
        lengths[0] = _TOO_LONG  # there is nothing to copy
        self.copies = Code(bits, lengths.astype(np.uint8))
        repeat = copy_codes(book, self._width, 1)
        self._repeat = Code(repeat.bits, repeat.length.astype(np.uint8))
        self._filling = filling_code(book, (_PIECES - 1) * self._width)
        bits, lengths = literal_codes(book)
        self._filters = Code(bits[book.filters], lengths[book.filters])
        self._end = Code(bits[END], lengths[END])
        # The checksum of the filters, to which that of the pieces is added.
        self._line, size = line, ROWS * self._height * line
        filters = np.tile(book.filters.astype(np.int64), ROWS)
        self._behind = size - self._starts.ravel()
        self._sums = 1 + int(filters.sum()), size + int(filters @ np.arange(size, 0, -line))
        self._lock = threading.Lock()
        self._forget()

    def stream(self, cells: Codes) -> bytes | None:
        """A page as a zlib stream of PNG lines of 16 greys.

        Args:
            cells: the page's codes, (64, 128), all of glyphs that the atlas stores.

        Returns:
            None if the page has more distinct cells than are kept.
        """
        found = self.look_up(cells)
        if found is None:
            return None
        places, kept = found
        lengths, bits = self._lines(places, kept)
        return _ZLIB + self._joined(lengths, bits, places, kept) + self._checksum(places, kept)

    def look_up(self, cells: Codes) -> tuple[Places, Kept] | None:
        """Where the pieces of a page are kept, (64, 64), and in what; None as `stream` says."""
        with self._lock:
            places = self._look_up(cells)
            return None if places is None else (places, self._kept)

    def _look_up(self, cells: Codes) -> Places | None:
        """The same, once for each try; pieces that are new are coded."""
        numbers = self._numbers.take(cells)
        if not numbers.all():
            new = np.unique(cells[numbers == 0])
            if self._count + len(new) > _NUMBERS:
                if len(np.unique(cells)) >= _NUMBERS:
                    return None
                self._forget()
                return self._look_up(cells)
            self._cells[self._count : self._count + len(new)] = new
            self._numbers[new] = np.arange(self._count, self._count + len(new))
            self._count += len(new)
            numbers = self._numbers.take(cells)
        pairs = numbers[:, ::2].astype(np.intp) * _NUMBERS + numbers[:, 1::2]
        places = self._kept.places.take(pairs)
        if not places.all():
            missing = np.unique(pairs[places == 0])
            if self._coded + len(missing) > _KEPT:
                self._forget()
                return self._look_up(cells)
            self._code(missing)
            places = self._kept.places.take(pairs)
        return places

    def _code(self, pairs: Codes) -> None:
        """Code pieces and keep them; each is its cells' numbers, the left one times _NUMBERS."""
        lines = self.lines(self._cells[np.stack(np.divmod(pairs, _NUMBERS), axis=1)])
        at = slice(self._coded, self._coded + len(pairs))
        kept = self._kept
        symbols, half = token_numbers(lines), self._width // 2
        first = self._coded_tokens(symbols[..., :half])
        second = self._coded_tokens(symbols[..., half:])
        kept.lengths[at] = whole = first.length + second.length
        kept.bits[at] = first.bits
        kept.bits[at] |= np.where(whole > _WORD, 0, second.bits << first.length)
        kept.halves[at] = np.stack([first.length, second.bits], axis=-1)
        uniform = (lines == lines[..., -1:]).all(axis=-1)
        kept.last[at] = lines[..., -1] + np.where(uniform, 0, 256).astype(np.uint16)
        values = lines.astype(np.int64)
        sums = values.sum(axis=-1)
        kept.sums[0, at] = sums.sum(axis=1)
        kept.sums[1, at] = sums @ np.arange(self._height)
        kept.sums[2, at] = values.sum(axis=1) @ np.arange(self._width)
        kept.places[pairs] = np.arange(at.start, at.stop)
        self._coded += len(pairs)

    def _coded_tokens(self, symbols: npt.NDArray[np.intp]) -> Code:
        """The code of tokens behind one another along the last axis."""
        lengths = self._tokens.length[symbols]
        ends = np.cumsum(lengths, axis=-1, dtype=np.uint64)
        shifted = self._tokens.bits[symbols] << (ends - lengths)
        return Code(np.bitwise_or.reduce(shifted, axis=-1), ends[..., -1])

    def lines(self, cells: Codes) -> Bytes:
        """The filtered bytes of pieces, (n, height, width), from their cells' codes, (n, 2)."""
        pixels = self._table[cells].view(np.uint8)  # (n, 2, h * w)
        pixels = pixels.reshape(-1, 2, self._height, self._width).swapaxes(1, 2)
        pixels = pixels.reshape(-1, self._height, 2 * self._width)
        return filtered(pack(pixels), self._book.filters)

    def _lines(self, places: Places, kept: Kept) -> tuple[Bytes, Bits]:
        """The code of each filter and piece in order, and of the end: lengths, and bits.

        Of a piece whose code is too long for a number these are the bits of its first half.
        """
        shape = ROWS, self._height, 1 + _PIECES
        size = math.prod(shape) + 1
        lengths, bits = np.empty(size, np.uint8), np.empty(size, np.uint64)
        all_lengths, all_bits = lengths[:-1].reshape(shape), bits[:-1].reshape(shape)
        all_bits[:, :, 0], all_lengths[:, :, 0] = self._filters
        shortest = self._shortest(places, kept)
        all_bits[:, :, 1:] = shortest.bits.swapaxes(0, 1)
        all_lengths[:, :, 1:] = shortest.length.swapaxes(0, 1)
        bits[-1], lengths[-1] = self._end
        return lengths, bits

    def _shortest(self, places: Places, kept: Kept) -> Code:
        """The shortest code of each piece, line by line of the cells: (height, 64, 64)."""
        copied = self.distances(places)
        on = self.goes_on(places, kept)
        own = _by_line(kept.lengths, places)
        far = self.copies.length.take(copied, mode="clip")
        lengths = np.where(on, self._repeat.length, np.minimum(own, far))
        far_bits = self.copies.bits.take(copied, mode="clip")
        bits = np.where(far < own, far_bits, _by_line(kept.bits, places))
        bits = np.where(on, self._repeat.bits, bits)
        even = on[:, :, 1:].all(axis=2)  # lines of one byte: the rest is one copy after another
        bits[even, 1], lengths[even, 1] = self._filling
        bits[even, 2:], lengths[even, 2:] = 0, 0
        return Code(bits, lengths)

    def goes_on(self, places: Places, kept: Kept) -> npt.NDArray[np.bool_]:
        """Which pieces are all like the byte in front of them: (height, 64, 64)."""
        last = _by_line(kept.last, places).reshape(self._height, -1)
        on = np.zeros(last.shape, np.bool_)
        np.equal(last[:, 1:], last[:, :-1] & 255, out=on[:, 1:])
        on[:, ::_PIECES] = False  # a filter stands in front
        return on.reshape(-1, *places.shape)

    def distances(self, places: Places) -> Codes:
        """How many bytes before each piece the same one stands; 0 if beyond reach: (64, 64)."""
        keys = places.astype(np.int32).ravel() << _AT | np.arange(1 << _AT, dtype=np.int32)
        keys.sort()
        again = keys[1:] >> _AT == keys[:-1] >> _AT
        at = keys & (1 << _AT) - 1
        later, earlier = at[1:][again], at[:-1][again]
        found = np.zeros(1 << _AT, np.intp)
        found[later] = self._starts.take(later) - self._starts.take(earlier)
        found[found > _WINDOW] = 0
        return found.reshape(places.shape)

    def _joined(self, lengths: Bytes, bits: Bits, places: Places, kept: Kept) -> bytes:
        """Put codes behind the header and one another."""
        ends = np.cumsum(lengths, dtype=np.int32)
        ends += self._begin
        begins = ends - lengths
        words = begins >> 6
        shifts = (begins & 63).astype(np.uint64)
        # Sums stand for the codes that begin in a word: no two of them share a bit.
        sums = np.cumsum(bits << shifts)
        last = np.append(np.flatnonzero(words[1:] != words[:-1]), len(words) - 1)
        at, sums = words.take(last, mode="clip").astype(np.intp), sums.take(last, mode="clip")
        found, over = np.zeros((2, (int(ends[-1]) >> 6) + 2), np.uint64)
        found[at] = np.diff(sums, prepend=_NONE)
        over[at + 1] = bits.take(last, mode="clip") >> (_WORD - shifts.take(last, mode="clip"))
        found |= over
        found[: len(self._header)] |= self._header
        long = np.flatnonzero(lengths > int(_WORD))
        if long.size:
            line, piece = np.divmod(long, 1 + _PIECES)
            row, line = np.divmod(line, self._height)
            halves = kept.halves[places[row, piece - 1], line]
            begins = begins[long] + halves[:, 0].astype(np.int32)
            words, shifts = begins >> 6, (begins & 63).astype(np.uint64)
            np.add.at(found, words, halves[:, 1] << shifts)
            np.add.at(found, words + 1, halves[:, 1] >> (_WORD - shifts))
        return found.astype("<u8", copy=False).tobytes()[: -(-int(ends[-1]) // 8)]

    def _checksum(self, places: Places, kept: Kept) -> bytes:
        """Adler-32 of the page, from what each piece adds."""
        whole, lines, within = kept.sums.take(places.ravel(), axis=1, mode="clip")
        behind = int(self._behind @ whole) - self._line * int(lines.sum()) - int(within.sum())
        low, high = int(whole.sum()) + self._sums[0], behind + self._sums[1]
        return (high % _MODULUS << 16 | low % _MODULUS).to_bytes(4, "big")

    def _forget(self) -> None:
        """Begin to keep pieces anew."""
        self._numbers = np.zeros(len(self._table), np.int16)
        self._cells = np.zeros(_NUMBERS, np.intp)
        self._count: int = 1
        self._coded: int = 1
        self._kept: Kept = Kept(
            places=np.zeros(_NUMBERS * _NUMBERS, np.int16),
            bits=np.zeros((_KEPT, self._height), np.uint64),
            lengths=np.zeros((_KEPT, self._height), np.uint8),
            halves=np.zeros((_KEPT, self._height, 2), np.uint64),
            last=np.zeros((_KEPT, self._height), np.uint16),
            sums=np.zeros((3, _KEPT), np.int64),
        )


def _by_line(table: npt.NDArray[_Number], places: Places) -> npt.NDArray[_Number]:
    """A page's entries of a table (n, height): (height, 64, 64)."""
    entries = table.take(places.ravel(), axis=0, mode="clip")
    return np.ascontiguousarray(entries.T).reshape(-1, *places.shape)
