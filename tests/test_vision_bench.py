"""The encoding benchmark runs on any machine and prints the figures of its issue."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from optimem.bench import encode
from optimem.modes import Tier


def test_it_measures_against_a_ceiling(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--size", "small", "--batch", "2", "--seconds", "0.01", "--modes", "tiny"]
    monkeypatch.setattr(sys, "argv", ["encode", *options])
    encode.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ceiling: ")
    report: dict[str, Any] = json.loads(lines[-1])
    tiny, kept = report["results"]["tiny"], report["results"]["kept"]
    ceiling = report["results"]["ceiling_tflops"]
    share = 100 * tiny["pages_per_second"] * tiny["tflop_a_page"] / ceiling
    assert 0 < share < 100 and share == pytest.approx(tiny["ceiling_percent"], rel=0.2)
    assert kept["bf16"]["bytes"] == pytest.approx(273 * 1280 * 2, rel=0.01)
    assert 0 < kept["bf16"]["error_percent"] < kept["int8"]["error_percent"] < 2
    names = [check["name"] for check in report["checks"]]
    assert names[:2] == ["int8 beside bf16", "int8, worst value"] and len(names) == 5
    assert all(check["holds"] for check in report["checks"][:2])
    assert tiny["pages_per_second"] > 0 < tiny["loop_pages_per_second"]
    assert [check["value"] for check in report["checks"][2:]] == [None] * 3  # for a GPU


def test_attention_is_counted_too() -> None:
    """512 px are 1,024 patches, which two of SAM's layers compare with each other."""
    encoder = encode._encoder("small", "cpu")
    found = encode._measure(encoder, Tier.TINY, encode._options(["--batch", "1"], False), 1.0)
    layers = encoder.model.model.vision_tower.sam_encoder.layers
    linear = sum(w.numel() for w in layers.parameters() if w.ndim == 2 and w.shape[-1] >= 192)
    width = 192
    assert found["tflop_a_page"] * 1e12 > 2 * 1024 * linear + 2 * 4 * 1024**2 * width
