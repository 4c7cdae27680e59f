"""Hex boxes: what is drawn for a code point that no font has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimem.renderers.typefaces import Cell


def hex_boxes(codepoints: npt.NDArray[np.intp], cell: Cell) -> npt.NDArray[np.uint8]:
    """Draw a two-cell box around each code point's hex digits, 4 of them or 6.

    Cells too small for digits show the code point's 21 bits as a 5 x 5 square of dots
    instead, from the top left, so that two code points still never look the same.

    Returns:
        Ink 0..15, (n, h, 2w). The top row and the right column stay clear, so that
        neighbours do not touch; the frame is grey, so that digits may touch it.
    """
    width, height = 2 * cell[0], cell[1]
    ink = np.zeros((len(codepoints), height, width), np.uint8)
    ink[:, 1:, :-1] = _FRAME
    ink[:, 2:-1, 1:-2] = 0
    inner = height - 3, width - 3
    if min(inner) >= 11:  # two rows of digits of 5 pixels, or three columns of 3, and gaps
        for columns, group in ((2, codepoints < 0x10000), (3, codepoints >= 0x10000)):
            if not group.any():
                continue
            chosen = codepoints[group]
            for place in range(2 * columns):
                row, column = divmod(place, columns)
                y = 2 + _centre(inner[0], 5, 2, row)
                x = 1 + _centre(inner[1], 3, columns, column)
                digit = chosen >> 4 * (2 * columns - 1 - place) & 15
                ink[group, y : y + 5, x : x + 3] = _DIGITS[digit]
    else:
        bits = (codepoints[:, None] >> np.arange(24, -1, -1) & 1).astype(np.uint8)
        y, x = 2 + (inner[0] - 5) // 2, 1 + (inner[1] - 5) // 2
        ink[:, y : y + 5, x : x + 5] = 15 * bits.reshape(-1, 5, 5)
    return ink


def _centre(room: int, size: int, count: int, index: int) -> int:
    """Where the index-th of `count` things of one size begins, spread evenly over a room."""
    gap = min((room - count * size) // count, size - 1)
    start = (room - count * size - (count - 1) * gap) // 2
    return start + index * (size + gap)


_FRAME = 8  # ink of a box's frame: lighter than its digits

# The digits 0..F in 3 x 5 dots: each number is a digit's 15 dots from the top left.
_DIGITS = np.array(
    [
        [
            15 * (dots >> place & 1)
            for dots in (
                *(0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71244),
                *(0o75757, 0o75717, 0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644),
            )
        ]
        for place in range(14, -1, -1)
    ],
    np.uint8,
).T.reshape(16, 5, 3)
