"""Chat models that see: pages enter through the model's own encoder, in its own sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from optimem.modes import MODES, Tier
from optimem.vision.encoder import Encoder, Layout, one_tensor, to_levels, to_tiles

_READ = "Write down the text in this image, word for word."
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class QwenVL(Encoder):
    """Qwen2.5-VL and Qwen3-VL: any size, one token for a square of merged patches.

    A page is padded with white to whole squares rather than stretched, so that its letters
    stay as they were drawn. Positions have three axes: time, row and column. Qwen3-VL also
    adds features to the decoder's first layers ("deepstack"), which are kept as planes.
    """

    name = "qwen-vl"
    reading = _READ

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """Every mode but Gundam, whose tiles have no place here."""
        merge = self.model.config.vision_config.spatial_merge_size
        return {
            tier: ("<|vision_start|>", (self._patches(tier) // merge) ** 2, "<|vision_end|>")
            for tier in MODES
            if tier != Tier.GUNDAM
        }

    @property
    def planes(self) -> int:
        """The tokens themselves, and one plane for each layer that deepstack feeds."""
        return 1 + len(getattr(self.model.config.vision_config, "deepstack_visual_indexes", ()))

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        vision = self.model.config.vision_config
        room = self._patches(tier) * vision.patch_size - tier.side
        padded = functional.pad(views[0], (0, room, 0, room), value=255)
        mean, std = (0.5, 0.5) if self.planes > 1 else (_CLIP_MEAN, _CLIP_STD)
        images = to_levels(padded, self.model, mean, std)
        found = self.model.get_image_features(
            self._cut(images), self._grids([tier] * len(images)), return_dict=True
        )
        deep = found.deepstack_features if self.planes > 1 else ()
        planes = [torch.stack(list(plane)) for plane in (found.pooler_output, *deep)]
        return torch.stack(planes, 1)

    def outputs(self, tokens: Sequence[Tensor]) -> Any:
        """See `Encoder.outputs`; deepstack's planes come by plane, then by image."""
        found = Encoder.outputs(self, tokens)
        if self.planes == 1:
            return found
        deep: Any = [[each[plane] for each in tokens] for plane in range(1, self.planes)]
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=found.pooler_output, deepstack_features=deep
        )

    def position_ids(self, ids: Tensor, mask: Tensor, tiers: Sequence[Tier]) -> Tensor:
        """Positions by time, row and column: (3, batch, length)."""
        is_image = (ids == self.model.config.image_token_id).int()
        grids = self._grids(tiers) if tiers else None
        positions, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=is_image, image_grid_thw=grids, attention_mask=mask
        )
        found: Tensor = positions
        return found

    def _patches(self, tier: Tier) -> int:
        """Patches along a side, after padding to whole merged squares."""
        vision = self.model.config.vision_config
        square = vision.patch_size * vision.spatial_merge_size
        return int(-(-tier.side // square) * vision.spatial_merge_size)

    def _grids(self, tiers: Sequence[Tier]) -> Tensor:
        """(images, 3): frames, rows and columns of patches."""
        sides = [self._patches(tier) for tier in tiers]
        return torch.tensor([[1, side, side] for side in sides], device=self.model.device)

    def _cut(self, images: Tensor) -> Tensor:
        """Patches as rows, those that are merged next to each other: (patches, values).

        A still image is a film of as many equal frames as a patch is deep.
        """
        vision = self.model.config.vision_config
        patch, merge = vision.patch_size, vision.spatial_merge_size
        count = images.shape[-1] // (patch * merge)
        cut = images.reshape(-1, 3, count, merge, patch, count, merge, patch)
        rows = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (b, down, right, m, m, 3, patch, patch)
        deep = rows.unsqueeze(6).expand(*[-1] * 6, vision.temporal_patch_size, -1, -1)
        return deep.reshape(len(images) * (count * merge) ** 2, -1)


@dataclass(frozen=True, slots=True)
class InternVL(Encoder):
    """InternVL 2.5 to 3.5: a grid of tiles, and a thumbnail of the whole behind them.

    A page is drawn in a size that is a whole number of tiles: 896 px are 2 x 2 of 448.
    """

    name = "internvl"
    reading = _READ

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """The modes that are whole tiles: one, or up to 3 x 3 with the thumbnail."""
        config = self.model.config
        tile = _side(config)
        patches = tile // _first(config.vision_config.patch_size)
        tokens = int(patches * config.downsample_ratio) ** 2
        counts = {t: t.side // tile for t in MODES if t != Tier.GUNDAM and t.side % tile == 0}
        return {
            tier: ("<img>", tokens * (count * count + (count > 1)), "</img>")
            for tier, count in counts.items()
            if count <= 3
        }

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        tile = _side(self.model.config)
        images = to_levels(views[0], self.model, _IMAGENET_MEAN, _IMAGENET_STD)
        found = self.model.get_image_features(with_thumbnail(images, tile), return_dict=True)
        tokens: Tensor = found.pooler_output  # (b * tiles, tokens, width)
        return tokens.reshape(len(images), 1, -1, tokens.shape[-1])

    def outputs(self, tokens: Sequence[Tensor]) -> Any:
        """See `Encoder.outputs`."""
        return one_tensor(tokens)


@dataclass(frozen=True, slots=True)
class SmolVLM(Encoder):
    """SmolVLM and SmolVLM2: tiles between markers of row and column, then the whole page."""

    name = "smolvlm"
    reading = _READ

    _around = "<fake_token_around_image>"

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """The modes that are whole tiles: 512 px, and 1024 as 2 x 2, in the published models."""
        config = self.model.config
        tile = _side(config)
        tokens = (tile // _first(config.vision_config.patch_size) // config.scale_factor) ** 2
        counts = {t: t.side // tile for t in MODES if t != Tier.GUNDAM and t.side % tile == 0}
        return {t: self._layout(count, tokens) for t, count in counts.items() if count <= 3}

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        tile = _side(self.model.config)
        images = to_levels(views[0], self.model, 0.5, 0.5)
        shown = with_thumbnail(images, tile)
        cut = shown.reshape(len(images), -1, *shown.shape[1:])  # (b, tiles, 3, tile, tile)
        found = self.model.get_image_features(cut, return_dict=True)
        return torch.stack(list(found.pooler_output))[:, None]

    def _layout(self, count: int, tokens: int) -> Layout:
        pieces: list[str | int] = []
        ends = ""  # of rows: they are one text with the marker behind them
        for row in range(1, count + 1) if count > 1 else ():
            for column in range(1, count + 1):
                pieces += [f"{ends}{self._around}<row_{row}_col_{column}>", tokens]
                ends = ""
            ends = "\n" if row < count else "\n\n"
        return (*pieces, f"{ends}{self._around}<global-img>", tokens, self._around)


@dataclass(frozen=True, slots=True)
class Llava(Encoder):
    """LLaVA 1.5 and its kin: every image is shrunk to one small square.

    The nearest mode above that size is drawn, and shrunk by area. At 336 px a page's letters
    are under 3 px wide, so do not expect them to be read.
    """

    name = "llava"
    reading = _READ

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """One mode."""
        config = self.model.config
        side = _side(config)
        tokens = (side // _first(config.vision_config.patch_size)) ** 2
        fitting = [tier for tier in MODES if tier.side >= side and tier != Tier.GUNDAM]
        return {fitting[-1]: (tokens,)} if fitting else {}

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        images = to_levels(views[0], self.model, _CLIP_MEAN, _CLIP_STD)
        small = functional.interpolate(images, _side(self.model.config), mode="area")
        found = self.model.get_image_features(small, return_dict=True)
        return torch.stack(list(found.pooler_output))[:, None]


def with_thumbnail(images: Tensor, tile: int) -> Tensor:
    """Each image's tiles and, if there are several, the whole shrunk to one more behind them.

    (batch, 3, side, side) to (batch * views, 3, tile, tile).
    """
    count = images.shape[-1] // tile
    if count == 1:
        return images
    cut = to_tiles(images, count).reshape(len(images), -1, 3, tile, tile)
    whole = functional.interpolate(images, tile, mode="area")
    return torch.cat([cut, whole[:, None]], 1).flatten(0, 1)


def _side(config: Any) -> int:
    return _first(config.vision_config.image_size)


def _first(size: Any) -> int:
    """Configurations give a side as one number or as height and width."""
    return int(size if isinstance(size, int) else size[0])
