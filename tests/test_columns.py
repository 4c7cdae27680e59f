"""Columns grow like lists, and what was given out stays as it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimem.ledger.columns import Column

NUMBERS = st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=90), max_size=8)


@given(NUMBERS)
def test_a_column_is_the_list_of_what_was_added(parts: list[list[int]]) -> None:
    column = Column("int64")
    said: list[int] = []
    views = []
    for part in parts:
        column.extend(part)
        said += part
        views.append((column.view, list(said)))
        assert len(column) == len(said)
    for view, then in views:
        assert view.tolist() == then  # also those from before it grew


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=200))
def test_rows_may_be_wide(rows: list[tuple[int, int]]) -> None:
    column = Column("int32", 2)
    for row in rows:
        column.extend([row])
    assert column.view.shape == (len(rows), 2) and column.view.dtype == np.int32
    assert [tuple(row) for row in column.view.tolist()] == rows
