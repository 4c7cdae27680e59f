"""The decoder's first weights: they look at the right token, and take the right cell out of it.

A decoder that begins anywhere spends its training on finding out that the mark of a place and the
vision token of that place belong together, and that of a token's 512 numbers only those of one
slot are meant. On a CPU it never got there (docs/LOG.md). Both are known beforehand, so they are
written down: in each layer one step, in DeepSeek's own decoder.

    layer 0  attention: a column's mark takes the places of its row from the row's mark
    layer 1  attention: it takes the codes of the token that agrees with it in every bit
             MLP: a neuron for each number of each slot; the mark's bits open those of one slot
    layer 2  attention: it takes the code of the cell before from the mark before
             MLP: which character is that? Learned
    layer 3  MLP: which character is that? Learned

See `places` for the bits. Input to each step is normalized (RMSNorm), which changes lengths but
no signs; since all tokens are of one length, and all marks, lengths are known as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optimem.modes import COLUMNS, ROWS
from optimem.vision.places import (
    CODES,
    FIELDS,
    LENGTH,
    TIERS,
    WIDTH,
    column_places,
    grid,
    row_places,
    slots_within,
)
from optimem.vision.vocabulary import column_mark, row_mark

THETA = 1e16  # all but a few fields of a head then match places at any distance
_CLEAR = 5.0  # raw scores are this factor's square: far above those of all other places
_NEVER = 40 * _CLEAR
_KEPT = 0.01  # of a token's codes, beside which what a mark says must stay visible
_OPEN = 6.0
_NEAR = range(4)  # fields of a head whose turns tell neighbours apart
_FIRM = [*range(12, 32), *range(44, 64)]  # fields that hardly turn

LAYERS = 4
FIRST_READING = 2
"""From this layer on the MLPs are learned; the rest of the decoder stays as it is written here."""
LEARNED = (
    *(f"model.language_model.layers.{n}.mlp" for n in range(FIRST_READING, LAYERS)),
    *(f"model.language_model.layers.{n}.post_" for n in range(FIRST_READING, LAYERS)),
    "model.language_model.norm",
)
"""Names of what is left to training begin so."""


@torch.no_grad()
def wire(model: Any, ids: Mapping[str, int]) -> None:
    """Write the weights down.

    Args:
        model: a new optimem-nano.
        ids: the token ids of its vocabulary.
    """
    decoder = model.model.language_model
    _embed(decoder.embed_tokens.weight, ids)
    model.model.image_newline.zero_()
    model.model.view_separator.zero_()
    for layer in decoder.layers:
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            getattr(layer.self_attn, part).weight.zero_()
    row, column = row_places()[0].norm().item(), column_places()[0].norm().item()
    both = math.sqrt(row**2 + column**2 - 1)  # a column's mark that knows its row
    _look_at_row(decoder.layers[0].self_attn, _scale(row))
    decoder.layers[0].mlp.down_proj.weight.zero_()
    _look_at_token(decoder.layers[1].self_attn)
    _take_slot(decoder.layers[1].mlp, _scale(both))
    _look_back(decoder.layers[2].self_attn, _scale(both))
    _begin_reading(decoder.layers[2].mlp)


def _scale(length: float) -> float:
    """What RMSNorm multiplies numbers of that length with."""
    return math.sqrt(WIDTH) / length


def _embed(embed: Tensor, ids: Mapping[str, int]) -> None:
    """Words stand where codes do, each a direction of its own, so that they ask for no place."""
    embed.zero_()
    embed[:, :CODES].normal_(std=CODES**-0.5)
    embed[[ids[row_mark(number)] for number in range(ROWS)]] = row_places()
    embed[[ids[column_mark(number)] for number in range(COLUMNS)]] = column_places()


def _look_at_row(attention: Any, scale: float) -> None:
    attention.q_proj.weight[_FIRM[0], FIELDS.is_column] = _CLEAR
    attention.k_proj.weight[_FIRM[0], FIELDS.is_row] = _CLEAR
    for number, field in enumerate(_all(FIELDS.mark_rows) + _all(FIELDS.down)):
        attention.v_proj.weight[number, field] = 1
        attention.o_proj.weight[field, number] = 1 / scale


def _look_at_token(attention: Any) -> None:
    asked = _all(FIELDS.mark_rows) + _all(FIELDS.columns)
    said = _all(FIELDS.token_rows) + _all(FIELDS.columns)
    size = attention.head_dim
    for first in range(0, WIDTH, size):  # each head takes a share of the token
        for number, own, other in zip(_FIRM[1:], asked, said, strict=False):
            attention.q_proj.weight[first + number, own] = _CLEAR
            attention.k_proj.weight[first + number, other] = _CLEAR
        least = first + _FIRM[0]  # full agreement counts 1, one bit less already -1
        attention.q_proj.weight[least, FIELDS.is_column] = _CLEAR
        for tier in TIERS:
            agreeing = len(FIELDS.token_rows[tier]) + len(FIELDS.columns[tier])
            attention.k_proj.weight[least, FIELDS.modes[tier]] = (1 - agreeing) * _CLEAR
        attention.k_proj.weight[least, [FIELDS.is_row, FIELDS.is_column]] = -_NEVER
    codes = torch.arange(CODES)
    attention.v_proj.weight[codes, codes] = 1
    attention.o_proj.weight[codes, codes] = _KEPT
    for number, tier in enumerate(TIERS, CODES):
        attention.v_proj.weight[number, FIELDS.modes[tier]] = 1
        attention.o_proj.weight[FIELDS.modes[tier], number] = 1 / _scale(LENGTH)


def _take_slot(mlp: Any, scale: float) -> None:
    mlp.down_proj.weight.zero_()
    mlp.gate_proj.weight.zero_()
    mlp.up_proj.weight.zero_()
    neuron = 0
    opened = _OPEN * scale  # silu of that is that
    kept = _KEPT * _scale(LENGTH) * scale
    for tier in TIERS:
        size = grid(tier).size
        for slot, wanted in slots_within(tier):
            agreeing = wanted.abs().sum()
            for number in range(size):
                gate = mlp.gate_proj.weight[neuron]
                gate += _OPEN * wanted
                gate[FIELDS.modes[tier]] = 2 * _OPEN
                gate[FIELDS.is_column] = -(agreeing + 1) * _OPEN
                mlp.up_proj.weight[neuron, slot * size + number] = 1
                mlp.down_proj.weight[FIELDS.code[number], neuron] = 1 / (opened * kept)
                neuron += 1


def _look_back(attention: Any, scale: float) -> None:
    half = attention.head_dim // 2
    for number in _NEAR:
        turn = THETA ** (-number / half)  # what a step turns that field by
        attention.q_proj.weight[number, FIELDS.is_column] = _CLEAR * math.cos(turn)
        attention.q_proj.weight[half + number, FIELDS.is_column] = -_CLEAR * math.sin(turn)
        attention.k_proj.weight[number, FIELDS.is_column] = _CLEAR
    for number, (field, last) in enumerate(zip(FIELDS.code, FIELDS.last_code, strict=True)):
        attention.v_proj.weight[number, field] = 1
        attention.o_proj.weight[last, number] = 1 / scale


def _begin_reading(mlp: Any) -> None:
    """A share of the neurons for each mode, closed in the others; they see codes alone."""
    seen = [*FIELDS.code, *FIELDS.last_code, FIELDS.is_column]
    for weight in (mlp.gate_proj.weight, mlp.up_proj.weight):
        weight.zero_()
        weight[:, seen] = torch.randn(len(weight), len(seen)) * 0.5
    for number, tier in enumerate(TIERS):
        others = [FIELDS.modes[other] for other in TIERS if other != tier]
        for field in others:
            mlp.gate_proj.weight[number :: len(TIERS), field] = -_OPEN


def _all(fields: Mapping[Any, list[int]]) -> list[int]:
    return [field for group in fields.values() for field in group]
