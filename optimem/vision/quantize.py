"""Checkpoints whose weights are kept as int8, with a scale for each row.

    model.save_pretrained(folder)
    save_int8(model.state_dict(), folder)   # a quarter of fp32's bytes
    reader = LocalReader.load(folder)       # weights as floats again, in the wanted data type

Each weight is within half a step of itself: 1/254 of the largest in its row. What is small or
has one dimension (norms, biases, tables of positions) stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from optimem.errors import ReaderError

QUANTIZED = "optimem_quantization"
"""Where a folder's config.json says that its weights are quantized."""

_SCHEME = {"weights": "int8", "scale": "row"}
_SCALE = "::scale"  # no module's name has a colon
_STEPS = 127
_LARGE = 1 << 14  # weights; below it a table is not worth its error


def save_int8(weights: Mapping[str, Tensor], folder: str | Path) -> int:
    """Write weights into a checkpoint's folder in int8; returns the bytes of the file.

    Args:
        weights: a model's `state_dict()`, or the tensors of a safetensors file.
        folder: with the model's config.json; other .safetensors files in it are removed.

    Raises:
        ReaderError: the folder has no config.json.
    """
    folder = Path(folder)
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReaderError(f"{path} cannot be read: {error}") from None
    tensors: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, weight in sorted(weights.items()):
        place = weight.data_ptr(), weight.shape
        if place not in seen:  # tied weights are kept once; the model ties them again
            tensors |= _quantized(name, weight.detach().cpu())
        seen.add(place)
    for old in folder.glob("*.safetensors*"):  # with the index of those in several files
        old.unlink()
    target = folder / "model.safetensors"
    save_file(tensors, target, {"format": "pt"})
    path.write_text(json.dumps(config | {QUANTIZED: _SCHEME}, indent=2) + "\n", encoding="utf-8")
    return target.stat().st_size


def load_int8(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint that `save_int8` wrote, as floats.

    Raises:
        ReaderError: another quantization, or weights without their scales.
    """
    if config[QUANTIZED] != _SCHEME:
        raise ReaderError(
            f"{folder} has weights in {config[QUANTIZED]}, not {_SCHEME}: pip install -U optimem"
        )
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise ReaderError(f"{path} cannot be read: {error}") from None
    scales = {name: tensors.pop(name) for name in list(tensors) if name.endswith(_SCALE)}
    found = {}
    for name, weight in tensors.items():
        scale = scales.pop(name + _SCALE, None)
        if (scale is None) == (weight.dtype == torch.int8):
            raise ReaderError(f"{folder}: weight {name} and its scales do not belong together")
        found[name] = weight if scale is None else weight.float() * scale
    if scales:
        raise ReaderError(f"{folder}: scales without weights: {', '.join(sorted(scales)[:5])}")
    return found


def _quantized(name: str, weight: Tensor) -> dict[str, Tensor]:
    """A weight as it is kept: int8 with its scales, or as it is."""
    if not weight.is_floating_point() or weight.ndim < 2 or weight.numel() < _LARGE:
        return {name: weight.contiguous()}
    exact = weight.float()
    row = tuple(range(1, weight.ndim)) if weight.ndim == 4 and len(weight) > 1 else -1  # a kernel
    scale = exact.abs().amax(row, keepdim=True).clamp(min=torch.finfo().tiny) / _STEPS
    values = (exact / scale).round().to(torch.int8)
    return {name: values.contiguous(), name + _SCALE: scale.contiguous()}
