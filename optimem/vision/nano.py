"""optimem-nano: DeepSeek-OCR's decoder, made small, behind a tower that knows the page grid."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from optimem.vision.cells import Alphabet, CellReader
from optimem.vision.tower import WIDTH, CellTower

class NanoForConditionalGeneration(UnlimitedOcrForConditionalGeneration):  # type: ignore[misc]
    """DeepSeek-OCR's decoder and splice behind a tower of cells; and a reader of those cells."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.vision_tower = CellTower()
        self.model.multi_modal_projector = nn.Identity()  # tokens are made to measure
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
    return UnlimitedOcrConfig(
        architectures=["NanoForConditionalGeneration"],
        alphabet=asdict(alphabet),
        image_token_id=image_token,
        vision_config={
            "sam_config": {**small, "output_channels": 16, "mlp_dim": 16, "image_size": 64,
                           "downsample_channels": [16, 16], "global_attn_indexes": []},
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
