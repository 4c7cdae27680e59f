"""Prices of open weights against the code that makes their tokens.

transformers' own image processors are asked in this process (their PIL versions). What
mistral-common 1.13.1 says of 74 sizes stands in data/mistral_images.json: it wants an older
numpy than everything else here, so it was asked elsewhere, by `ImageEncoder` with patches of 16
px up to 1024 (pixtral) and of 14 px, merged by two, up to 1540 (mistral).

Three processors have no PIL version, and torchvision beside them would give the others another
one: what transformers 5.23 and torchvision 0.28 say of 247 to 333 sizes stands in
data/transformers_images.json (width, height, for Llama 4 columns and rows of tiles, tokens).
"""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optimem.modes import MODES
from optimem.readers import find_reader
from optimem.readers.open_prices import (
    deepseek_ocr,
    deepseek_ocr2,
    internvl,
    kimi,
    smart_resize,
)
from optimem.readers.prices import ImageCost, gemini_budget

MISTRAL = json.loads((Path(__file__).parent / "data/mistral_images.json").read_text("utf-8"))
TORCHVISION = json.loads(
    (Path(__file__).parent / "data/transformers_images.json").read_text("utf-8")
)
SIDES = [tier.side for tier in MODES]
PAGES = [(side, side) for side in SIDES] + [(512, 2048), (896, 1344), (1344, 1920), (3000, 16)]


def sizes(count: int = 300) -> list[tuple[int, int]]:
    """Sizes of pages and sheets, and random ones; none so thin that processors reject it."""
    drawn = random.Random(5)
    found = [(drawn.randrange(20, 3000), drawn.randrange(20, 3000)) for _ in range(count)]
    return [size for size in PAGES + found if max(size) < 200 * min(size)]


def processor(model: str, name: str, **options: Any) -> Any:
    module = importlib.import_module(f"transformers.models.{model}.image_processing_pil_{model}")
    return getattr(module, name)(**options)


def area(least: int, most: int) -> dict[str, int]:
    return {"shortest_edge": least, "longest_edge": most}


def agree(rule: Callable[[int, int], int], theirs: Callable[[int, int], int]) -> None:
    for width, height in sizes():
        assert rule(width, height) == theirs(width, height), (width, height)


def bill(reader: str) -> Callable[[int, int], int]:
    profile = find_reader(reader)
    return lambda width, height: profile.bill(width, height, profile.default).tokens


def merged(asked: Any, markers: int = 2) -> Callable[[int, int], int]:
    """Tokens of a processor that merges two by two patches."""
    return lambda width, height: asked.get_number_of_image_patches(height, width) // 4 + markers


@pytest.mark.parametrize(
    ("reader", "patch", "least", "most"),
    [
        ("qwen:qwen2.5-vl", 14, 56 * 56, 28 * 28 * 16384),
        ("qwen:qwen3-vl", 16, 65536, 32 * 32 * 16384),
        ("qwen:qwen3.8-flash", 16, 65536, 32 * 32 * 2560),
    ],
)
def test_qwen(reader: str, patch: int, least: int, most: int) -> None:
    options = {"patch_size": patch, "merge_size": 2, "size": area(least, most)}
    agree(bill(reader), merged(processor("qwen2_vl", "Qwen2VLImageProcessorPil", **options)))


def test_glm() -> None:
    agree(bill("zai:glm-4.6v"), merged(processor("glm46v", "Glm46VImageProcessorPil")))


def test_paddleocr() -> None:
    size = area(384**2, 1536**2)
    asked = processor("paddleocr_vl", "PaddleOCRVLImageProcessorPil", size=size)
    patch = asked.patch_size * asked.merge_size

    def rule(width: int, height: int) -> int:
        return smart_resize(width, height, patch=patch, least=384**2, most=1536**2).tokens

    agree(rule, merged(asked))


