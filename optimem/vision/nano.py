"""optimem-nano: DeepSeek-OCR's decoder, made small, behind a tower that knows the page grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from optimem.modes import COLUMNS, ROWS, Tier
from optimem.vision.cells import Alphabet, CellReader
from optimem.vision.deepseek import DeepseekOcr
from optimem.vision.lines import read_rows
from optimem.vision.tower import CODES, TIERS, WAVES, WIDTH, CellTower, waves
from optimem.vision.vocabulary import column_mark, row_mark

_LOOK = 3.0
_MATCH = 4.0
_SMALL = 0.12
_THETA = 1e6  # slow enough that half of each head matches places whatever the distance


class NanoForConditionalGeneration(UnlimitedOcrForConditionalGeneration):  # type: ignore[no-untyped-call]
    """DeepSeek-OCR's decoder and splice behind a tower of cells; and a reader of those cells."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        inner: Any = self.model
        inner.vision_tower = CellTower()
        inner.multi_modal_projector = nn.Identity()  # tokens are made to measure
        self.cells = CellReader(Alphabet(**config.alphabet))


def nano_config(
    alphabet: Alphabet, vocabulary: int, image_token: int, start: int, stop: int, pad: int
) -> Any:
    """The configuration for an alphabet and a tokenizer.

    Args:
        alphabet: what the cell reader knows.
        vocabulary: how many tokens there are.
        image_token: the id that stands in a prompt for each vision token.
        start: the id that a prompt begins with.
        stop: the id that ends an answer.
        pad: the id that fills a batch.
    """
    layers = 3
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}  # never used
    config: Any = UnlimitedOcrConfig  # keeps what it does not know, like the alphabet
    return config(
        architectures=["NanoForConditionalGeneration"],
        alphabet=asdict(alphabet),
        image_token_id=image_token,
        vision_config={
            "sam_config": {
                **small,
                "output_channels": 16,
                "mlp_dim": 16,
                "image_size": 64,
                "downsample_channels": [16, 16],
                "global_attn_indexes": [],
            },
            "encoder_config": {**small, "intermediate_size": 16},
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": WIDTH,
            "intermediate_size": 2048,
            "num_hidden_layers": layers,
            "num_attention_heads": 10,
            "num_key_value_heads": 10,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": _THETA},
            "layer_types": ["full_attention"] * layers,
            "mlp_layer_types": ["dense"] * layers,
            "n_routed_experts": 1,
            "n_shared_experts": 1,
            "num_experts_per_tok": 1,
            "tie_word_embeddings": True,
            "bos_token_id": start,
            "eos_token_id": stop,
            "pad_token_id": pad,
        },
        tie_word_embeddings=True,
    )


def prepare_decoder(model: Any, ids: Mapping[str, int]) -> None:
    """Give a new decoder first weights that look at the right token, if not yet into it.

    A decoder that begins anywhere spends most of its training on finding out that the mark of a
    place and the vision token of that place belong together. So the marks begin as the very waves
    that tokens carry; the first layer's ninth head begins as a look back at the row's mark, and
    every head of the second as a look at the token whose place is the nearest. Values and outputs
    begin as they are. What a token's numbers mean is left to be learned.

    Args:
        model: a new model.
        ids: the token ids of its vocabulary.
    """
    decoder = model.model.language_model
    head = WIDTH // decoder.config.num_attention_heads
    steady = [
        *range(head // 4, head // 2),
        *range(3 * head // 4, head),
    ]  # turn little with distance
    flags = CODES + 2 * WAVES
    modes, is_row, is_column = slice(flags, flags + len(TIERS)), flags + 4, flags + 5
    with torch.no_grad():
        embed = decoder.embed_tokens.weight
        for count, name, at, flag in (
            (ROWS, row_mark, CODES, is_row),
            (COLUMNS, column_mark, CODES + WAVES, is_column),
        ):
            marks = torch.zeros(count, WIDTH)
            marks[:, at : at + WAVES] = waves((torch.arange(count) + 0.5) / count)
            marks[:, flag] = 1.5
            embed[[ids[name(number)] for number in range(count)]] = marks
        for layer in decoder.layers[:2]:
            layer.self_attn.v_proj.weight.copy_(torch.eye(WIDTH))
            layer.self_attn.o_proj.weight.copy_(torch.eye(WIDTH))
            layer.self_attn.q_proj.weight.mul_(0.1)
            layer.self_attn.k_proj.weight.mul_(0.1)
        back, first = decoder.layers[0].self_attn, CODES // head * head  # the head of row waves
        back.o_proj.weight *= _SMALL  # a mark is short: normalized, its waves are so much larger
        back.q_proj.weight[first + steady[0], is_column] = _LOOK
        back.k_proj.weight[first + steady[0], is_row] = _LOOK
        there, few = decoder.layers[1].self_attn, len(steady) // 4 - 1
        odd = [*range(0, 2 * few, 2)]
        longest = odd + [WAVES // 2 + wave for wave in odd]  # sines and cosines
        places = [CODES + wave for wave in longest] + [CODES + WAVES + wave for wave in longest]
        for first in range(0, WIDTH, head):
            for number, place in zip(steady, places, strict=False):
                there.q_proj.weight[first + number, place] = _MATCH
                there.k_proj.weight[first + number, place] = _MATCH
            there.q_proj.weight[first + steady[-1], is_column] = _LOOK  # at tokens, not at marks
            there.k_proj.weight[first + steady[-1], modes] = _LOOK
            there.k_proj.weight[first + steady[-1], [is_row, is_column]] = -2 * _LOOK


@dataclass(frozen=True, slots=True)
class NanoOcr(DeepseekOcr):
    """The codec as a reader's encoder: DeepSeek-OCR's modes and positions, a tower of its own."""

    name = "optimem-nano"

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`. Gundam's tiles together are the tokens of Large, row by row."""
        if tier != Tier.GUNDAM:
            return DeepseekOcr.encode(self, views, tier)
        large = DeepseekOcr.encode(self, views[:1], Tier.LARGE)
        return torch.cat([large[:, :, :-1], DeepseekOcr.encode(self, views[1:], Tier.BASE)], 2)

    def read_cells(self, tokens: Tensor, tier: Tier) -> list[str]:
        """See `Encoder.read_cells`; a page in Gundam is read in its view, which is Base."""
        seen = Tier.BASE if tier == Tier.GUNDAM else tier
        side = seen.side // 64
        grid = tokens[0, -side * (side + 1) - 1 : -1].view(side, side + 1, -1)[:, :side]
        return list(self.model.cells.read(grid.reshape(1, side * side, -1), seen)[0])

    def read_lines(self, tokenizer: Any, tokens: Tensor) -> list[str]:
        """See `Encoder.read_lines`."""
        return read_rows(self.model, tokenizer, tokens[0], range(ROWS))
