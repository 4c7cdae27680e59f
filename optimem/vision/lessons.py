"""What one step of training shows the codec, and how wrong it was.

Two lessons. `CellLesson`: cells, two by two, through the tower and the cell reader. It needs no
pages, since the tower sees each cell by itself. `LineLesson`: whole pages as vision tokens, lines
of them written by the decoder.

Half of what is shown are characters drawn at random, each as likely as any other. With real text
alone a network first learns how frequent letters are, and stays there: with random characters
nothing is to be had but by looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.atlas import PAPERS, Fade
from optimem.vision.drawing import Drawer
from optimem.vision.vocabulary import HALF, START, column_mark, row_mark

_ASCII = 95  # they come first in every alphabet
_NOISE = 0.02  # added to codes, so that rounding them to int8 costs nothing
_WIDE = 600  # pairs of a step on which the many wide characters are told apart


@dataclass(frozen=True, slots=True)
class Marks:
    """How a step went.

    Attributes:
        loss: what is made smaller.
        right: share of characters that were right.
        wide: the same for wide characters alone; None if there was none.
    """

    loss: Tensor
    right: float
    wide: float | None = None


def levels(pixels: Tensor) -> Tensor:
    """Pixels of 0 to 255 as the tower takes them: -1 to 1."""
    return pixels.float() / 127.5 - 1


class CellLesson:
    """Pairs of cells: is each of them read from its code?

    Args:
        model: the codec.
        drawer: draws its alphabet.
        grids: pages of real text, (count, 64, 128).
        pairs: how many are shown at once in each mode.
    """

    def __init__(self, model: Any, drawer: Drawer, grids: Tensor, pairs: int) -> None:
        self._model = model
        self._drawer = drawer
        self._grids = grids.view(-1, 2)  # (pairs, 2)
        self._share = max(pairs // 4, 1)

    def step(self, tier: Tier, fade: Fade) -> Marks:
        """One batch in a mode."""
        tower, reader = self._model.model.vision_tower, self._model.cells
        glyphs = self._sample()  # (pairs, 2)
        cells = levels(self._drawer.cells(glyphs, tier, fade)).flatten(2)  # (pairs, 2, h * w)
        codes = tower.code_cells(cells, tier)
        codes = codes + _NOISE * torch.randn_like(codes)
        seen = reader.see(codes, tier)  # (pairs, 2, hidden)
        scores = reader.narrow(seen)
        classes, wide = self._drawer.classes(glyphs)
        loss = functional.cross_entropy(scores.flatten(0, 1).float(), classes.flatten())
        right = (scores.argmax(-1) == classes).float().mean().item()
        whole = (wide[:, 0] >= 0).nonzero()[:_WIDE, 0]
        if not len(whole):
            return Marks(loss, right)
        scores = reader.wide(seen[whole].flatten(1))
        loss = loss + functional.cross_entropy(scores.float(), wide[whole, 0])
        told = (scores.argmax(-1) == wide[whole, 0]).float().mean().item()
        return Marks(loss, right, told)

    def _sample(self) -> Tensor:
        """Half of them wide characters, which are many, the others real text and narrow ones."""
        count, alphabet = self._share, self._drawer.alphabet
        device = self._grids.device
        narrow, wide = len(alphabet.narrow), len(alphabet.wide)
        real = self._grids[torch.randint(len(self._grids), (count,), device=device)].long()
        begins = narrow + torch.randint(wide, (2 * count, 1), device=device)
        made = torch.cat(
            [
                torch.randint(min(_ASCII, narrow), (count // 2, 2), device=device),
                torch.randint(narrow, (count // 2, 2), device=device),
                torch.cat([begins, begins + wide], 1),
            ]
        )
        papers = torch.randint(len(PAPERS), (len(made), 1), device=device)
        return torch.cat([real, made * len(PAPERS) + papers])


class LineLesson:
    """A page's vision tokens, and rows of it that the decoder reads cell by cell.

    Args:
        model: the codec; its tower stays as it is.
        drawer: draws its alphabet.
        tokenizer: its tokens.
        grids: pages of real text, (count, 64, 128).
        lines: how many lines of a page are written at once.
    """

    def __init__(
        self, model: Any, drawer: Drawer, tokenizer: Tokenizer, grids: Tensor, lines: int
    ) -> None:
        self._model = model
        self._drawer = drawer
        self._grids = grids
        self._lines = lines
        device = grids.device
        ids = tokenizer.get_vocab()
        alphabet = drawer.alphabet
        signs = [ids.get(sign, -1) for sign in alphabet.narrow + alphabet.wide]
        signs += [ids[HALF]] * len(alphabet.wide)
        self._signs = torch.tensor(signs, device=device)  # token of each glyph; -1 if it has none
        self._rows = torch.tensor([ids[row_mark(row)] for row in range(ROWS)], device=device)
        self._columns = torch.tensor(
            [ids[column_mark(column)] for column in range(COLUMNS)], device=device
        )
        self._start = ids[START]
        self._known = int(self._signs.max()) + 1  # what can stand in a line

    def step(self, tier: Tier, fade: Fade, *, random: bool) -> Marks:
        """Some lines of one page; of random characters, or of real text."""
        page = self._page(random)
        with torch.no_grad():
            pixels = levels(self._drawer.draw(page, tier, fade)).expand(-1, 3, -1, -1)
            seen = self._model.get_image_features(pixels, return_dict=True).pooler_output[0]
        rows = torch.randperm(ROWS, device=page.device)[: self._lines]
        ids, wanted = self._ask(page[0, rows], rows)  # (lines, 1 + 128)
        embed, decoder = self._model.get_input_embeddings(), self._model.model.language_model
        begin = embed(torch.tensor([[self._start]], device=page.device))
        prompt = torch.cat([begin, seen[None].to(begin.dtype)], 1)  # (1, 1 + positions, 640)
        past = decoder(inputs_embeds=prompt, use_cache=True).past_key_values
        past.batch_repeat_interleave(len(rows))  # every row stands behind the same page
        states = decoder(inputs_embeds=embed(ids), past_key_values=past).last_hidden_state
        states = states.flatten(0, 1)
        asked = wanted.flatten() >= 0
        scores = states[asked] @ embed.weight[: self._known].T
        answers = wanted.flatten()[asked]
        loss = functional.cross_entropy(scores.float(), answers)
        return Marks(loss, (scores.argmax(-1) == answers).float().mean().item())

    def _page(self, random: bool) -> Tensor:
        if not random:
            return self._grids[torch.randint(len(self._grids), (1,))].long()
        device = self._grids.device
        page = torch.randint(_ASCII, (1, ROWS, COLUMNS), device=device) * len(PAPERS)
        return page + torch.randint(len(PAPERS), (1, ROWS, 1), device=device)

    def _ask(self, lines: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Marks that ask for rows, and what stands at each, or -1: (lines, 1 + 128) both."""
        begins = self._rows[rows][:, None]
        ids = torch.cat([begins, self._columns.expand(len(lines), -1)], 1)
        answers = self._signs[lines // len(PAPERS)]
        return ids, torch.cat([torch.full_like(begins, -1), answers], 1)
