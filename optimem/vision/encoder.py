"""What OptiMem needs to know of a model that reads images.

One small adapter for each family says which modes it reads, what an image is in its prompt,
and how pixels become vision tokens. The encoders themselves are transformers' own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from optimem.errors import InputError
from optimem.modes import Tier

Layout = tuple[str | int, ...]
"""An image in a prompt: marker texts, and how many placeholders stand in a row."""


@dataclass(frozen=True, slots=True)
class Encoder(ABC):
    """A model's eyes.

    Attributes:
        model: the whole model, decoder included; transformers' own class.
        name: what its vision tokens are stored under, beside a hash of its weights.
        reading: what asks the model to write down the page that stands in front of it.
    """

    model: Any
    name: ClassVar[str]
    reading: ClassVar[str]

    @property
    @abstractmethod
    def layouts(self) -> Mapping[Tier, Layout]:
        """What an image is in the prompt, for each mode that the model reads."""

    @property
    def planes(self) -> int:
        """How many vectors a vision token is: one, or further ones for the decoder's layers."""
        return 1

    @abstractmethod
    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """Vision tokens of a batch of images.

        Args:
            views: for each of `views(tier)` pixels of shape (batch, 1 or 3, side, side), uint8.
            tier: the mode.

        Returns:
            (batch, planes, placeholders, width): plane 0 stands in the prompt; what some
            models add to the decoder's first layers at the same places are further planes.
        """

    def run(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """`encode` for use: without gradients, and wholly on the model's device.

        Models make index tensors on the way, by default on the CPU: a GPU has to wait for each
        of them, and CUDA graphs cannot hold them.
        """
        with torch.inference_mode(), torch.device(self.model.device):
            if self.model.device.type == "cuda":  # what the last run's graphs gave is used no more
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return self.encode(views, tier)

    def compile(self) -> None:
        """Have the tower that makes vision tokens compiled, on a GPU with CUDA graphs.

        Each mode and number of pages is compiled when it first comes, which takes minutes.
        """
        mode = "reduce-overhead" if self.model.device.type == "cuda" else "default"
        self.model.get_encoder(modality="image").compile(mode=mode, dynamic=False)

    def views(self, tier: Tier) -> tuple[Tier, ...]:
        """The sizes in which a page is drawn for a mode: its own, or those of tiles and view."""
        return (tier,)

    def read_cells(self, tokens: Tensor, tier: Tier) -> list[str]:
        """The rows of a page, read from its vision tokens (planes, placeholders, width) at once.

        Raises:
            InputError: this model has no cell reader.
        """
        raise InputError(f"{self.name} has no cell reader: optimem-nano has one")

    def read_lines(self, tokenizer: Any, tokens: Tensor) -> list[str] | None:
        """The rows of a page, written by the decoder side by side; None if it writes pages."""
        return None

    def outputs(self, tokens: Sequence[Tensor]) -> Any:
        """Vision tokens, each (planes, placeholders, width), as the model takes them back."""
        return BaseModelOutputWithPooling(pooler_output=tuple(each[0] for each in tokens))  # type: ignore[arg-type]

    def position_ids(self, ids: Tensor, mask: Tensor, tiers: Sequence[Tier]) -> Tensor:
        """Positions that count what is not padding: (batch, length), as `ids` and `mask`."""
        return (mask.long().cumsum(-1) - 1).clamp(min=0)


def one_tensor(tokens: Sequence[Tensor]) -> Any:
    """All images' tokens in a row, for models that take (placeholders, width) back."""
    return BaseModelOutputWithPooling(pooler_output=torch.cat([each[0] for each in tokens]))


def to_levels(
    pixels: Tensor, model: Any, mean: float | Sequence[float], std: float | Sequence[float]
) -> Tensor:
    """Pixels as an encoder takes them: (batch, 3, side, side) in the model's data type.

    Args:
        pixels: (batch, 1 or 3, side, side), uint8; one channel stands for all three.
        model: says which device and data type.
        mean: what the model's images were centred by, one for all channels or one for each.
        std: what they were scaled by.
    """
    scaled = pixels.to(model.device).expand(-1, 3, -1, -1).float() / 255
    center = torch.tensor(mean, device=model.device).view(-1, 1, 1)
    spread = torch.tensor(std, device=model.device).view(-1, 1, 1)
    return ((scaled - center) / spread).to(model.dtype)


def to_tiles(images: Tensor, count: int) -> Tensor:
    """Images cut into `count` x `count` tiles: (batch, c, s, s) to (batch * count^2, c, t, t).

    The tiles of one image follow each other, row by row.
    """
    batch, channels, side, _ = images.shape
    tile = side // count
    cut = images.reshape(batch, channels, count, tile, count, tile)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, tile, tile)
