"""Price rules against official examples and measured bills, then as properties."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.readers import ImageCost, find_reader
from optimem.readers.open_prices import (
    deepseek_ocr,
    deepseek_ocr2,
    got_ocr2,
    idefics3,
    internvl,
    kimi,
    llama4,
    mistral,
    smart_resize,
)
from optimem.readers.prices import (
    claude,
    deepseek_flash,
    gemini_budget,
    gemini_tiles,
    openai_patches,
    openai_tiles,
)

HIGH = {"side": 2576, "tokens": 4784}
STANDARD = {"side": 1568, "tokens": 1568}

# Sizes of the data set JOHNISKING/image-token-cost (Hugging Face), billed by each provider.
MEASURED = [
    (256, 256),
    (512, 512),
    (768, 768),
    (1024, 1024),
    (1280, 720),
    (1920, 1080),
    (1080, 1920),
    (2560, 1440),
    (3840, 2160),
    (4032, 3024),
]


def bills(reader: str, level: str, sizes: list[tuple[int, int]]) -> list[int]:
    return [find_reader(reader).bill(*size, level).tokens for size in sizes]


def test_openai_patches_official() -> None:
    """developers.openai.com, Images and vision: examples for gpt-6-astra and o4-mini."""
    sizes = [(1024, 1024), (2048, 2048), (4096, 512)]
    assert bills("gpt-6-astra", "high", sizes) == [1229, 3000, 2458]
    assert openai_patches(2048, 2048, percent=120, patches=2500).seen == (1600, 1600)
    old = openai_patches(1800, 2400, percent=172, side=2048, patches=1536)
    assert old.seen == (1056, 1408)


@pytest.mark.parametrize(
    ("reader", "level", "billed"),
    [
        ("gpt-6-astra", "original", [77, 308, 692, 1229, 1104, 2448, 2448, 4320, 9792, 14364]),
        ("gpt-6-astra", "high", [77, 308, 692, 1229, 1104, 2448, 2448, 2931, 2931, 2942]),
        ("gpt-5.5", "original", [77, 308, 692, 1229, 1104, 2448, 2448, 4320, 9792, 11868]),
        ("gemini-3.8-flash", "high", [1090] * 4 + [1101] * 5 + [1065]),
    ],
)
def test_measured_bills(reader: str, level: str, billed: list[int]) -> None:
    """Data set JOHNISKING/image-token-cost."""
    assert bills(reader, level, MEASURED) == billed


def test_openai_high_measured_through_codex() -> None:
    """github.com/19h/vision-text-tests, August 2026."""
    sizes = [(side, side) for side in (224, 448, 896, 1344, 1600, 1792, 3200)]
    assert bills("gpt-5.6-sol", "high", sizes) == [59, 236, 941, 2117, 3000, 3000, 3000]


def test_openai_tiles_official() -> None:
    """developers.openai.com, Images and vision: the two worked examples of gpt-4o."""
    assert openai_tiles(1024, 1024, base=85, tile=170).tokens == 765
    assert openai_tiles(2048, 4096, base=85, tile=170).tokens == 1105
    assert openai_tiles(4096, 8192, base=85, tile=170, low=True) == ImageCost(85, (256, 512))
    assert openai_tiles(512, 512, base=70, tile=140, low=True) == ImageCost(70, (512, 512))


def test_claude_official() -> None:
    """platform.claude.com, Vision: both tables, and the sizes that it names."""
    sizes = [(200, 200), (1000, 1000), (1092, 1092), (1920, 1080), (2000, 1500), (3840, 2160)]
    standard = [claude(*size, **STANDARD).tokens for size in sizes]
    assert standard == [64, 1296, 1521, 1560, 1564, 1560]
    assert [claude(*size, **HIGH).tokens for size in sizes] == [64, 1296, 1521, 2691, 3888, 4784]
    assert claude(1075, 1520, **STANDARD).seen == (924, 1307)
    assert claude(3840, 2160, **HIGH).seen == (2576, 1449)


def test_claude_measured() -> None:
    """JOHNISKING/image-token-cost: each bill has the same prompt beside its image.

    The last three sizes were shrunk to 2000 px by the client, and are left out.
    """
    opus = [177, 438, 861, 1446, 1273, 2768, 2768]
    haiku = [165, 426, 849, 1434, 1261, 1625, 1625]
    for billed, tier in ((opus, HIGH), (haiku, STANDARD)):
        images = [claude(*size, **tier).tokens for size in MEASURED]
        assert len({bill - image for bill, image in zip(billed, images, strict=False)}) == 1


def test_claude_largest_square() -> None:
    """github.com/19h/vision-text-tests: 1932 px is whole, 1933 px is shrunk."""
    assert [claude(side, side, **HIGH).tokens for side in (1904, 1932, 1933)] == [4624, 4761, 4761]
    assert claude(1932, 1932, **HIGH).seen == (1932, 1932)
    assert claude(1933, 1933, **HIGH).seen == (1932, 1932)


def test_gemini() -> None:
    """ai.google.dev, Media resolution and Image understanding."""
    assert gemini_budget(672, 960, budget=280) == ImageCost(14 * 20 + 1, (672, 960))
    assert gemini_budget(1344, 1920, budget=1120) == ImageCost(28 * 40 + 1, (1344, 1920))
    assert gemini_budget(10, 9000, budget=280).tokens == 281
    assert gemini_tiles(384, 384).tokens == 258
    assert gemini_tiles(960, 540).tokens == 6 * 258
    assert gemini_tiles(4000, 4000, tokens=64).tokens == 64


def test_deepseek_flash() -> None:
    """The size rule of deepseek-recipe-core 0.1.0."""
    assert deepseek_flash(512, 512) == ImageCost(184, (546, 546))
    assert deepseek_flash(2000, 2000) == ImageCost(994, (1302, 1302))
    assert deepseek_flash(1344, 1260) == ImageCost(992, (1344, 1260))
    assert deepseek_flash(1260, 1344) == ImageCost(994, (1260, 1344))


def test_open_weights() -> None:
    """Processors of transformers 5.23 and mistral-common 1.13.1."""
    qwen3 = smart_resize(1024, 1024, patch=32, least=256**2, most=4096**2)
    assert qwen3 == ImageCost(1026, (1024, 1024))
    hunyuan = smart_resize(1024, 1024, patch=32, least=512**2, most=2048**2, breaks=True)
    assert hunyuan.tokens == 32 * 33 + 2
    assert mistral(1540, 1540, patch=28, side=1540).tokens == 55 * 56
    assert mistral(2048, 1024, patch=16, side=1024) == ImageCost(32 * 65, (1024, 512))
    assert internvl(448, 448).tokens == 256
    assert internvl(896, 448).tokens == 3 * 256
    assert idefics3(1456, 1456).tokens == 17 * 169
    assert kimi(1024, 1024) == ImageCost(1369, (1024, 1024))
    assert got_ocr2(77, 2000) == ImageCost(256, (1024, 1024))


def test_deepseek_ocr_positions() -> None:
    """Code of deepseek-ai/DeepSeek-OCR: newlines and separator are positions too."""
    sides = (512, 640, 1024, 1280)
    native = [deepseek_ocr(side, side, view=side, tile=None).tokens for side in sides]
    assert native == [73, 111, 273, 421]
    assert deepseek_ocr(1280, 1280) == ImageCost(693, (1280, 1280))
    assert deepseek_ocr(1920, 640).tokens == 10 * 31 + 273
    assert deepseek_ocr(600, 600).tokens == 273


def test_deepseek_ocr2_positions() -> None:
    """Code of deepseek-ai/DeepSeek-OCR-2."""
    assert deepseek_ocr2(1024, 1024, tile=None).tokens == 257
    assert deepseek_ocr2(768, 768, view=768, tile=None).tokens == 145
    assert deepseek_ocr2(1536, 1536).tokens == 4 * 144 + 257


SIDES = st.integers(1, 6000)


def rules() -> list[tuple[Callable[..., ImageCost], dict[str, object]]]:
    profiles = map(find_reader, ("gpt-6-astra", "gpt-5.2", "gpt-5-nano", "gpt-4o", "o3"))
    listed: list[tuple[Callable[..., ImageCost], dict[str, object]]] = [
        (profile.rule, {**profile.parameters, **options})
        for profile in profiles
        for options in (profile.levels or {"": {}}).values()
    ]
    qwen3 = {"patch": 32, "least": 65536, "most": 32 * 32 * 2560}
    return listed + [
        (claude, {**HIGH}),
        (claude, {**STANDARD}),
        (gemini_budget, {"budget": 280}),
        (gemini_tiles, {}),
        (deepseek_flash, {}),
        (smart_resize, {**qwen3}),
        (kimi, {}),
        (mistral, {"patch": 28, "side": 1540}),
        (internvl, {}),
        (idefics3, {}),
        (llama4, {}),
        (got_ocr2, {}),
        (deepseek_ocr, {}),
        (deepseek_ocr2, {}),
    ]


@given(SIDES, SIDES)
def test_every_image_costs_and_is_seen(width: int, height: int) -> None:
    for rule, options in rules():
        cost = rule(width, height, **options)
        assert cost.tokens >= 1, rule
        assert min(cost.seen) >= 1, rule


@given(SIDES, SIDES)
def test_limits_are_kept(width: int, height: int) -> None:
    for tier in (HIGH, STANDARD):
        cost = claude(width, height, **tier)
        assert cost.tokens <= tier["tokens"] and max(cost.seen) <= tier["side"]
    patched = openai_patches(width, height, percent=120, side=2048, patches=2500)
    assert patched.tokens <= 3000 and max(patched.seen) <= 2048
    tiled = openai_tiles(width, height, base=85, tile=170)
    assert min(tiled.seen) <= 768 and max(tiled.seen) <= 2048
    assert deepseek_flash(width, height).tokens <= 1024
    assert gemini_budget(width, height, budget=280).tokens <= 281
    assert max(mistral(width, height, patch=28, side=1540).seen) <= 1540
    if max(width, height) <= 200 * min(width, height):
        resized = smart_resize(width, height, patch=32, least=65536, most=2560 * 1024)
        assert 64 <= resized.tokens - 2 <= 2560 or max(width, height) > 40 * min(width, height)


@given(SIDES, SIDES, st.integers(0, 300), st.integers(0, 300))
def test_more_pixels_cost_no_less_below_the_limits(w: int, h: int, dw: int, dh: int) -> None:
    for rule, options in (
        (openai_patches, {"percent": 120}),
        (claude, {"side": 10**9, "tokens": 10**9}),
        (mistral, {"patch": 28, "side": 10**6}),
    ):
        assert rule(w, h, **options).tokens <= rule(w + dw, h + dh, **options).tokens


@given(SIDES, SIDES)
def test_an_image_turned_costs_the_same(width: int, height: int) -> None:
    assert claude(width, height, **HIGH).tokens == claude(height, width, **HIGH).tokens
    turned = openai_patches(height, width, percent=120, patches=2500)
    assert openai_patches(width, height, percent=120, patches=2500).tokens == turned.tokens
