"""DeepSeek-OCR and its relatives: one vision token for 64 x 64 px."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optimem.modes import Tier
from optimem.vision.encoder import Encoder, Layout, to_levels, to_tiles

_PX = 64  # one vision token a side: patches of 16 px, shrunk four times
_TILES = 2  # a page in Gundam is 2 x 2 tiles of 640 px, and the view at 1024


@dataclass(frozen=True, slots=True)
class DeepseekOcr(Encoder):
    """DeepSeek-OCR v1 (arXiv 2510.18234), Unlimited-OCR (arXiv 2606.23050) and optimem-nano.

    `model` is UnlimitedOcrForConditionalGeneration, which is v1's architecture to the key.
    Unlimited-OCR is v1 with its decoder trained on for Base and Gundam alone, attending to
    the prompt and the last 128 tokens; v1 attends to everything and reads all five modes.
    """

    name = "deepseek-ocr"
    reading = "Free OCR. "

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """Positions in the decoder, a newline for each row and the separator included."""
        modes: tuple[Tier, ...] = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
        if "reference_sliding_attention" in self.model.config.text_config.layer_types:
            modes = (Tier.GUNDAM, Tier.BASE)
        return {tier: (_positions(tier),) for tier in modes}

    def views(self, tier: Tier) -> tuple[Tier, ...]:
        """Gundam is drawn twice: at 1280 px for its tiles, at 1024 for the view."""
        return (Tier.LARGE, Tier.BASE) if tier == Tier.GUNDAM else (tier,)

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`; in Gundam the tiles' rows come before the view's."""
        images = [to_levels(view, self.model, 0.5, 0.5) for view in views]
        local: dict[str, Any] = {}
        if tier == Tier.GUNDAM:
            local["pixel_values_local"] = to_tiles(images[0], _TILES)  # (b * 4, 3, 640, 640)
            local["num_local_patches"] = [_TILES**2] * len(images[0])
            local["patches_grid"] = [[_TILES, _TILES]] * len(images[0])
        found = self.model.get_image_features(images[-1], **local, return_dict=True)
        return torch.stack(found.pooler_output)[:, None]


@dataclass(frozen=True, slots=True)
class DeepseekOcr2(Encoder):
    """DeepSeek-OCR-2 (arXiv 2601.20552): two sizes of view, no ladder to fade down."""

    name = "deepseek-ocr-2"
    reading = "Free OCR. "

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """As many queries as there are 64 px squares, and the separator."""
        return {tier: ((tier.side // _PX) ** 2 + 1,) for tier in (Tier.BASE, Tier.PX768)}

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        images = to_levels(views[0], self.model, 0.5, 0.5)
        found = self.model.get_image_features(images, return_dict=True)
        return torch.stack(found.pooler_output)[:, None]


def _positions(tier: Tier) -> int:
    """n * (n + 1) + 1 for a view of n tokens a side; Gundam's tiles make one grid before it."""
    if tier == Tier.GUNDAM:
        grid = Tier.LARGE.side // _PX
        return grid * (grid + 1) + _positions(Tier.BASE)
    side = tier.side // _PX
    return side * (side + 1) + 1
