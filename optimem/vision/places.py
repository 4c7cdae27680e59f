"""Places in binary: how tokens say where they stand, and marks what they ask for.

A vision token says its row and its column among its mode's tokens as bits, +1 or -1, and leaves
the bits of other modes 0. The mark of a page's row or column knows nothing of modes: it says for
each of them in which row or column of tokens it lies, and in which one within that token. So a
mark and the token that it means agree in all bits, and others disagree in one at least.

The numbers stand behind a token's codes, in 128 fields of which some are the decoder's own:

    token rows | mark rows | columns | rows in a token | columns in a token | modes | kinds | room
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optimem.modes import COLUMNS, ROWS, Tier

CODES = 512
"""Numbers of a vision token that are codes of its cells."""
WHERE = 128
"""Numbers that say where it stands."""
WIDTH = CODES + WHERE
TIERS = (Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
"""The modes that the codec sees; Gundam is Large and Base, one behind the other."""
LONGEST = 18
"""The most numbers that a cell's code has, in any mode."""
LENGTH = 18.5
"""Euclidean length of each vision token."""

_PX = 64  # a token a side


@dataclass(frozen=True, slots=True)
class Grid:
    """How a mode's tokens share a page's cells: a cell belongs to the token under its centre.

    Attributes:
        side: tokens in a row, and rows of them.
        rows: the row of tokens in which each of the page's rows lies: (64,).
        columns: the same for columns: (128,).
        down: the row within its token of each row: (64,).
        across: the column within its token of each column: (128,).
        size: numbers for each cell.
    """

    side: int
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    down: npt.NDArray[np.intp]
    across: npt.NDArray[np.intp]

    @property
    def height(self) -> int:
        """The most rows in a token."""
        return int(self.down.max()) + 1

    @property
    def width(self) -> int:
        """The most columns in a token."""
        return int(self.across.max()) + 1

    @property
    def size(self) -> int:
        """Numbers for each cell."""
        return CODES // (self.height * self.width)


@functools.cache
def grid(tier: Tier) -> Grid:
    """The grid of a mode."""
    side = tier.side // _PX  # numpy, since models are also built where tensors hold nothing
    rows = (2 * np.arange(ROWS) + 1) * side // (2 * ROWS)
    columns = (2 * np.arange(COLUMNS) + 1) * side // (2 * COLUMNS)
    down = np.arange(ROWS) - np.searchsorted(rows, rows)
    across = np.arange(COLUMNS) - np.searchsorted(columns, columns)
    return Grid(side, rows, columns, down, across)


def _bits_for(count: int) -> int:
    return (count - 1).bit_length()


class Fields:
    """Where in a token's or a mark's numbers each thing stands."""

    def __init__(self) -> None:
        self._next = CODES
        sides = {tier: _bits_for(grid(tier).side) for tier in TIERS}
        self.token_rows = self._take(sides)
        self.mark_rows = self._take(sides)
        self.columns = self._take(sides)
        self.down = self._take({tier: _bits_for(grid(tier).height) for tier in TIERS})
        self.across = self._take({tier: _bits_for(grid(tier).width) for tier in TIERS})
        self.modes = {tier: self._one() for tier in TIERS}
        self.is_row, self.is_column = self._one(), self._one()
        self.code = [self._one() for _ in range(LONGEST)]  # of the cell that a mark means
        self.last_code = [self._one() for _ in range(LONGEST)]  # of the one before it
        self.rest = [*self.code, *self.last_code, *range(self._next, WIDTH)]
        """Of a token's: what gives all tokens one length. A mark keeps codes in some of them."""

    def _one(self) -> int:
        self._next += 1
        return self._next - 1

    def _take(self, lengths: Mapping[Tier, int]) -> dict[Tier, list[int]]:
        return {tier: [self._one() for _ in range(length)] for tier, length in lengths.items()}


FIELDS = Fields()


def token_places(tier: Tier) -> Tensor:
    """What a mode's tokens say of where they stand: (n * n, 128)."""
    side = grid(tier).side
    found = torch.zeros(side, side, WIDTH)
    number = torch.arange(side)
    found[..., FIELDS.token_rows[tier]] = bits(number, FIELDS.token_rows[tier])[:, None]
    found[..., FIELDS.columns[tier]] = bits(number, FIELDS.columns[tier])[None]
    found[..., FIELDS.modes[tier]] = 1
    return found[..., CODES:].reshape(side * side, WHERE)


def row_places() -> Tensor:
    """What the marks of rows say: (64, 640)."""
    found = torch.zeros(ROWS, WIDTH)
    for tier in TIERS:
        places = grid(tier)
        for fields, numbers in (
            (FIELDS.mark_rows[tier], places.rows),
            (FIELDS.down[tier], places.down),
        ):
            found[:, fields] = bits(torch.from_numpy(numbers), fields)
    found[:, FIELDS.is_row] = 1
    return found


def column_places() -> Tensor:
    """What the marks of columns say: (128, 640)."""
    found = torch.zeros(COLUMNS, WIDTH)
    for tier in TIERS:
        places = grid(tier)
        for fields, numbers in (
            (FIELDS.columns[tier], places.columns),
            (FIELDS.across[tier], places.across),
        ):
            found[:, fields] = bits(torch.from_numpy(numbers), fields)
    found[:, FIELDS.is_column] = 1
    return found


def slots_within(tier: Tier) -> Iterator[tuple[int, Tensor]]:
    """Each slot of a mode's tokens, by number, and the fields that a mark for it has: (640,)."""
    places, number = grid(tier), 0
    for down in range(places.height):
        for across in range(places.width):
            wanted = torch.zeros(WIDTH)
            wanted[FIELDS.down[tier]] = bits(torch.tensor(down), FIELDS.down[tier])
            wanted[FIELDS.across[tier]] = bits(torch.tensor(across), FIELDS.across[tier])
            yield number, wanted
            number += 1


def bits(numbers: Tensor, fields: list[int]) -> Tensor:
    """Numbers in binary, as many bits as there are fields, +1 and -1: (…, bits)."""
    return 2.0 * ((numbers[..., None] >> torch.arange(len(fields))) & 1) - 1
