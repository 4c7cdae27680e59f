"""What hosted readers bill for an image, as pure functions of its size.

Each rule takes width and height in pixels (1 or more) and the parameters that tell one
model or level of detail from another, and says how many input tokens are billed and which
pixels the model really sees: where those are fewer than were sent, the server has shrunk
the image and blurred its text. Rules of open weights are in `open_prices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, sqrt

LEFT_OUT_TOKENS = 24
"""Of the line that stands for an image that a reader does not take."""

_ROUNDING = 1e-9  # keeps an exact product on its own side of floor


@dataclass(frozen=True, slots=True)
class ImageCost:
    """What one image costs.

    Attributes:
        tokens: input tokens billed.
        seen: width and height of the pixels that the model sees.
    """

    tokens: int
    seen: tuple[int, int]


def openai_patches(
    width: int, height: int, *, percent: int, side: int | None = None, patches: int | None = None
) -> ImageCost:
    """OpenAI, 32 px patches: GPT-5.2 and later, the mini and nano models of GPT-4.1 and 5.

    Source: developers.openai.com, guide "Images and vision" (September 2026); equal to the
    bills in the data set JOHNISKING/image-token-cost. A request with an image of more than
    30,000 patches is rejected; its cost is still computed here.

    Args:
        percent: billed tokens for 100 patches.
        side: longest side in px of this level of detail, None for no limit.
        patches: most patches of this level of detail, None for no limit.
    """
    if side is not None and max(width, height) > side:
        scale = side / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    count = ceil(width / 32) * ceil(height / 32)
    if patches is not None and count > patches:
        scale = 32 * sqrt(patches / (width * height))
        columns, rows = width * scale / 32, height * scale / 32
        scale *= min(max(1, floor(columns)) / columns, max(1, floor(rows)) / rows)
        width = max(1, floor(width * scale + 1e-6))
        height = max(1, floor(height * scale + 1e-6))
        count = min(patches, ceil(width / 32) * ceil(height / 32))
    return ImageCost(-(-count * percent // 100), (width, height))


def openai_tiles(width: int, height: int, *, base: int, tile: int, low: bool = False) -> ImageCost:
    """OpenAI, 512 px tiles: GPT-4o, 4.1, 5, 5.1, o1, o3.

    Source: developers.openai.com, guide "Images and vision": fit into 2048 x 2048, then the
    shorter side to at most 768; `base` tokens and `tile` for each tile.

    Args:
        low: detail "low": fit into 512 x 512, `base` tokens alone.
    """
    if low:
        return ImageCost(base, _fit(width, height, 512 / max(width, height)))
    width, height = _fit(width, height, 2048 / max(width, height))
    width, height = _fit(width, height, 768 / min(width, height))
    return ImageCost(base + tile * ceil(width / 512) * ceil(height / 512), (width, height))


def _fit(width: int, height: int, scale: float) -> tuple[int, int]:
    """Scale down, never up."""
    if scale >= 1:
        return width, height
    return (
        max(1, floor(width * scale + _ROUNDING)),
        max(1, floor(height * scale + _ROUNDING)),
    )


def claude(width: int, height: int, *, side: int, tokens: int) -> ImageCost:
    """Anthropic, 28 px patches; `side` and `tokens` are the limits of the model's tier.

    Source: platform.claude.com, "Vision", with its reference code: the largest size of the
    same aspect within 2576 px and 4784 tokens (Claude 4.7 and later) or 1568 px and 1568
    tokens (older); equal to the bills in the data set JOHNISKING/image-token-cost.
    """

    def bill(wide: int, high: int) -> int:
        return ceil(wide / 28) * ceil(high / 28)

    def fits(wide: int, high: int) -> bool:
        return ceil(max(wide, high) / 28) * 28 <= side and bill(wide, high) <= tokens

    if not fits(width, height):
        longer, shorter = max(width, height), min(width, height)

        def shrunk(length: int) -> tuple[int, int]:
            return length, max(1, round(length * shorter / longer))

        fitting, exceeding = 1, longer
        while fitting + 1 < exceeding:
            middle = (fitting + exceeding) // 2
            if fits(*shrunk(middle)):
                fitting = middle
            else:
                exceeding = middle
        best = shrunk(fitting)
        width, height = best if width >= height else best[::-1]
    return ImageCost(bill(width, height), (width, height))


def gemini_budget(width: int, height: int, *, budget: int) -> ImageCost:
    """Gemini 3 (and 4, assumed): the grid of the image's aspect that fills a token budget.

    Source: ai.google.dev, "Media resolution" (budgets low 280, medium 560, high 1120,
    ultra_high 2240); the grid is Gemma 4's in transformers, and with one more token equals
    the bills in the data set JOHNISKING/image-token-cost. The image is always rescaled, up
    or down; 48 px a token is Gemma 4's and only decides what is seen.
    """
    columns = floor(sqrt(budget * width / height) + _ROUNDING)
    rows = floor(sqrt(budget * height / width) + _ROUNDING)
    if rows == 0:
        columns, rows = min(width // height, budget), 1
    elif columns == 0:
        columns, rows = 1, min(height // width, budget)
    return ImageCost(columns * rows + 1, (columns * 48, rows * 48))


def gemini_tiles(width: int, height: int, *, tokens: int | None = None) -> ImageCost:
    """Gemini 2.x: 258 tokens for each tile, or a flat bill at a low media resolution.

    Source: ai.google.dev, "Image understanding" (tiles, called a rough rule there) and
    "Media resolution" (low 64, medium 256, one view of 768 px).

    Args:
        tokens: the flat bill of a media resolution, None for tiles.
    """
    if tokens is not None:
        return ImageCost(tokens, (768, 768))
    if max(width, height) <= 384:
        return ImageCost(258, (width, height))
    unit = max(256, min(768, floor(min(width, height) / 1.5)))
    columns, rows = ceil(width / unit), ceil(height / unit)
    return ImageCost(258 * columns * rows, (columns * 768, rows * 768))


def deepseek_flash(
    width: int, height: int, *, tokens: int = 1024, least: int = 544 * 544
) -> ImageCost:
    """DeepSeek flash: 14 px patches merged 3 x 3, one token more a row, two delimiters.

    Source: api-docs.deepseek.com, vision guide (August and October 2026), and the code of
    deepseek-recipe-core 0.1.0: images below `least` px are enlarged, those above `tokens`
    shrunk, and the rule is applied until the size stands still.
    """
    seen = _deepseek_size(width, height, tokens, least)
    for _ in range(10):
        again = _deepseek_size(*seen, tokens, least)
        if again == seen:
            break
        seen = again
    return ImageCost(_deepseek_bill(*seen), seen)


def xai_tiles(width: int, height: int) -> ImageCost:
    """xAI: 256 tokens for each tile of 448 px, at most six, and one view more.

    Source: docs.x.ai, an older image guide; not confirmed for Grok 4.20 and later. What is
    seen of larger images is not said: they are taken to be shrunk to six tiles.
    """
    tiles = ceil(width / 448) * ceil(height / 448)
    if tiles > 6:
        scale = 448 * sqrt(6 / (width * height))
        return ImageCost(256 * 7, _fit(width, height, scale))
    return ImageCost(256 * (tiles + 1), (width, height))


def no_image(width: int, height: int) -> ImageCost:
    """Readers of text alone: a line of text stands for the image, and nothing of it is seen."""
    return ImageCost(LEFT_OUT_TOKENS, (1, 1))


def _deepseek_bill(width: int, height: int) -> int:
    columns, rows = ceil(width / 42), ceil(height / 42)
    return rows * (columns + 1) + 2


def _deepseek_size(width: int, height: int, tokens: int, least: int) -> tuple[int, int]:
    """One pass of the size rule; sides become multiples of 14."""
    if width * height < least:
        scale = sqrt(least / (width * height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
    padded = ceil(width / 14) * 14, ceil(height / 14) * 14
    if _deepseek_bill(*padded) <= tokens:
        return padded
    aspect = height / width
    columns = sqrt((tokens - 2) / aspect + 0.25) - 0.5
    rows = columns * aspect
    if columns < 1:
        return 42, (tokens - 2) // 2 * 42
    if rows < 1:
        return (tokens - 3) * 42, 42
    scale = min(int(columns) * 42 / width, int(rows) * 42 / height)
    return int(width * scale / 14) * 14, int(height * scale / 14) * 14
