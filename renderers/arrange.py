"""What stands in each cell of a page, before the page has a size.

Most characters are glyphs of the atlas. Clusters and words that must be drawn as one are
pieces: they cover blank cells. Nothing here depends on a size; apart from the fonts that a
machine has for what no shipped font can draw, nothing depends on more than the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS
from optimem.renderers.atlas import PAPERS, Atlas, Codes, points
from optimem.renderers.clusters import STACKED, Piece
from optimem.renderers.typefaces import LATE, Typeface
from optimem.values import Page, Role

_BANDS: dict[Role, int] = {"user": 0, "assistant": 1, "tool": 2, "system": 3}
"""Which grey of the atlas stands behind whose words."""

# What may have to be reordered: the blocks of scripts that are written from the right. The
# last character of one, the mark that many files begin with, has no direction.
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]"
)


class Placement(NamedTuple):
    """A piece, and where on the page it stands."""

    row: int
    column: int
    band: int
    piece: Piece


class Arrangement(NamedTuple):
    """A page before it has a size.

    Attributes:
        codes: atlas codes of all cells, bands included, (64, 128); blank where a piece stands.
        pieces: what is drawn over them.
    """

    codes: Codes
    pieces: tuple[Placement, ...] = ()


def arrange_page(page: Page, atlas: Atlas, fonts: Sequence[Path] | None = ()) -> Arrangement:
    """Find what stands in each cell of a page.

    Args:
        page: the page.
        atlas: has its glyphs.
        fonts: files to try first for what no shipped font has; those of the environment
            and of fontconfig follow. None leaves hex boxes.
    """
    length = len(page.rows)
    cells = [row[:COLUMNS].ljust(COLUMNS) for row in page.rows]  # a last blank may be cut
    bands = _cell_bands(page)
    ascii_points = np.frombuffer("".join(cells).encode("ascii", "replace"), np.uint8)
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    np.add(atlas.ascii_codes.take(ascii_points).reshape(length, COLUMNS), bands, codes[:length])
    unusual = [number for number, row in enumerate(page.rows) if not row.isascii()]
    if not unusual:
        return Arrangement(codes)
    # In most of these rows, too, each character is a cell, and all are looked up at once.
    codepoints = points("".join([cells[number] for number in unusual])).reshape(-1, COLUMNS)
    codes[unusual] = atlas.codes(atlas.slots(codepoints), bands[unusual])
    plain = np.all(atlas.plain(codepoints), axis=1).tolist()
    # A row of more characters has some that take no cell, maybe behind those looked up.
    others = [
        number
        for number, fits in zip(unusual, plain, strict=True)
        if not fits or page.rows[number][COLUMNS:] not in ("", " ")
    ]
    if not others:
        return Arrangement(codes)
    wide = _Rows(page, others, atlas, fonts)
    for number, slots, papers in wide.rows(_character_bands(page)):
        spread = atlas.codes(slots, papers)[:COLUMNS]
        codes[number] = papers[-1]  # the band goes on to the edge
        codes[number, : len(spread)] = spread
    pieces = (
        Placement(row, column, int(codes[row, column]) % len(PAPERS), piece)
        for row, column, piece in wide.pieces
    )
    return Arrangement(codes, tuple(pieces))


class _Rows:
    """Rows of a page in which a character may not be a cell, measured together.

    Attributes:
        pieces: row, column and piece of whatever the atlas cannot draw cell by cell.
    """

    def __init__(
        self, page: Page, numbers: list[int], atlas: Atlas, fonts: Sequence[Path] | None
    ) -> None:
        self.pieces: list[tuple[int, int, Piece]] = []
        self._numbers = numbers
        starts = [0, *accumulate(map(len, page.rows))]
        self._starts = [starts[number] for number in self._numbers]  # in the page's text
        # No cluster crosses a blank.
        self._text = "".join(f"{page.rows[number]} " for number in self._numbers)
        self._ends = np.cumsum([len(page.rows[number]) + 1 for number in self._numbers]).tolist()
        self._cells = atlas.cells(self._text)
        self._sums = [0, *np.cumsum(self._cells, dtype=np.intp).tolist()]
        begins = [0, *self._ends[:-1]]
        offsets = np.repeat([self._sums[begin] for begin in begins], np.diff([0, *self._ends]))
        self._columns = np.array(self._sums[:-1], np.intp) - offsets
        self._levels = np.zeros(len(self._text), np.intp)
        shown = self._order(page) if _RIGHT_TO_LEFT.search(self._text) else self._text
        self._slots = atlas.slots(points(shown))
        self._turns = (np.flatnonzero(np.diff(self._levels)) + 1).tolist()
        boxes = np.flatnonzero(atlas.boxed(self._slots)).tolist()
        for start, stop, font in atlas.clusters(self._text):
            self._add(start, stop, None if font == STACKED else LATE[font])
        if fonts is not None and boxes:
            self._add_foreign(boxes, tuple(fonts))

    def rows(self, bands: Codes) -> Iterator[tuple[int, Codes, Codes]]:
        """Number of each row, and the slots and bands of its cells, from those of characters."""
        begin = 0
        for number, start, end in zip(self._numbers, self._starts, self._ends, strict=True):
            row = slice(begin, end - 1)
            paper = bands[start : start + end - 1 - begin]
            cells, columns, slots = self._cells[row], self._columns[row], self._slots[row]
            spread = np.zeros((2, int(cells.sum())), np.intp)
            for half in (0, 1):
                there = cells > half
                at = columns[there] + half
                spread[0, at] = np.where(slots[there] > 0, slots[there] + half, 0)
                spread[1, at] = paper[there]
            yield number, spread[0], spread[1]
            begin = end

    def _order(self, page: Page) -> str:
        """Reorder the rows that need it; returns all rows with their brackets turned."""
        from optimem.renderers.shaping import order_row

        turns = [span.start for span in page.spans]
        shown = []
        for number, start, end in zip(self._numbers, self._starts, self._ends, strict=True):
            row = page.rows[number]
            if _RIGHT_TO_LEFT.search(row):
                here = slice(end - 1 - len(row), end - 1)
                inside = [at - start for at in turns if start < at < start + len(row)]
                order = order_row(row, self._cells[here].tolist(), [0, *inside])
                self._columns[here], self._levels[here] = order.columns, order.levels
                row = order.shown
            shown.append(f"{row} ")
        return "".join(shown)

    def _add(self, start: int, stop: int, font: Typeface | None) -> None:
        """Add pieces for characters of one font, one for each direction of reading."""
        inside = self._turns[bisect_right(self._turns, start) : bisect_right(self._turns, stop - 1)]
        row = self._numbers[bisect_right(self._ends, start)]
        for begin, end in pairwise((start, *inside, stop)):
            rtl = bool(self._levels[begin] % 2)
            column = int(self._columns[end - 1 if rtl else begin])
            cells = self._sums[end] - self._sums[begin]
            self.pieces.append((row, column, Piece(self._text[begin:end], font, cells, rtl)))
        self._slots[start:stop] = 0

    def _add_foreign(self, boxes: list[int], fonts: tuple[Path, ...]) -> None:
        """Draw what fonts beyond the shipped ones have in place of its boxes."""
        from optimem.renderers.fontchain import font_chain

        find = font_chain(fonts).find
        found = [(at, font) for at in boxes if self._slots[at] and (font := find(self._text[at]))]
        # A stretch of one font is shaped as a whole.
        for _, run in groupby(enumerate(found), lambda item: (item[1][0] - item[0], item[1][1])):
            stretch = [entry for _, entry in run]
            self._add(stretch[0][0], stretch[-1][0] + 1, stretch[0][1])


def _cell_bands(page: Page) -> npt.NDArray[np.uint8]:
    """The band of each cell of a page's rows, as if all were ASCII: (rows, 128)."""
    ends = [*accumulate(map(len, page.rows))]
    starts = []  # the cell at which each span starts
    for span in page.spans:
        row = min(bisect_right(ends, span.start), len(ends) - 1)
        starts.append(row * COLUMNS + span.start - ends[row] + len(page.rows[row]))
    bands = np.empty(len(ends) * COLUMNS, np.uint8)
    for span, start, stop in zip(page.spans, starts, [*starts[1:], len(bands)], strict=True):
        bands[start:stop] = _BANDS[span.role]
    return bands.reshape(-1, COLUMNS)


def _character_bands(page: Page) -> Codes:
    """The band of each character of a page's text."""
    bands = np.zeros(len(page.text), np.intp)
    for span in page.spans:
        bands[span.start : span.stop] = _BANDS[span.role]
    return bands
