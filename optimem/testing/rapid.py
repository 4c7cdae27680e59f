"""Reading page images with RapidOCR, which reads Chinese: `pip install 'optimem[bench]'`.

server = ReadingServer(engine=rapidocr)
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from optimem.errors import MissingExtraError
from optimem.testing.eyes import Pixels

_STRIP = 32  # cells: PP-OCR's input is 320 px wide at 48 px high
_MARGIN = 4, 8  # px of paper above and below a strip, and beside it
_TIMES = 2  # how much larger a strip is shown to it


def rapidocr(pixels: Pixels, width: float) -> str:
    """What RapidOCR (PP-OCRv4) reads on a page, a quarter of a row at a time.

    It leaves out most blanks between words, so it is an engine for Chinese rather than English.

    Args:
        pixels: grey, (height, width).
        width: of a character, in pixels.

    Raises:
        MissingExtraError: RapidOCR is not installed.
    """
    engine = _engine()
    rows = []
    for row in _rows(pixels, width):
        strips = [_enlarged(strip) for strip in _strips(row, width)]
        answers = engine.text_rec(strips)[0] if strips else []
        rows.append("".join(text for text, *_ in answers))
    return "\n".join(rows)


@cache
def _engine() -> Any:
    """Its models, which take a second to load."""
    try:
        from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise MissingExtraError("Reading pages with RapidOCR", "bench") from None
    return RapidOCR(intra_op_num_threads=1)


def _rows(pixels: Pixels, width: float) -> Iterator[Pixels]:
    """Rows of cells, each twice as high as wide."""
    count = max(1, round(len(pixels) / (2 * width)))
    return iter(np.array_split(pixels, count))


def _strips(row: Pixels, width: float) -> Iterator[Pixels]:
    """Parts of a row on which something stands."""
    for left in range(0, row.shape[1], max(1, round(_STRIP * width))):
        strip = row[:, left : left + round(_STRIP * width)]
        if (strip != strip[0, 0]).any():
            yield strip


def _enlarged(strip: Pixels) -> Pixels:
    """A strip with a margin, as an image of three equal channels: (height, width, 3)."""
    beside = [(margin, margin) for margin in _MARGIN]
    image = Image.fromarray(np.pad(strip, beside, constant_values=255))
    size = image.width * _TIMES, image.height * _TIMES
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC).convert("RGB"))
