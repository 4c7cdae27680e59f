"""Smaller pixels from larger ones, each the exact mean of the area that it covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimem.renderers.typefaces import Cell

Pixels = npt.NDArray[np.uint8]


def area_average(cells: Pixels, cell: Cell) -> Pixels:
    """Resample cells exactly: each new pixel is the mean of the area that it covers.

    A mean is rounded to the nearest integer, a half upwards. Cells meet at pixel borders
    before and after, so this equals resampling the whole page.

    Args:
        cells: (n, h, w) grey pixels.
        cell: the new width and height, smaller or larger.
    """
    _, height, width = cells.shape
    down, across = _overlaps(height, cell[1]), _overlaps(width, cell[0])
    sums = (down @ cells.astype(np.float32)) @ across.T  # (n, h', w'), whole numbers < 2^24
    area = height * width
    means: Pixels = ((2 * sums.astype(np.int32) + area) // (2 * area)).astype(np.uint8)
    return means


def _overlaps(before: int, after: int) -> npt.NDArray[np.float32]:
    """How much of each old pixel each new pixel covers, in units of 1 / `after` old pixels.

    Returns:
        (after, before); each row sums to `before`.
    """
    old, new = np.arange(before) * after, np.arange(after)[:, None] * before
    ends = np.minimum(old + after, new + before)
    covered: npt.NDArray[np.float32] = np.maximum(ends - np.maximum(old, new), 0).astype(np.float32)
    return covered
