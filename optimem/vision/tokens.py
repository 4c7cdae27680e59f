"""Vision tokens as bytes: safetensors in fp32, bf16, or int8 with one scale for each token.

    bf16 keeps 8 significant bits: each value within 2^-8 of itself.
    int8 keeps each value within half a step of its token: 1/254 of the token's largest value.

The features of a model that runs in bf16 are stored in bf16 as they are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from optimem.errors import StoreError
from optimem.modes import Tier

Precision = Literal["fp32", "bf16", "int8"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
_STEPS = 127
_LABEL = "optimem"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Which vision tokens: of what image, in which mode, by whose weights, how exactly kept.

    Attributes:
        encoder: the adapter's name.
        weights: hash of the encoder's weights.
        tier: the mode.
        image: hash of the page or attachment.
        precision: how the values are kept.
    """

    encoder: str
    weights: str
    tier: Tier
    image: str
    precision: Precision

    def __str__(self) -> str:
        mode = self.tier.label
        return f"vision/{self.encoder}/{self.weights}/{mode}/{self.image}/{self.precision}"


def pack(tokens: Tensor, key: TokenKey) -> bytes:
    """Vision tokens (planes, placeholders, width) under their key; the same on every machine."""
    values = tokens.detach().cpu()
    tensors = {"tokens": values.to(_TYPES[key.precision]).contiguous()}
    if key.precision == "int8":
        exact = values.float()
        scale = exact.abs().amax(-1, keepdim=True).clamp(min=torch.finfo().tiny) / _STEPS
        tensors["tokens"] = (exact / scale).round().to(torch.int8).contiguous()
        tensors["scale"] = scale.contiguous()
    return save(tensors, {_LABEL: f"{key} {_checksum(tensors)}"})  # one: several have no order


def unpack(data: bytes, key: TokenKey, shape: tuple[int, int, int]) -> Tensor:
    """The inverse of `pack`, on the CPU.

    Raises:
        StoreError: damaged bytes, other tokens than the key's, or tokens of another shape.
    """
    try:
        tensors = load(data)
        named, _, checksum = _label(data).rpartition(" ")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{key} in the store is damaged: {error}") from None
    if named != str(key):
        raise StoreError(f"{key} in the store holds other vision tokens: {named}")
    if checksum != _checksum(tensors):
        raise StoreError(f"{key} in the store is damaged: its checksum does not hold")
    values, scale = tensors.get("tokens"), tensors.get("scale")
    if values is None or values.dtype != _TYPES[key.precision] or tuple(values.shape) != shape:
        found = None if values is None else (tuple(values.shape), values.dtype)
        raise StoreError(f"{key} in the store is {found}, not {shape} in {key.precision}")
    if key.precision != "int8":
        return values
    if scale is None or scale.dtype != torch.float32 or tuple(scale.shape) != (*shape[:2], 1):
        raise StoreError(f"{key} in the store has no scale for each token")
    return values.float() * scale


def _label(data: bytes) -> str:
    """The key and checksum beside the tensors; the header begins behind its length."""
    length = int.from_bytes(data[:8], "little")
    return str(json.loads(data[8 : 8 + length])["__metadata__"][_LABEL])


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of the values: safetensors itself does not notice a flipped bit."""
    found = 0
    for _, values in sorted(tensors.items()):
        found = zlib.crc32(values.view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
