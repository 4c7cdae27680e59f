"""Rows of a page, read by the codec's decoder from spliced vision tokens.

Every row stands behind the same page and none sees another, and at each column's mark the
decoder says what stands there: one pass over the page, some rows at a time. See `vocabulary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from optimem.modes import COLUMNS
from optimem.vision.cells import Alphabet
from optimem.vision.vocabulary import HALF, START, column_mark, row_mark

_AT_ONCE = 16  # rows, so that memory stays small


@torch.inference_mode()
def read_rows(model: Any, tokenizer: Any, page: Tensor, rows: Sequence[int]) -> list[str]:
    """What the decoder reads in rows of a page, blanks at their ends dropped.

    Args:
        model: optimem-nano.
        tokenizer: its tokenizer.
        page: the page's vision tokens with newlines and separator, (positions, 640).
        rows: numbers of rows, from 0.
    """
    ids = tokenizer.get_vocab()
    alphabet = Alphabet(**model.config.alphabet)
    signs = {ids[sign]: sign for sign in alphabet.narrow + alphabet.wide if sign in ids}
    signs[ids[HALF]] = ""
    known = torch.tensor(sorted(signs), device=model.device)
    embed, decoder = model.get_input_embeddings(), model.model.language_model
    begin = embed(torch.tensor([[ids[START]]], device=model.device))
    inputs = torch.cat([begin, page[None].to(begin)], 1)  # (1, 1 + positions, 640)
    columns = [ids[column_mark(column)] for column in range(COLUMNS)]
    read: list[str] = []
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        past = decoder(inputs_embeds=inputs, use_cache=True).past_key_values
        past.batch_repeat_interleave(len(some))
        asked = torch.tensor([[ids[row_mark(row)], *columns] for row in some], device=model.device)
        states = decoder(inputs_embeds=embed(asked), past_key_values=past).last_hidden_state
        best = known[(states[:, 1:] @ embed.weight[known].T).argmax(-1)]  # (rows, 128)
        read += ["".join(map(signs.__getitem__, row)).rstrip(" ") for row in best.tolist()]
    return read
