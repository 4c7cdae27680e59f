"""Pages drawn where the model is: a gather from a table of cells, so that training never waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.atlas import PAPERS, Atlas, Fade, load_atlas, points
from optimem.vision.cells import Alphabet


class Drawer:
    """Draws pages of an alphabet's characters.

    A page is a grid of glyphs, (64, 128): `narrow[i]` is glyph i; the first half of `wide[j]`
    is glyph `len(narrow) + j`, its second half `len(narrow) + len(wide) + j`.

    Args:
        alphabet: the characters.
        device: where pages are drawn.
    """

    def __init__(self, alphabet: Alphabet, device: torch.device | str = "cpu") -> None:
        self.alphabet = alphabet
        self.device = device
        self._atlas: Atlas = load_atlas()
        narrow = self._atlas.slots(points(alphabet.narrow))
        wide = self._atlas.slots(points(alphabet.wide))
        self._slots = np.concatenate([narrow, wide, wide + 1])  # of each glyph
        self._glyphs = np.full(int(self._slots.max()) + 1, -1, np.int32)
        self._glyphs[self._slots] = np.arange(len(self._slots), dtype=np.int32)
        self._tables: dict[tuple[Tier, Fade], Tensor] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def glyphs(self, codes: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """Glyphs and papers (glyph * 4 + paper) of an atlas' codes; -1 beyond the alphabet."""
        slots, papers = np.divmod(codes, len(PAPERS))
        known = slots < len(self._glyphs)
        glyphs = np.where(known, self._glyphs[np.where(known, slots, 0)], -1)
        return np.where(glyphs < 0, -1, glyphs * len(PAPERS) + papers).astype(np.int32)

    def classes(self, glyphs: Tensor) -> tuple[Tensor, Tensor]:
        """What the cell reader shall say of pairs of cells (count, 2) of glyphs on papers.

        Returns:
            The class of each cell (count, 2); and in the first column the wide character
            that a pair is, -1 if it is none (count, 2).
        """
        found = glyphs // len(PAPERS)
        narrow, wide = len(self.alphabet.narrow), len(self.alphabet.wide)
        opens, follows = self.alphabet.opens, self.alphabet.follows
        classes = torch.where(found < narrow + wide, opens, follows)
        classes = torch.where(found < narrow, found, classes)
        whole = (classes[:, 0] == opens) & (found[:, 1] == found[:, 0] + wide)
        return classes, torch.where(whole[:, None], found - narrow, -1)

    def cells(self, glyphs: Tensor, tier: Tier, fade: Fade = "native") -> Tensor:
        """Pixels (…, h, w), uint8, of cells (…) of glyphs on papers."""
        return self._table(tier, fade)[glyphs]

    def draw(self, pages: Tensor, tier: Tier, fade: Fade = "native") -> Tensor:
        """Pixels (batch, 1, side, side), uint8, of pages (batch, 64, 128) of glyphs on papers."""
        width, height = tier.cell
        cells = self.cells(pages, tier, fade)  # (b, 64, 128, h, w)
        return cells.transpose(2, 3).reshape(len(pages), 1, ROWS * height, COLUMNS * width)

    def _table(self, tier: Tier, fade: Fade) -> Tensor:
        """Cells (glyphs * 4, h, w), drawn by the atlas itself."""
        table = self._tables.get((tier, fade))
        if table is None:
            width, height = tier.cell
            codes = self._atlas.codes(np.repeat(self._slots, len(PAPERS)), 0)
            codes += np.tile(np.arange(len(PAPERS)), len(self._slots))
            room = -len(codes) % (ROWS * COLUMNS)
            grids = np.pad(codes, (0, room)).reshape(-1, ROWS, COLUMNS)
            parts: list[npt.NDArray[Any]] = []
            for grid in grids:
                page = self._atlas.raster(grid, tier, fade)
                cells = page.reshape(ROWS, height, COLUMNS, width).swapaxes(1, 2)
                parts.append(cells.reshape(-1, height, width))
            made = np.concatenate(parts)[: len(codes)]
            table = self._tables[tier, fade] = torch.from_numpy(made).to(self.device)
        return table
