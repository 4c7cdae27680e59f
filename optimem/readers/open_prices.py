"""What models with open weights, and services that run them, take for an image.

The same contract as in `prices`: pure functions of width and height in pixels. Numbers are
positions in the decoder, markers around the image included where the rule names them.
"""

from __future__ import annotations

import struct
from functools import cache
from math import ceil, floor, sqrt

from optimem.readers.prices import ImageCost


def smart_resize(
    width: int,
    height: int,
    *,
    patch: int,
    least: int,
    most: int,
    markers: int = 2,
    breaks: bool = False,
    grows: bool = False,
) -> ImageCost:
    """Qwen-VL and its relatives: sides rounded to patches, area kept within two limits.

    Source: `smart_resize` in transformers, read for Qwen2-VL and Qwen2.5-VL (patch 28, 56^2
    to 28^2 * 16384 px), Qwen3-VL (32, 65536 px to 32^2 * 16384), GLM-4.1V to 4.6V (28, 112 * 56
    to 28^2 * 7500, grows: its limits are of two frames), PaddleOCR-VL (28, 384^2 to 1536^2),
    HunyuanVL (32, 512^2 to 2048^2, with breaks). Those models reject a side ratio above 200.

    Args:
        patch: px along a merged patch.
        least: fewest px of the area.
        most: most px of the area.
        markers: tokens around the image.
        breaks: whether each row ends with a token of its own.
        grows: whether an image thinner than a patch is enlarged first.
    """
    if grows and min(width, height) < patch:
        scale = patch / min(width, height)
        width, height = int(width * scale), int(height * scale)
    wide, high = round(width / patch) * patch, round(height / patch) * patch
    if wide * high > most:
        scale = sqrt(width * height / most)
        wide = max(patch, floor(width / scale / patch) * patch)
        high = max(patch, floor(height / scale / patch) * patch)
    elif wide * high < least:
        scale = sqrt(least / (width * height))
        wide, high = ceil(width * scale / patch) * patch, ceil(height * scale / patch) * patch
    columns, rows = wide // patch, high // patch
    return ImageCost(rows * (columns + breaks) + markers, (wide, high))


