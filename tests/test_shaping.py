"""Cells, clusters, the order of rows, and words that are drawn as one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from hypothesis import example, given
from hypothesis import strategies as st

from optimem.errors import InputError
from optimem.modes import MODES, Tier
from optimem.renderers import fontchain
from optimem.renderers.arrange import _RIGHT_TO_LEFT
from optimem.renderers.atlas import load_atlas, points
from optimem.renderers.clusters import LONGEST, Piece
from optimem.renderers.fontchain import FontChain, font_chain
from optimem.renderers.glyphs import code_points
from optimem.renderers.shaping import draw_piece, order_row
from optimem.renderers.typefaces import LATE, Typeface

BASE = Tier.BASE.cell
FONTS = {font.name: font for font in LATE}
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
AWKWARD = st.text(
    st.sampled_from(
        "a1 (\u0301\u0323\u05d0\u05b8\u0628\u064e\u0661\u0915\u093f\u094d\u0e01\u0e31\u4e2d\uac00"
        "\u200b\u200d\u202e\u2067\ufe0f\u20e3\U0001f468\U0001f3fd\U0001f1e9\U0001f3f4\U000e0067"
        "\U000e007f\ud800\u0b95\u0bcd\U0010ffff"
    )
)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("plain", [1] * 5),
        ("中a文ｶ한", [2, 1, 2, 1, 2]),
        ("e\u0301x\u0323\u0302", [1, 0, 1, 0, 0]),
        ("क्षि नी", [1, 0, 1, 1, 1, 1, 1]),
        ("ที่ น้ำ", [1, 0, 0, 1, 1, 0, 1]),
        ("שָׁלוֹם", [1, 0, 0, 1, 1, 0, 1]),
        (f"{FAMILY}!", [2, 0, 0, 0, 0, 1]),
        ("🇩🇪🇯", [2, 0, 2]),
        ("👍🏽❤\ufe0f1\ufe0f\u20e3", [2, 0, 2, 0, 2, 0, 0]),
        ("❤☀", [1, 1]),  # BMP symbols are drawn by the text font
        (" \u0301", [1, 1]),  # nothing to stand on
        ("\u0301\u0301", [1, 1]),
        ("a\u200db", [1, 2, 1]),  # a joiner between letters that never join: a box
        ("a\u0300\u20dd\u0300", [1, 0, 2, 1]),  # what no font draws joins nothing
        ("\u0b15\u0301", [1, 1]),  # a Latin mark on a letter of a shaped script
    ],
)
def test_cells_of_characters(text: str, cells: list[int]) -> None:
    assert load_atlas().cells(text).tolist() == cells


@given(AWKWARD, st.data())
def test_a_text_cut_in_front_of_a_cell_keeps_its_cells(text: str, data: st.DataObject) -> None:
    cells = load_atlas().cells(text)
    assert cells.dtype == np.uint8
    assert len(cells) == len(text)
    assert not text or cells[0] > 0
    if len(text) > 1:
        cut = data.draw(st.sampled_from([0, *np.flatnonzero(cells).tolist()]))
        pieces = [load_atlas().cells(text[:cut]), load_atlas().cells(text[cut:])]
        assert np.array_equal(np.concatenate(pieces), cells)


@given(AWKWARD)
def test_clusters_own_every_character_without_cells(text: str) -> None:
    cells, found = load_atlas().cells(text), load_atlas().clusters(text)
    joined = np.flatnonzero(cells == 0).tolist()
    inside = [at for start, stop, _ in found for at in range(start, stop)]
    assert len(inside) == len(set(inside))
    assert set(joined) <= set(inside)
    assert all(cells[start] > 0 for start, _, _ in found)


@pytest.mark.parametrize("base", ["e", "ب", "क", "中", "👍"])
def test_marks_beyond_the_longest_cluster_get_cells(base: str) -> None:
    mark = {"ب": "\u064e", "क": "\u0941"}.get(base, "\u0301")
    cells = load_atlas().cells(base + mark * 10_000)
    assert not cells[1 : LONGEST + 1].any()
    assert cells[LONGEST + 1 :].all()


def visual(row: str, starts: tuple[int, ...] = (0,)) -> str:
    """A row as it is read from left to right."""
    cells = load_atlas().cells(row)
    order = order_row(row, cells.tolist(), starts)
    columns = np.argsort(np.array(order.columns), kind="stable")
    return "".join(order.shown[index] for index in columns)


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ("אבג דה", "הד גבא"),
        ("אבג (12.5) דה!", "!הד (12.5) גבא"),
        ("abc אבג דה xyz.", "abc הד גבא xyz."),
        ("אבגדה a.txt וזח", "חזו a.txt הדגבא"),
        ("سعر ١٢٫٥ ريال", "لاير ١٢٫٥ رعس"),
        ("<user#12> אבג. ", "<user#12> .גבא "),
        ("<call#3 get_time> אב | גד", "<call#3 get_time> דג | בא"),
        ("\u202eabc אב", "\ufffcabc בא".replace("\ufffc", "\u202e")),
        ("\u2067אב\u2069 a b c", "\u2067בא\u2069 a b c"),
    ],
)
def test_rows_are_ordered_as_they_are_read(row: str, seen: str) -> None:
    assert visual(row) == seen


@given(AWKWARD | st.text(st.characters(codec=None)))
@example("\ufeffusing System; (1) [b]")
def test_rows_that_are_not_asked_for_their_order_have_none(text: str) -> None:
    row = _RIGHT_TO_LEFT.sub("x", text)
    cells = load_atlas().cells(row)
    order = order_row(row, cells.tolist(), (0,))
    assert order.shown == row
    assert not any(order.levels)
    begins = np.cumsum(cells, dtype=np.intp) - cells
    assert (np.array(order.columns, np.intp) == begins)[cells > 0].all()


def test_each_turn_on_a_row_is_a_paragraph() -> None:
    row = "אבג. <user#2> abc. <user#3> דה!"
    assert visual(row, (0, 5, 19)) == ".גבא <user#2> abc. <user#3> !הד"


@given(AWKWARD)
def test_no_two_characters_share_a_column(text: str) -> None:
    row, cells = text[:100], load_atlas().cells(text[:100])
    order = order_row(row, cells.tolist(), (0,))
    taken = [
        at + half for at, width in zip(order.columns, cells, strict=True) for half in range(width)
    ]
    assert sorted(taken) == list(range(int(cells.sum())))
    assert len(order.shown) == len(order.levels) == len(row)


def ink(
    text: str, font: str | None, cells: int, tier: Tier = Tier.BASE, *, rtl: bool = False
) -> npt.NDArray[np.uint8]:
    return draw_piece(Piece(text, FONTS[font] if font else None, cells, rtl), tier.cell)


@pytest.mark.parametrize("font", [font for font in LATE if font.shaped], ids=lambda font: font.name)
def test_each_letter_of_a_shaped_script_has_ink(font: Typeface) -> None:
    atlas = load_atlas()
    own = [p for p in code_points(font) if atlas.covered(p) and atlas.font(p) == font]
    assert len(own) > 60
    blank = [p for p in own if not draw_piece(Piece(chr(p), font, 1), BASE).any()]
    assert set(blank) <= {0x17B4, 0x17B5}  # Khmer vowels that are never seen


@pytest.mark.parametrize("tier", MODES)
@pytest.mark.parametrize(
    ("text", "font", "cells"),
    [
        ("السَّلَامُ", "NotoSansArabic", 6),
        ("स्वतन्त्रता", "NotoSansDevanagari", 7),
        ("ปั๊ม", "NotoSansThai", 2),
        (FAMILY, "NotoEmoji", 2),
        ("X\u0302\u0323", None, 1),
    ],
)
def test_pieces_fill_their_cells_and_leave_the_top_row(
    text: str, font: str | None, cells: int, tier: Tier
) -> None:
    drawn = ink(text, font, cells, tier)
    assert drawn.shape == (tier.cell[1], cells * tier.cell[0])
    assert drawn.max() <= 15
    assert not drawn[0].any()
    assert drawn.any(axis=0).mean() > 0.6


def test_arabic_letters_join_and_run_from_the_right() -> None:
    word = ink("سب", "NotoSansArabic", 2, rtl=True)
    assert word[10, 1:15].all()  # one stroke along the baseline, no gap between the two
    dot = ink("ب", "NotoSansArabic", 1, rtl=True)[12:]  # below the second letter
    assert dot.any()
    assert word[12:, :8].any()
    assert not word[12:, 8:].any()


def test_devanagari_moves_vowels_and_forms_conjuncts() -> None:
    def stem(text: str, columns: slice) -> bool:
        return bool((ink(text, "NotoSansDevanagari", 2)[5:11, columns] > 8).any(axis=1).all())

    assert stem("कि", slice(1, 3))  # the short vowel stands in front
    assert not stem("कि", slice(11, 14))
    assert stem("की", slice(11, 14))  # the long one behind
    apart = ink("क्\u200cष", "NotoSansDevanagari", 2)
    assert not np.array_equal(ink("क्ष", "NotoSansDevanagari", 2), apart)


def test_marks_stand_above_and_below_their_base() -> None:
    def rows(text: str) -> tuple[int, int]:
        there = np.flatnonzero(ink(text, None, 1).any(axis=1))
        return int(there[0]), int(there[-1])

    top, bottom = rows("x\ufe0f")
    assert rows("x\u0302")[0] < top - 1
    assert rows("x\u0302")[1] == bottom
    assert rows("x\u0323")[1] > bottom
    assert rows("X\u0302")[0] >= 1
    assert ink("o\u0338", None, 1).sum() > ink("o\ufe0f", None, 1).sum()


def test_emoji_sequences_become_one_picture() -> None:
    family, man = ink(FAMILY, "NotoEmoji", 2), ink("\U0001f468", "NotoEmoji", 2)
    assert not np.array_equal(family, man)
    flags = {ink(flag, "NotoEmoji", 2).tobytes() for flag in ("🇩🇪", "🇯🇵", "🇧🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿")}
    assert len(flags) == 4
    marked = ink("👍\u0301", None, 2)
    assert not np.array_equal(marked, ink("👍\ufe0f", None, 2))


# Fonts beyond the shipped ones


def make_font(path: Path, letters: str) -> Path:
    """A font in which each letter is a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path


