"""Columns that grow: numbers of a session's turns and pages, for work on all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Column:
    """Rows of numbers that are added to at the end, each at constant cost.

    Args:
        dtype: of the numbers.
        width: numbers in a row; 0 for a plain column.
    """

    def __init__(self, dtype: DTypeLike, width: int = 0) -> None:
        self._rows: NDArray[Any] = np.empty((64, width) if width else 64, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, rows: Sequence[Any]) -> None:
        """Add rows at the end; views that were given out keep what they show."""
        length = self._length + len(rows)
        if not rows:
            return
        if length > len(self._rows):
            grown = np.empty((2 * length, *self._rows.shape[1:]), self._rows.dtype)
            grown[: self._length] = self._rows[: self._length]
            self._rows = grown
        self._rows[self._length : length] = rows
        self._length = length

    @property
    def view(self) -> NDArray[Any]:
        """All rows; to be read only."""
        return self._rows[: self._length]
