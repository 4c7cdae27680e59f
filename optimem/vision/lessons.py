"""What one step of training shows the codec, and how wrong it was.

Two lessons, both of cells, two by two, since the tower sees each cell by itself. `CellLesson`
goes through the tower and the cell reader, `CharacterLesson` through the decoder's last layers.

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

from optimem.modes import Tier
from optimem.renderers.atlas import PAPERS, Fade
from optimem.vision.drawing import Drawer
from optimem.vision.places import FIELDS, column_places, row_places
from optimem.vision.vocabulary import HALF
from optimem.vision.wiring import FIRST_READING

_ASCII = 95  # they come first in every alphabet
_NOISE = 0.02  # added to codes, so that rounding them to int8 costs nothing
_AT_ONCE = 8192  # cells that are encoded at once
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


class CharacterLesson:
    """What the decoder learns: which character a code means, and the code before it.

    Everything else of the decoder is written down (`wiring`), so that what its last layers are
    given is known without asking the others, and thousands of characters cost what a line would.

    Args:
        model: the codec; its tower stays as it is.
        drawer: draws its alphabet.
        tokenizer: its tokens.
        grids: pages of real text, (count, 64, 128).
        pairs: how many pairs of cells are shown at once in each mode.
    """

    def __init__(
        self, model: Any, drawer: Drawer, tokenizer: Tokenizer, grids: Tensor, pairs: int
    ) -> None:
        self._model = model
        self._drawer = drawer
        self._grids = grids.view(-1, 2)
        self._share = max(pairs // 4, 1)
        self._codes: dict[tuple[Tier, Fade], Tensor] = {}
        alphabet, ids, device = drawer.alphabet, tokenizer.get_vocab(), grids.device
        half = [ids[HALF]] * len(alphabet.wide)
        signs = [ids[sign] for sign in alphabet.narrow] + half
        signs += [ids.get(sign, -1) for sign in alphabet.wide]
        self._signs = torch.tensor(signs, device=device)  # what to say of each glyph; -1: nothing
        known = torch.tensor([sign in ids for sign in alphabet.wide], device=device)
        self._wide = len(alphabet.narrow) + known.nonzero()[:, 0]
        self._marks = (row_places()[:, None] + column_places()[None]).flatten(0, 1).to(device)
        self._marks[:, FIELDS.is_row] = 0

    def step(self, tier: Tier, fade: Fade) -> Marks:
        """One batch in a mode."""
        glyphs = self._sample()  # (pairs, 2)
        table = self._table(tier, fade)
        codes = table[glyphs]  # (pairs, 2, d)
        codes = codes + _NOISE * torch.randn_like(codes)
        before = torch.stack([table[glyphs[:, 1].roll(1)], codes[:, 0]], 1)
        states = self._states(tier, codes.flatten(0, 1), before.flatten(0, 1))
        wanted = self._signs[glyphs.flatten() // len(PAPERS)]
        states, wanted = states[wanted >= 0], wanted[wanted >= 0]
        words = self._model.get_input_embeddings().weight[: int(self._signs.max()) + 1]
        scores = self._read(states) @ words.T
        found = scores.argmax(-1) == wanted
        loss = functional.cross_entropy(scores.float(), wanted)
        wide = wanted > self._signs[: len(self._drawer.alphabet.narrow)].max()
        told = found[wide].float().mean().item() if wide.any() else None
        return Marks(loss, found.float().mean().item(), told)

    def _states(self, tier: Tier, codes: Tensor, before: Tensor) -> Tensor:
        """Marks that have found their token, as the third layer's MLP meets them: (…, 640)."""
        places = torch.randint(len(self._marks), (len(codes),), device=codes.device)
        states = self._marks[places]
        size = codes.shape[-1]
        states[:, FIELDS.modes[tier]] = 1
        states[:, FIELDS.code[:size]] = codes * _near(codes)
        states[:, FIELDS.last_code[:size]] = before * _near(before)
        return states

    def _read(self, states: Tensor) -> Tensor:
        decoder = self._model.model.language_model
        for layer in decoder.layers[FIRST_READING:]:
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        found: Tensor = decoder.norm(states)
        return found

    def _table(self, tier: Tier, fade: Fade) -> Tensor:
        """Codes of every glyph on every paper: (glyphs * papers, d)."""
        if (tier, fade) not in self._codes:
            tower, device = self._model.model.vision_tower, self._grids.device
            every = torch.arange(len(self._drawer) * len(PAPERS), device=device)
            with torch.no_grad():
                codes = [
                    tower.code_cells(
                        levels(self._drawer.cells(some, tier, fade)).flatten(1), tier
                    ).float()
                    for some in torch.split(every, _AT_ONCE)
                ]
            self._codes[tier, fade] = torch.cat(codes)
        return self._codes[tier, fade]

    def _sample(self) -> Tensor:
        """Real text, random characters, and half of all wide ones, which are many."""
        count, alphabet = self._share, self._drawer.alphabet
        device, narrow = self._grids.device, len(alphabet.narrow)
        real = self._grids[torch.randint(len(self._grids), (count,), device=device)].long()
        made = [
            torch.randint(min(_ASCII, narrow), (count // 2, 2), device=device),
            torch.randint(narrow, (count // 2, 2), device=device),
        ]
        if len(self._wide):
            begins = self._wide[torch.randint(len(self._wide), (2 * count, 1), device=device)]
            made.append(torch.cat([begins, begins + len(alphabet.wide)], 1))
        glyphs = torch.cat(made)
        papers = torch.randint(len(PAPERS), (len(glyphs), 1), device=device)
        return torch.cat([real, glyphs * len(PAPERS) + papers])


def _near(codes: Tensor) -> Tensor:
    """Lengths that differ a little from code to code, as the layers before leave them."""
    return 0.98 + 0.1 * (torch.rand_like(codes[:, :1]) - 0.5)
