"""Checkpoints in int8: small, close to what they were, and the same wherever they are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import vision_models
from safetensors.torch import load_file, save_file
from torch import Tensor

from optimem import Tier
from optimem.errors import ReaderError
from optimem.vision import LocalReader
from optimem.vision.quantize import QUANTIZED, load_int8, save_int8


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """One of each kind: a matrix, experts, a kernel, a table, and what stays as it is."""
    torch.manual_seed(1)
    return {
        "matrix": torch.randn(200, 128),
        "experts": torch.randn(4, 64, 128),
        "kernel": torch.randn(64, 32, 3, 3),
        "table": torch.randn(1, 16, 16, 128),
        "zeros": torch.zeros(128, 128),
        "norm": torch.randn(128),
        "short": torch.randn(4, 4),
        "counts": torch.arange(1 << 15).reshape(2, -1),
    }


def wide(folder: Path) -> Path:
    """A checkpoint with matrices that are large enough to be quantized."""
    config = vision_models.unlimited()
    config.text_config.vocab_size = 2048
    torch.manual_seed(7)
    model: Any = transformers.UnlimitedOcrForConditionalGeneration(config)
    model.save_pretrained(folder)
    vision_models.save_tokenizer(folder, None)
    return folder


def test_each_weight_is_within_half_a_step_of_its_row(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    size = save_int8(weights, tmp_path)
    assert size == (tmp_path / "model.safetensors").stat().st_size
    found = load_int8(tmp_path, json.loads((tmp_path / "config.json").read_text()))
    assert set(found) == set(weights)
    for name in ("matrix", "experts", "table"):
        step = weights[name].abs().amax(-1, keepdim=True) / 127
        assert ((found[name] - weights[name]).abs() <= step * 0.5001).all()
    step = weights["kernel"].abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((found["kernel"] - weights["kernel"]).abs() <= step * 0.5001).all()
    for name in ("zeros", "norm", "short", "counts"):
        assert torch.equal(found[name], weights[name])


def test_int8_takes_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    exact = {"one": torch.randn(512, 512), "two": torch.randn(256, 64, 3, 3)}
    assert save_int8(exact, tmp_path) < 0.26 * sum(w.numel() * 4 for w in exact.values())


def test_a_folder_in_int8_is_loaded_as_floats(tmp_path: Path) -> None:
    wide(tmp_path)
    plain = LocalReader.load(str(tmp_path), device="cpu")
    published = load_file(tmp_path / "model.safetensors")
    save_int8(published, tmp_path)
    read = LocalReader.load(str(tmp_path), device="cpu")
    head = "lm_head.weight"
    assert load_file(tmp_path / "model.safetensors")[head].dtype == torch.int8
    assert read.model.dtype == torch.float32
    exact = dict(plain.model.named_parameters())
    for name, weight in read.model.named_parameters():
        step = exact[name].abs().amax(-1, keepdim=True) / 127
        assert ((weight - exact[name]).abs() <= step).all()
    assert not torch.equal(read.model.lm_head.weight, exact[head])
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        near, far = read.model(input_ids=ids).logits, plain.model(input_ids=ids).logits
    assert (near - far).norm() < 0.02 * far.norm()
    half = LocalReader.load(str(tmp_path), device="cpu", dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16


def test_state_dicts_and_published_names_load_alike(tmp_path: Path) -> None:
    first, second = (
        vision_models.save_checkpoint("deepseek-ocr", tmp_path / name) for name in "ab"
    )
    save_int8(vision_models.random_model("deepseek-ocr").state_dict(), first)
    save_int8(load_file(second / "model.safetensors"), second)
    one = LocalReader.load(str(first), device="cpu")
    other = LocalReader.load(str(second), device="cpu")
    assert one.weights == other.weights
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_weights_are_the_same_floats_on_every_machine(tmp_path: Path) -> None:
    """Vision tokens are shared under a hash of the weights."""
    (tmp_path / "config.json").write_text("{}")
    exact = (torch.arange(1 << 15) * 37 % 1009).reshape(-1, 64) / 1009 - 0.5
    save_int8({"exact": exact}, tmp_path)
    (found,) = load_int8(tmp_path, json.loads((tmp_path / "config.json").read_text())).values()
    assert hashlib.sha256(found.numpy().tobytes()).hexdigest()[:16] == "8b69e83379cdef23"


def test_a_folder_in_int8_has_one_weights_hash(tmp_path: Path) -> None:
    save_int8(load_file(wide(tmp_path) / "model.safetensors"), tmp_path)
    one, other = (LocalReader.load(str(tmp_path), device="cpu") for _ in range(2))
    assert one.key("page", Tier.TINY) == other.key("page", Tier.TINY)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop("matrix::scale"), "matrix and its scales do not belong"),
        (lambda tensors: tensors.pop("matrix"), "scales without weights: matrix::scale"),
        (
            lambda tensors: tensors.update({"norm::scale": torch.ones(1)}),
            "norm and its scales do not belong",
        ),
    ],
)
def test_scales_and_weights_belong_together(
    tmp_path: Path,
    weights: dict[str, Tensor],
    spoil: Callable[[dict[str, Tensor]], object],
    message: str,
) -> None:
    path = tmp_path / "model.safetensors"
    (tmp_path / "config.json").write_text("{}")
    save_int8(weights, tmp_path)
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path)
    with pytest.raises(ReaderError, match=message):
        load_int8(tmp_path, json.loads((tmp_path / "config.json").read_text()))


def test_what_is_no_such_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"config\.json cannot be read"):
        save_int8({}, tmp_path)
    folder = vision_models.save_checkpoint("got-ocr2", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    later = config | {QUANTIZED: {"weights": "int4"}}
    (folder / "config.json").write_text(json.dumps(later))
    with pytest.raises(ReaderError, match="int4.*pip install -U optimem"):
        LocalReader.load(str(folder))
    (folder / "config.json").write_text(json.dumps(config))
    save_int8(load_file(folder / "model.safetensors"), folder)
    (folder / "model.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(ReaderError, match=r"model\.safetensors cannot be read"):
        LocalReader.load(str(folder))
