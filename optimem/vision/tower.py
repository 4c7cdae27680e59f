"""optimem-nano: a small optical codec whose encoder knows the page grid.

The positions, the splice and the decoder are DeepSeek-OCR's, in transformers' own code
(`unlimited_ocr`); in front of them stands a tower of our own. DeepSeek's patches are 16 px in
each mode, so that in most of them characters are cut, each in its own way, and a network must
have seen a great many to know them all. Renderer and encoder are made for each other here: the
tower cuts a page into its 128 x 64 cells whatever the mode, reads each by the same small
network, and lays the codes of the cells that stand on 64 x 64 px side by side: a vision token.

    page (side, side)  ->  cells (64, 128, h * w)  ->  codes (64, 128, d)  ->  tokens (n * n, 640)

A token has 512 numbers for its cells, shared evenly: 18 for each in Large, 16 in Base, 5 in
Small, 4 in Tiny, where a token stands for 128 characters. The other 128 say where on the page
it stands and in which mode (`places`), and give all tokens one length.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from optimem.errors import InputError
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.vision.places import CODES, FIELDS, LENGTH, TIERS, grid, token_places


@dataclass(frozen=True, slots=True)
class Slots:
    """Which cells of a page a mode's tokens hold, and where.

    Attributes:
        cells: for each slot of each token the number of its cell, row * 128 + column, or
            64 * 128 for a slot that stays empty: (n * n, slots).
        slot: for each cell the number of its slot, token * slots + slot: (64 * 128,).
        size: numbers for each cell.
    """

    cells: Tensor
    slot: Tensor
    size: int


@functools.cache
def slots(tier: Tier) -> Slots:
    """The slots of a mode."""
    places = grid(tier)
    token = places.rows[:, None] * places.side + places.columns[None, :]  # (64, 128)
    room = places.height * places.width
    within = places.down[:, None] * places.width + places.across[None, :]
    slot = (token * room + within).ravel()
    cells = np.full(places.side**2 * room, ROWS * COLUMNS)
    cells[slot] = np.arange(ROWS * COLUMNS)
    by_token = torch.from_numpy(cells.reshape(places.side**2, room))
    return Slots(by_token, torch.from_numpy(slot), places.size)


def find_tier(side: int) -> Tier:
    """The mode of an image of so many pixels a side; raises InputError."""
    for tier in TIERS:
        if tier.side == side:
            return tier
    raise InputError(f"optimem-nano sees images of {[t.side for t in TIERS]} px, not {side}")


class CellTower(nn.Module):
    """The encoder: pages of any mode in, vision tokens out.

    Args:
        hidden: channels of a cell.
        depth: residual blocks that each cell goes through.
    """

    def __init__(self, hidden: int = 256, depth: int = 2) -> None:
        super().__init__()
        self.enter = nn.ModuleDict(
            {t.label: nn.Linear(t.cell[0] * t.cell[1], hidden) for t in TIERS}
        )
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden)
        self.code = nn.ModuleDict({t.label: nn.Linear(hidden, slots(t).size) for t in TIERS})
        self.where = nn.ParameterDict(
            {t.label: nn.Parameter(token_places(t), requires_grad=False) for t in TIERS}
        )

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        """Tokens (batch, n * n, 640) of pixels (batch, 3, side, side) from -1 to 1.

        Raises:
            InputError: the image has no mode's size.
        """
        tier = find_tier(pixel_values.shape[-1])
        codes = self.codes(pixel_values[:, 0], tier)  # (b, 64 * 128, d)
        return BaseModelOutput(last_hidden_state=self.tokens(codes, tier))

    def codes(self, pixels: Tensor, tier: Tier) -> Tensor:
        """Codes between -1 and 1 of each cell: (batch, 64 * 128, d), of pages (batch, s, s)."""
        width, height = tier.cell
        cells = pixels.reshape(len(pixels), ROWS, height, COLUMNS, width).transpose(2, 3)
        return self.code_cells(cells.reshape(len(pixels), -1, height * width), tier)

    def code_cells(self, cells: Tensor, tier: Tier) -> Tensor:
        """Codes (…, d) of cells (…, h * w)."""
        hidden = torch.relu(self.enter[tier.label](cells))
        for block in self.blocks:
            hidden = block(hidden)
        found: Tensor = torch.tanh(self.code[tier.label](self.norm(hidden)))
        return found

    def tokens(self, codes: Tensor, tier: Tier) -> Tensor:
        """Codes of cells side by side, and where each token stands: (batch, n * n, 640)."""
        cells = slots(tier).cells.to(codes.device)
        padded = nn.functional.pad(codes, (0, 0, 0, 1))  # what an empty slot holds
        packed = padded[:, cells].flatten(2)  # (b, n * n, slots * d)
        packed = nn.functional.pad(packed, (0, CODES - packed.shape[-1]))
        where = self.where[tier.label].to(packed.dtype).expand(len(packed), -1, -1)
        tokens = torch.cat([packed, where], -1)
        lacking = LENGTH**2 - tokens.square().sum(-1, keepdim=True)  # (b, n * n, 1)
        tokens[..., FIELDS.rest] = (lacking.clamp(min=0) / len(FIELDS.rest)).sqrt()
        return tokens


class Block(nn.Module):
    """A residual block that sees one cell at a time."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.inner = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(self, cells: Tensor) -> Tensor:
        """The cells (…, hidden), told more of themselves."""
        found: Tensor = cells + self.inner(self.norm(cells))
        return found
