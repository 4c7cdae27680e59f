"""The cell reader: what stands in each cell of a page, read from its vision tokens at once.

It is no decoder: it writes nothing one after another and knows nothing of the cells around.
From the numbers that a token has for a cell it says which character that is. So it tells, in
the time of an encoding, how much of a page is still in its tokens: the fidelity of a tier.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.vision.places import CODES, TIERS
from optimem.vision.tower import Block, slots


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters that a reader knows.

    Attributes:
        narrow: those of one cell.
        wide: those of two.
    """

    narrow: str
    wide: str

    @property
    def opens(self) -> int:
        """The class of a cell in which a wide character begins; one of `narrow` comes before."""
        return len(self.narrow)

    @property
    def follows(self) -> int:
        """The class of a wide character's second cell."""
        return len(self.narrow) + 1


class CellReader(nn.Module):
    """Reads cells from vision tokens.

    Args:
        alphabet: what it can read.
        hidden: channels of a cell.
    """

    def __init__(self, alphabet: Alphabet, hidden: int = 256) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.enter = nn.ModuleDict({t.label: nn.Linear(slots(t).size, hidden) for t in TIERS})
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(2))
        self.norm = nn.LayerNorm(hidden)
        self.narrow = nn.Linear(hidden, len(alphabet.narrow) + 2)
        self.wide = nn.Linear(2 * hidden, len(alphabet.wide))

    def forward(self, tokens: Tensor, tier: Tier) -> Tensor:
        """Features of each cell (batch, 64, 128, hidden), of tokens (batch, n * n, 640)."""
        layout = slots(tier)
        room = layout.cells.shape[1] * layout.size
        codes = tokens[..., :CODES][..., :room].reshape(len(tokens), -1, layout.size)
        cells = codes[:, layout.slot.to(tokens.device)]  # (b, 64 * 128, d)
        return self.see(cells, tier).view(len(tokens), ROWS, COLUMNS, -1)

    def see(self, codes: Tensor, tier: Tier) -> Tensor:
        """Features of cells (…, hidden), of their codes (…, d)."""
        hidden = torch.relu(self.enter[tier.label](codes))
        for block in self.blocks:
            hidden = block(hidden)
        found: Tensor = self.norm(hidden)
        return found

    def wide_scores(self, cells: Tensor, where: Tensor) -> Tensor:
        """Scores of the wide characters that begin at (count, 3) places: page, row, column."""
        page, row, column = where.unbind(-1)
        second = (column + 1).clamp(max=COLUMNS - 1)
        found: Tensor = self.wide(
            torch.cat([cells[page, row, column], cells[page, row, second]], -1)
        )
        return found

    @torch.inference_mode()
    def read(self, tokens: Tensor, tier: Tier) -> list[tuple[str, ...]]:
        """The rows of each page of a batch, blanks at their ends dropped."""
        cells = self(tokens, tier)
        pages = self.narrow(cells).argmax(-1).tolist()  # (b, 64, 128)
        opens = [
            (page, number, column)
            for page, rows in enumerate(pages)
            for number, row in enumerate(rows)
            for column in self._pair(row)
        ]
        where = torch.tensor(opens, device=cells.device).view(-1, 3)
        best = self.wide_scores(cells, where).argmax(-1).tolist() if opens else []
        wide = iter(self.alphabet.wide[index] for index in best)
        signs = [*self.alphabet.narrow, None, ""]
        return [
            tuple(
                "".join(next(wide) if (sign := signs[c]) is None else sign for c in row).rstrip(" ")
                for row in rows
            )
            for rows in pages
        ]

    def _pair(self, row: list[int]) -> list[int]:
        """Columns in which a row's wide characters begin; its classes are put in pairs.

        A half without ink looks like a blank: a comma's second half, a bracket's first.
        """
        opens, follows = self.alphabet.opens, self.alphabet.follows
        found, column = [], 0
        while column < len(row) - 1:
            if row[column] == opens or (row[column] != follows and row[column + 1] == follows):
                row[column : column + 2] = [opens, follows]
                found.append(column)
                column += 1
            column += 1
        if row[-1] == opens:  # no room for its second half
            row[-1] = follows
        return found