def test_hunyuan() -> None:
    asked = processor("hunyuan_vl", "HunYuanVLImageProcessorPil", size=area(512**2, 2048**2))
    patch = asked.patch_size * asked.merge_size

    def theirs(width: int, height: int) -> int:
        high, wide = asked.get_number_of_image_patches(height, width)
        return int(high // asked.merge_size * (wide // asked.merge_size + 1) + 2)

    def rule(width: int, height: int) -> int:
        limits = {"patch": patch, "least": 512**2, "most": 2048**2}
        return smart_resize(width, height, breaks=True, **limits).tokens

    agree(rule, theirs)


@pytest.mark.parametrize(
    ("reader", "model", "name", "tile", "side", "tokens"),
    [
        ("local:idefics3", "idefics3", "Idefics3ImageProcessorPil", 364, 1456, 169),
        ("local:smolvlm2", "smolvlm", "SmolVLMImageProcessorPil", 512, 2048, 64),
    ],
)
def test_idefics3_and_smolvlm(
    reader: str, model: str, name: str, tile: int, side: int, tokens: int
) -> None:
    options = {"size": {"longest_edge": side}, "max_image_size": {"longest_edge": tile}}
    asked = processor(model, name, **options)

    def theirs(width: int, height: int) -> int:
        return int(max(asked.get_number_of_image_patches(height, width)[0], 1) * tokens)

    agree(bill(reader), theirs)


def test_internvl() -> None:
    size = {"height": 448, "width": 448}
    options = {"size": size, "crop_to_patches": True, "min_patches": 1, "max_patches": 12}
    asked = processor("got_ocr2", "GotOcr2ImageProcessorPil", **options)

    def theirs(width: int, height: int) -> int:
        return 256 * int(asked.get_number_of_image_patches(height, width, {}))

    agree(lambda width, height: internvl(width, height).tokens, theirs)
    agree(bill("local:internvl3.5"), theirs)


@pytest.mark.parametrize("budget", [70, 140, 280, 560, 1120])
def test_gemma_4(budget: int) -> None:
    """Whose grid is Gemini 3's; one token more is billed there, and stands around images here."""
    module = "transformers.models.gemma4.image_processing_pil_gemma4"
    resized = importlib.import_module(module).get_aspect_ratio_preserving_size

    def theirs(width: int, height: int) -> int:
        options = {"patch_size": 16, "max_patches": budget * 9, "pooling_kernel_size": 3}
        high, wide = resized(height=height, width=width, **options)
        return int(high * wide // 48**2 + 1)

    agree(lambda width, height: gemini_budget(width, height, budget=budget).tokens, theirs)


def test_deepseek_ocr_2() -> None:
    """Its processor makes tiles of what is larger than one; its count does not look at that."""
    asked = processor("deepseek_ocr2", "DeepseekOcr2ImageProcessorPil")

    def theirs(width: int, height: int) -> int:
        if max(width, height) <= asked.tile_size:
            return 256 + 1
        tiles = int(asked.get_number_of_image_patches(height, width, {})) - 1
        return 144 * tiles + 256 + 1

    agree(lambda width, height: deepseek_ocr2(width, height).tokens, theirs)


@pytest.mark.parametrize("reader", ["mistral:mistral-large-4", "mistral:pixtral-large"])
def test_mistral(reader: str) -> None:
    rows = MISTRAL["pixtral" if "pixtral" in reader else "mistral"]
    assert len(rows) == 74
    for width, height, tokens in rows:
        assert bill(reader)(width, height) == tokens, (width, height)


@pytest.mark.parametrize("rule", [kimi, deepseek_ocr])
def test_kimi_and_deepseek_ocr(rule: Callable[[int, int], ImageCost]) -> None:
    rows = TORCHVISION[rule.__name__]
    assert len(rows) == 333
    for width, height, tokens in rows:
        assert rule(width, height).tokens == tokens, (width, height)


def test_llama_4() -> None:
    assert len(TORCHVISION["llama4"]) == 247
    profile = find_reader("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    for width, height, columns, rows, tokens in TORCHVISION["llama4"]:
        cost = profile.bill(width, height)
        assert cost.tokens == tokens, (width, height)
        assert cost.seen[0] <= columns * 336 and cost.seen[1] <= rows * 336