@pytest.fixture(autouse=True)
def _no_installed_fonts(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fontconfig lists nothing unless a test says what."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("bin")))
    monkeypatch.delenv(fontchain.VARIABLE, raising=False)
    fontchain._installed.cache_clear()
    fontchain._chain.cache_clear()
    yield
    fontchain._installed.cache_clear()
    fontchain._chain.cache_clear()


def test_fonts_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, named = tmp_path / "given.ttf", tmp_path / "more"
    named.mkdir()
    make_font(given, "ᚠ")
    make_font(named / "named.ttf", "ᚠᚢ")
    (named / "notes.txt").write_text("no font")
    assert font_chain().find("ᚠ") is None
    monkeypatch.setenv(fontchain.VARIABLE, str(named))
    found = [font_chain((given,)).find(letter) for letter in "ᚠᚢᚦ"]
    assert [font and font.path.name for font in found] == ["given.ttf", "named.ttf", None]
    assert not any(font.shipped for font in found if font)


def test_what_must_stay_visible_is_never_left_to_a_font(tmp_path: Path) -> None:
    letters = "\u200b\u00ad\u2003\ue123\U000f0000"
    chain = FontChain([make_font(tmp_path / "all.ttf", letters)])
    assert [chain.find(letter) for letter in letters] == [None] * 5


def test_fontconfig_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bold, plain = make_font(tmp_path / "a.ttf", "ᚠ"), make_font(tmp_path / "b.ttf", "ᚠᚢ")
    tool = tmp_path / "bin" / "fc-list"
    tool.parent.mkdir()
    lines = [
        f"Bold\t0\t{bold}\t16a0 16a2",
        f"Regular\t0\t{plain}\t16a0-16a2",
        "Regular\t65536\tx\t16a6",
    ]
    tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    found = [font_chain().find(letter) for letter in "ᚠᚢᚦ"]
    assert [font and font.path.name for font in found] == ["b.ttf", "b.ttf", None]


def test_a_broken_fontconfig_leaves_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "fc-list"
    tool.write_text("#!/bin/sh\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert font_chain().find("ᚠ") is None


def test_a_file_that_is_no_font_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no.ttf").write_bytes(b"no font")
    monkeypatch.setenv(fontchain.VARIABLE, str(tmp_path / "no.ttf"))
    with pytest.raises(InputError, match="no.ttf is no font"):
        font_chain().find("ᚠ")


def test_cells_need_no_font_library() -> None:
    program = (
        "import sys; from optimem.renderers.atlas import load_atlas;"
        "assert load_atlas().cells('نص ไทย 中文 👨‍👩‍👧').sum() == 14;"
        "assert not {'freetype', 'uharfbuzz', 'bidi', 'PIL'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.text())
def test_points_are_the_code_points(text: str) -> None:
    assert points(text).tolist() == [ord(character) for character in text]
