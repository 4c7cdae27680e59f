"""Rows of pages, read by the codec's decoder from spliced vision tokens.

Every row stands behind the same page and none sees another, and at each column's mark the
decoder says what stands there: one pass over the page, some rows at a time. See `vocabulary`.
In a context of many pages the marks of a row stand behind all of it, and see one of its pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from optimem.errors import InputError
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.atlas import load_atlas, points
from optimem.vision.cells import Alphabet
from optimem.vision.inputs import ModelInputs
from optimem.vision.vocabulary import HALF, START, column_mark, row_mark

if TYPE_CHECKING:
    from optimem.vision.reader import LocalReader

_AT_ONCE = 16  # rows, so that memory stays small
_BEGINNING = 24  # columns that are read of each row
_ALIKE = 0.2  # share of a key's characters that may have been misread
_VIEW = (Tier.BASE.side // 64) * (Tier.BASE.side // 64 + 1) + 1  # positions


class Pages:
    """Pages in a decoder's past, to be asked for rows.

    Args:
        model: optimem-nano.
        tokenizer: its tokenizer.
        inputs: the prompt with its vision tokens, (1, length, 640).
    """

    def __init__(self, model: Any, tokenizer: Any, inputs: Tensor) -> None:
        self._model = model
        self._ids = tokenizer.get_vocab()
        alphabet = Alphabet(**model.config.alphabet)
        words = [sign for sign in alphabet.narrow + alphabet.wide if sign in self._ids]
        self._signs = {self._ids[sign]: sign for sign in words} | {self._ids[HALF]: ""}
        self._known = torch.tensor(sorted(self._signs), device=model.device)
        self._length = inputs.shape[1]
        with torch.inference_mode():
            decoder = model.model.language_model
            self._past = decoder(inputs_embeds=inputs, use_cache=True).past_key_values

    @torch.inference_mode()
    def read(
        self, start: int, stop: int, rows: Sequence[int], columns: int = COLUMNS
    ) -> Iterator[str]:
        """What the decoder reads in rows of the page at these positions, blanks at ends dropped.

        Args:
            start: the first position of the page's vision tokens.
            stop: the position behind the last.
            rows: numbers of rows, from 0.
            columns: how many columns of each are read.
        """
        embed, decoder = self._model.get_input_embeddings(), self._model.model.language_model
        start = max(start, stop - _VIEW) if stop - start > _VIEW * 2 else start  # Gundam's view
        seen = DynamicCache()
        for number, layer in enumerate(self._past.layers):
            seen.update(layer.keys[:, :, start:stop], layer.values[:, :, start:stop], number)
        marks = [self._ids[column_mark(column)] for column in range(columns)]
        device = self._model.device
        positions = self._length + torch.arange(1 + columns, device=device)[None]
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            past = deepcopy(seen)
            past.batch_repeat_interleave(len(some))
            asked = [[self._ids[row_mark(row)], *marks] for row in some]
            states = decoder(
                inputs_embeds=embed(torch.tensor(asked, device=device)),
                past_key_values=past,
                position_ids=positions.expand(len(some), -1),
            ).last_hidden_state
            scores = states[:, 1:] @ embed.weight[self._known].T  # (rows, columns, signs)
            for row in self._known[scores.argmax(-1)].tolist():
                yield "".join(map(self._signs.__getitem__, row)).rstrip(" ")


def read_rows(model: Any, tokenizer: Any, page: Tensor, rows: Sequence[int]) -> list[str]:
    """What the decoder reads in rows of a page by itself.

    Args:
        model: optimem-nano.
        tokenizer: its tokenizer.
        page: the page's vision tokens with newlines and separator, (positions, 640).
        rows: numbers of rows, from 0.
    """
    embed = model.get_input_embeddings()
    begin = embed(torch.tensor([[tokenizer.get_vocab()[START]]], device=model.device))
    pages = Pages(model, tokenizer, torch.cat([begin, page[None].to(begin)], 1))
    return list(pages.read(1, 1 + len(page), rows))


class LineFinder:
    """Finds rows on the pages of a context by how they begin.

    The decoder reads how each row of each page begins, once, and then the row that is most like
    what is looked for.

    Args:
        reader: optimem-nano.
        inputs: one prompt; see `Context.model_inputs`.

    Raises:
        InputError: the reader is another model.
    """

    def __init__(self, reader: LocalReader, inputs: ModelInputs) -> None:
        model = reader.model
        if reader.encoder.name != "optimem-nano":
            raise InputError(f"{reader.encoder.name} finds no lines: optimem-nano does")
        [prompt] = inputs.rows
        ids = torch.tensor([prompt.ids], device=model.device)
        spliced = model.get_input_embeddings()(ids).detach().clone()  # (1, length, 640)
        for image in prompt.images:
            places = torch.arange(image.start, image.stop, device=model.device)
            places = places[ids[0, places] == model.config.image_token_id]
            spliced[0, places] = image.tokens[0].to(spliced)
        self._images = prompt.images
        self._pages = Pages(model, reader.tokenizer, spliced)
        self._columns = 0
        self._begins: list[str] = []  # of each row of each page

    def find(self, key: str) -> str | None:
        """The row that begins with a key, to its end; None if none begins nearly so.

        Raises:
            InputError: there is no key.
        """
        from rapidfuzz.distance import Levenshtein

        if not key.strip():
            raise InputError("name the words that the line begins with")
        columns = min(int(load_atlas().widths(points(key)).sum()), COLUMNS)
        if columns > self._columns:
            self._columns = max(columns, _BEGINNING)
            self._begins = [
                row
                for image in self._images
                for row in self._pages.read(image.start, image.stop, range(ROWS), self._columns)
            ]
        wrong = [Levenshtein.distance(begin[: len(key)], key) for begin in self._begins]
        if not wrong or min(wrong) > _ALIKE * len(key):
            return None
        page, row = divmod(wrong.index(min(wrong)), ROWS)
        image = self._images[page]
        return next(self._pages.read(image.start, image.stop, [row]))


def find_line(reader: LocalReader, inputs: ModelInputs, key: str) -> str | None:
    """See `LineFinder.find`; for several keys of one context keep a `LineFinder`."""
    return LineFinder(reader, inputs).find(key)