def kimi(width: int, height: int, *, patches: int = 16384, side: int = 512) -> ImageCost:
    """Kimi K2.5 (K3 assumed alike): 14 px patches merged 2 x 2, padded, never enlarged.

    Source: the image processor in moonshotai/Kimi-K2.5, and transformers.

    Args:
        patches: most patches before merging.
        side: most patches along a side.
    """
    count = max(1, width // 14) * max(1, height // 14)
    scale = min(1.0, sqrt(patches / count), side * 14 / width, side * 14 / height)
    wide, high = max(1, int(width * scale)), max(1, int(height * scale))
    return ImageCost(ceil(wide / 28) * ceil(high / 28), (wide, high))


def mistral(width: int, height: int, *, patch: int, side: int) -> ImageCost:
    """Mistral: a grid of patches with one break or end token a row.

    Source: `ImageEncoder` in mistral-common 1.13: Small 3.1, Medium 3, Large 3 and later
    have patches of 28 px and a longest side of 1540; Pixtral 16 and 1024.
    """
    ratio = max(width, height) / side
    if ratio > 1:
        width, height = max(1, round(width / ratio)), max(1, round(height / ratio))
    columns, rows = ceil(width / patch), ceil(height / patch)
    return ImageCost(rows * (columns + 1), (columns * patch, rows * patch))


def internvl(
    width: int, height: int, *, tile: int = 448, tokens: int = 256, most: int = 12
) -> ImageCost:
    """InternVL 2.5 to 3.5: squeezed onto a grid of tiles, and a thumbnail beside several.

    Source: `dynamic_preprocess` of OpenGVLab's model cards, and transformers.
    """
    columns, rows = _grid(width, height, tile, 1, most)
    views = columns * rows + (columns * rows > 1)
    return ImageCost(tokens * views, (columns * tile, rows * tile))


def idefics3(
    width: int, height: int, *, tile: int = 364, tokens: int = 169, side: int = 1456
) -> ImageCost:
    """Idefics3 (364, 169, 1456) and SmolVLM (512, 64, 2048): longer side always rescaled.

    Source: the Idefics3 and SmolVLM processors in transformers. Position markers, about
    nine tokens a tile in SmolVLM, are not counted.
    """
    scale = side / max(width, height)
    wide, high = (max(2, int(length * scale)) for length in (width, height))
    columns, rows = (ceil((length + length % 2) / tile) for length in (wide, high))
    tiles = columns * rows if columns * rows > 1 else 0
    return ImageCost(tokens * (tiles + 1), (columns * tile, rows * tile))


def llama4(
    width: int, height: int, *, tile: int = 336, tokens: int = 144, most: int = 16
) -> ImageCost:
    """Llama 4: padded onto the canvas of tiles that shrinks it least, and a view of the whole.

    Source: the image processor of Llama 4 in transformers, and the prompt that its processor
    makes: one separator a tile, three markers around the image. Images that fit a canvas are
    not enlarged, but for those that are smaller than a tile.
    """
    scales = [
        _single(min(columns * tile / width, rows * tile / height))
        for columns, rows in _canvases(most)
    ]
    larger = [scale for scale in scales if scale >= 1]
    best = min(larger) if larger else max(scales)
    fitting = [grid for grid, scale in zip(_canvases(most), scales, strict=True) if scale == best]
    columns, rows = min(fitting, key=lambda grid: grid[0] * grid[1])
    wide, high = min(max(width, tile), columns * tile), min(max(height, tile), rows * tile)
    across, down = wide / width, high / height
    if across < down:
        high = max(1, min(floor(height * across), high))
    else:
        wide = max(1, min(floor(width * down), wide))
    tiles = columns * rows if columns * rows > 1 else 0
    return ImageCost(tokens * (tiles + 1) + tiles + 3, (wide, high))


def _single(number: float) -> float:
    """In 32 bits, as Llama 4's own arithmetic, where nearly as good a canvas is as good."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


@cache
def _canvases(most: int) -> tuple[tuple[int, int], ...]:
    """Columns and rows of Llama 4's canvases, in the order in which the first of equals counts."""
    grids = [
        (tiles // rows, rows)
        for tiles in range(most, 0, -1)
        for rows in range(1, tiles + 1)
        if tiles % rows == 0
    ]
    aspects = list(dict.fromkeys(rows / columns for columns, rows in grids))
    return tuple(sorted(grids, key=lambda grid: aspects.index(grid[1] / grid[0])))


def got_ocr2(width: int, height: int) -> ImageCost:
    """GOT-OCR2: any image is squeezed into 1024 x 1024 and gives 256 tokens.

    Source: arXiv 2409.01704, and transformers `got_ocr2` with its single view.
    """
    return ImageCost(256, (1024, 1024))


def deepseek_ocr(width: int, height: int, *, view: int = 1024, tile: int | None = 640) -> ImageCost:
    """DeepSeek-OCR: positions in its decoder, one newline a row and one separator included.

    Source: arXiv 2510.18234 (table 1) and the code of deepseek-ai/DeepSeek-OCR. With n the
    view's side over 64, a view is n * (n + 1) + 1 positions: 73, 111, 273 and 421 for the
    modes Tiny, Small, Base and Large, where the paper counts n * n. Gundam adds a grid of
    tiles with one newline for each of its rows: 693 for 2 x 2.

    Args:
        view: side of the whole view, to which the image is padded; smaller ones grow.
        tile: side of Gundam's tiles, None for the view alone.
    """
    side = view // 64
    positions = side * (side + 1) + 1
    if tile is None or max(width, height) <= tile:
        return ImageCost(positions, _padded(width, height, view))
    columns, rows = _grid(width, height, tile, 2, 9)
    patch = tile // 64
    positions += patch * rows * (patch * columns + 1)
    return ImageCost(positions, (columns * tile, rows * tile))


def deepseek_ocr2(
    width: int, height: int, *, view: int = 1024, tile: int | None = 768
) -> ImageCost:
    """DeepSeek-OCR-2: 256 queries for the view (144 at 768 px and below), 144 for each tile.

    Source: the code of deepseek-ai/DeepSeek-OCR-2; one separator is included.

    Args:
        view: side of the whole view.
        tile: side of the tiles, None for the view alone.
    """
    positions = (256 if view > 768 else 144) + 1
    if tile is None or max(width, height) <= tile:
        return ImageCost(positions, _padded(width, height, view))
    columns, rows = _grid(width, height, tile, 2, 6)
    return ImageCost(positions + 144 * columns * rows, (columns * tile, rows * tile))


def _padded(width: int, height: int, view: int) -> tuple[int, int]:
    """The image inside a square view that it is scaled to fit."""
    scale = view / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _grid(width: int, height: int, tile: int, fewest: int, most: int) -> tuple[int, int]:
    """Columns and rows of the nearest aspect; of equals, the larger that half the area fills."""
    grids = [
        (columns, rows)
        for columns in range(1, most + 1)
        for rows in range(1, most // columns + 1)
        if columns * rows >= fewest
    ]
    best, nearest = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(width / height - columns / rows)
        half = tile * tile * columns * rows / 2
        if distance < nearest or (distance == nearest and width * height > half):
            best, nearest = (columns, rows), distance
    return best
