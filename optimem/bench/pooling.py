"""The baseline without pictures: characters averaged into as many vectors as a page has positions.

A text of P positions' worth is cut into P stretches. Each character of a stretch, told where in
it it stands, goes through a small network; their mean is one vector, as wide as a vision token.
Another small network says of each place of the stretch which character stood there. It is trained
on the spot, on pages of the packaged texts and of random characters, as the codec was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from optimem.modes import COLUMNS, ROWS
from optimem.values import Page
from optimem.vision.places import WIDTH

_SIGNS = "".join(map(chr, range(32, 127)))  # what else a text has counts as one further sign
_BATCH = 64  # stretches


class Pooling(nn.Module):
    """Averages stretches of characters, and reads them again.

    Args:
        length: characters of a stretch.
        hidden: channels of the networks.
    """

    def __init__(self, length: int, hidden: int = 512) -> None:
        super().__init__()
        self.signs = nn.Embedding(len(_SIGNS) + 1, hidden)
        self.places = nn.Embedding(length, hidden)
        self.inner = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, WIDTH))
        self.asks = nn.Embedding(length, WIDTH)
        self.outer = nn.Sequential(
            nn.Linear(WIDTH, hidden), nn.GELU(), nn.Linear(hidden, len(_SIGNS) + 1)
        )

    def forward(self, stretches: Tensor) -> Tensor:
        """Scores (batch, length, signs) of the characters of stretches (batch, length)."""
        seen = self.inner(self.signs(stretches) * self.places.weight)
        pooled = seen.mean(1, keepdim=True)  # (b, 1, 640)
        found: Tensor = self.outer(pooled * (1 + self.asks.weight))
        return found


def pooled_accuracy(
    lessons: Sequence[Page], pages: Sequence[Page], positions: int, seconds: float
) -> float:
    """Percentage of characters read from mean-pooled vectors, at so many positions a page.

    Args:
        lessons: pages to learn from.
        pages: pages to read.
        positions: vectors for each page.
        seconds: how long to learn.
    """
    torch.manual_seed(0)
    length = -(-ROWS * COLUMNS // positions)
    model = Pooling(length)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    text = torch.cat([_numbers(page) for page in lessons])
    start = time.monotonic()
    while (spent := time.monotonic() - start) < seconds:
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - spent / seconds)
        at = torch.randint(len(text) - length, (_BATCH,))
        real = text[at[:, None] + torch.arange(length)]
        made = torch.randint(len(_SIGNS), (_BATCH // 2, length))
        batch = torch.cat([real, made])
        scores = model(batch).flatten(0, 1)
        optimizer.zero_grad()
        functional.cross_entropy(scores, batch.flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right = count = 0
    with torch.inference_mode():
        for page in pages:
            numbers = _numbers(page)
            padded = functional.pad(numbers, (0, -len(numbers) % length))
            read = model(padded.view(-1, length)).argmax(-1).flatten()[: len(numbers)]
            right += int((read == numbers).sum())
            count += len(numbers)
    return round(100 * right / count, 2)


def cut_accuracy(pages: Sequence[Page], tokens: Sequence[int], positions: int) -> float:
    """Percentage of characters that are left if a text is cut off behind so many tokens.

    Args:
        pages: the pages.
        tokens: how many tokens each page is as text.
        positions: how many may stay.
    """
    kept = sum(min(1.0, positions / max(count, 1)) for count in tokens)
    return round(100 * kept / max(len(pages), 1), 2)


def _numbers(page: Page) -> Tensor:
    """The characters of a page's rows as numbers of signs."""
    text = "".join(row.ljust(COLUMNS)[:COLUMNS] for row in page.rows)
    found = [_SIGNS.find(char) for char in text]
    return torch.tensor([number if number >= 0 else len(_SIGNS) for number in found])
