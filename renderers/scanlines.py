"""A native page as the lines of a PNG of 16 greys, drawn two pixels a byte from the start.

Most cells are gathered from a table of the atlas' stored glyphs that are packed and filtered
already. The few others, late glyphs, hex boxes and pieces, are drawn, packed and put over
them one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.arrange import Arrangement
from optimem.renderers.atlas import PAPERS, Atlas, Codes, Pixels, element, gather, on_paper
from optimem.renderers.codebook import Bytes, filtered, shipped_book
from optimem.renderers.typefaces import Cell

# Of the 8,192 cells of a page. From twice as many on, drawing pixels and packing them all takes
# as long, and its files are smaller.
_MOST_SINGLES = 1024


def packs(arrangement: Arrangement, atlas: Atlas, tier: Tier) -> bool:
    """Whether a page is best drawn so: whole bytes in each cell, and hardly any cell by itself."""
    singles = len(arrangement.pieces)
    if not atlas.stored(arrangement.codes):
        singles += int(np.count_nonzero(arrangement.codes >= atlas.stored_codes))
    return tier.cell[0] % 2 == 0 and singles <= _MOST_SINGLES


def scan_lines(
    codes: Codes, atlas: Atlas, tier: Tier, pieces: Iterable[tuple[int, int, Pixels]] = ()
) -> Bytes:
    """Draw a page as lines of a PNG.

    Args:
        codes: as for `Atlas.raster`.
        atlas: has the glyphs.
        tier: the mode, one of whole bytes in each cell.
        pieces: row, column and grey pixels of what is drawn over the cells.

    Returns:
        (side, 1 + side / 2): of each line its filter, and its pixels, two in a byte.
    """
    table, filters = _packed_table(atlas, tier.cell)
    width, height = tier.cell
    line = 1 + tier.side // 2
    lines = np.empty((ROWS, height, line), np.uint8)
    lines[..., 0] = filters
    # The cells of a line stand behind its filter, so none of them is aligned.
    steps = height * line, line, width // 2
    cells = np.ndarray((ROWS, height, COLUMNS), table.dtype, lines, 1, steps)
    gather(table, codes, cells)
    if not atlas.stored(codes):
        rows, columns = np.nonzero(codes >= len(table))
        drawn = filtered(pack(atlas.draw(codes[rows, columns], tier)), filters)
        cells[rows, :, columns] = drawn.view(table.dtype)[..., 0]
    for row, column, pixels in pieces:
        piece = filtered(pack(pixels), filters)
        cells[row, :, column : column + pixels.shape[1] // width] = piece.view(table.dtype)
    return lines.reshape(tier.side, line)


def pack(pixels: Pixels) -> Bytes:
    """Put two pixels, multiples of 17, into each byte: (..., width) to (..., width / 2)."""
    packed: Bytes = pixels[..., ::2] & np.uint8(0xF0) | pixels[..., 1::2] & np.uint8(0x0F)
    return packed


@functools.cache
def _packed_table(atlas: Atlas, cell: Cell) -> tuple[npt.NDArray[Any], Bytes]:
    """Entries of the stored slots on each paper, as `Atlas.table` has them; and the filters."""
    filters = shipped_book(cell).filters
    if cell == Tier.TINY.cell:  # they save nothing there, and slow zlib by a fifth
        filters = np.zeros_like(filters)
    pairs = _PAIRS_ON_PAPER[:, atlas.pairs(cell)].swapaxes(0, 1)  # (n, 4, h * w / 2)
    entries = filtered(pairs.reshape(-1, cell[1], cell[0] // 2), filters)
    return entries.view(element(cell[0] // 2))[..., 0], filters


# Two inks in a byte to two pixels in a byte, on each paper. (4, 256)
_INKS = np.stack(np.divmod(np.arange(256), 16), axis=-1).astype(np.uint8)
_PAIRS_ON_PAPER = np.stack([pack(on_paper(_INKS, band))[:, 0] for band in range(len(PAPERS))])
