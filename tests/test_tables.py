"""Tables are found, and stand on pages, by the cells that their columns begin in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder
from optimem.renderers.tables import find_tables
from optimem.values import Entry, Text, Turn

CELLS = load_atlas().cells
WORDS = (
    "a",
    "port",
    "8443",
    "端口",
    "服务器",
    "서버",
    "Größe",
    "g\u0303u",
    "नि",
    "👩\u200d👧",
    "🇩🇪",
    "ᴀ",
)
tables = st.integers(3, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from(WORDS), min_size=width, max_size=width), min_size=3, max_size=20
    )
)


def width(text: str) -> int:
    return int(CELLS(text).sum())


def aligned(table: list[list[str]]) -> list[str]:
    """Lines as a terminal program writes them: padded to columns of ten cells."""
    return ["".join(word + " " * (10 - width(word)) for word in line).rstrip() for line in table]


def found(lines: list[str]) -> list[tuple[int, int]]:
    return list(find_tables(lines, [n for n, line in enumerate(lines) if "  " in line.lstrip()]))


@given(tables)
def test_columns_are_counted_in_cells(table: list[list[str]]) -> None:
    lines = aligned(table)
    assert found(lines) == [(0, len(lines))]
    text = "\n".join(lines)
    builder = PageBuilder(CELLS, "key")
    pages = [*builder.add(Entry(0, Turn("t", "tool", (Text(text),), "", None, "openai", {})))]
    pages += [page for page in (builder.flush(),) if page is not None]
    rows = [row for page in pages for row in page.rows][1:]  # the first has the turn's tag
    for row, line in zip(rows, table, strict=True):
        assert width(row[: row.rindex(line[-1])]) == 10 * (len(line) - 1)


def test_columns_that_only_characters_share_are_none_on_a_page() -> None:
    lines = [f"{word:<9}{word:<9}end" for word in ("端口服务器端口", "abcdefg") * 3]
    assert found(lines) == []


@pytest.mark.parametrize("count", [125, 126, 127, 10_000])
def test_a_table_wider_than_a_row_is_none(count: int) -> None:
    for word in "x" * (count - 7), "中" * (count // 2 - 3) + "x" * (count % 2 - 1):
        lines = [f"{word}   b  c"] * 3
        assert width(lines[0]) >= count
        assert found(lines) == ([(0, 3)] if width(lines[0]) <= 126 else [])
