"""optimem-nano: DeepSeek-OCR's decoder, made small, behind a tower that knows the page grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from optimem.modes import ROWS, Tier
from optimem.vision.cells import Alphabet, CellReader
from optimem.vision.deepseek import DeepseekOcr
from optimem.vision.lines import read_rows
from optimem.vision.places import WIDTH
from optimem.vision.tower import CellTower
from optimem.vision.wiring import LAYERS, THETA


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
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 10,
            "num_key_value_heads": 10,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
            "layer_types": ["full_attention"] * LAYERS,
            "mlp_layer_types": ["dense"] * LAYERS,
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
