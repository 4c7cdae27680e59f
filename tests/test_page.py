"""Pages of every script: nothing is lost, and the same pixels come out everywhere."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import unicodedata
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import unicode_pages
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unicode_pages import GOLDEN, TIERS, TURNS, digest, golden_page, lay_out

from optimem.modes import COLUMNS, MODES, Tier
from optimem.renderers.area import area_average
from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import PAPERS, load_atlas
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import draw_page, page_codes, page_pixels, page_png, stamp
from optimem.renderers.report import report_page
from optimem.testing import rapidocr
from optimem.values import Page

ANY_TEXT = st.text(st.characters(codec=None))
JOINING = (
    "a \u0301\u05d0\u0661\u200d\u202e\u2067\ufe0f\U0001f468\U0001f3fd\U0001f1e9(<|"
    "\u0915\u094d\ud800\u0e33"
)
AWKWARD_TEXT = st.one_of(
    ANY_TEXT,
    st.text(st.characters(min_codepoint=0x10000)),  # the planes behind the first
    st.text(st.characters(min_codepoint=0x300, max_codepoint=0x33FF)),
    st.text(JOINING),
    st.text(
        st.characters(max_codepoint=0x7E)
        | st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)
        | st.characters(min_codepoint=0x590, max_codepoint=0x77F)
        | st.characters(min_codepoint=0x1F300, max_codepoint=0x1F64F)
    ),
)
"""Texts of all planes, of scripts that need shaping, and of what joins."""


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.label)
@pytest.mark.parametrize("name", TURNS)
def test_golden_pages_never_change(name: str, tier: Tier) -> None:
    """The files beside the hashes were looked at: a difference can be seen, not just known."""
    pixels = golden_page(name, tier)
    with Image.open(GOLDEN / f"{name}-{tier.label}.png") as file:
        assert np.array_equal(np.asarray(file.convert("L")), pixels)
    hashes = json.loads((GOLDEN / "hashes.json").read_text())
    assert digest(pixels) == hashes[f"{name} {tier.label}"]


def test_pixels_are_the_same_in_every_process(tmp_path: Path) -> None:
    program = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from unicode_pages import *\n"
        "from optimem.renderers.page import page_codes, stamp\n"
        "for page in lay_out(*sum(TURNS.values(), [])):\n"
        "    codes = page_codes(page, load_atlas())\n"
        "    print(page.hash, stamp(page).hash, digest(codes.view('u1')))\n"
        "    print(*(digest(page_pixels(page, tier, fonts=None)) for tier in TIERS))\n"
    )
    tests = str(Path(unicode_pages.__file__).parent)
    places = [
        ("0", "C", tmp_path),
        ("4242", "ar_EG.UTF-8", Path("/")),
        ("7", "tr_TR.UTF-8", Path.cwd()),
    ]
    printed = {
        subprocess.run(
            [sys.executable, "-c", program, tests],
            env=os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONUTF8": "1"},
            cwd=folder,
            check=True,
            capture_output=True,
        ).stdout
        for seed, locale, folder in places
    }
    assert len(printed) == 1
    assert len(printed.pop().split()) > 4


def test_plain_pages_load_no_font_library() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from unicode_pages import *\n"
        "(page,) = lay_out('plain words', 'naïve café – Ελληνικά, Кириллица ✓ → ─')\n"
        "page_pixels(page, Tier.BASE)\n"
        "assert not {'freetype', 'uharfbuzz', 'bidi', 'fontTools'} & sys.modules.keys()\n"
    )
    tests = str(Path(unicode_pages.__file__).parent)
    subprocess.run([sys.executable, "-c", program, tests], check=True)


# Nothing is lost


def check_nothing_lost(page: Page) -> None:
    """Each character has cells of its own with ink in them, or the report says why not."""
    atlas = load_atlas()
    arrangement = arrange_page(page, atlas, None)
    report = report_page(page, None)
    assert report.characters == set(page.text)
    taken = np.zeros(arrangement.codes.shape, np.intp)
    for row, column, _, piece in arrangement.pieces:
        assert (
            not arrangement.codes[row, column : column + piece.cells].any()
            or (arrangement.codes[row, column : column + piece.cells] < len(PAPERS)).all()
        )
        taken[row, column : column + piece.cells] += 1
    assert taken.max() <= 1
    in_pieces = sum(len(placement.piece.text) for placement in arrangement.pieces)
    cells = sum(int(atlas.cells(row).sum()) for row in page.rows)
    drawn = int(taken.sum()) + int(np.count_nonzero(arrangement.codes >= len(PAPERS)))
    blanks = sum(character in " \u00a0" for character in page.text)
    assert drawn + blanks == cells
    assert in_pieces <= len(page.text)
    pixels = draw_page(arrangement, atlas, Tier.TINY)
    width, height = Tier.TINY.cell
    for row, column, band, piece in arrangement.pieces:
        place = pixels[row * height :, column * width :][:height, : width * piece.cells]
        unseen = set(piece.text) <= set(report.unseen)
        assert unseen or place.min() < PAPERS[band] - 16


def awkward(generator: random.Random) -> str:
    """A random text: of all planes, of scripts that need shaping, or of what joins."""
    length = generator.randint(1, 40)
    kind = generator.random()
    if kind < 0.4:
        return "".join(chr(generator.randrange(0x110000)) for _ in range(length))
    if kind < 0.6:
        return "".join(chr(generator.randrange(0x300, 0x3400)) for _ in range(length))
    if kind < 0.8:
        return "".join(generator.choice(JOINING) for _ in range(length))
    ranges = ((0x20, 0x7F), (0x4E00, 0xA000), (0x590, 0x780), (0x1F300, 0x1F650))
    return "".join(chr(generator.randrange(*generator.choice(ranges))) for _ in range(length))


def check_random_texts(seed: int, count: int) -> None:
    generator = random.Random(seed)
    for _ in range(count // 100):
        for page in lay_out(*(awkward(generator) for _ in range(100))):
            check_nothing_lost(page)


def test_nothing_is_lost_of_random_texts() -> None:
    check_random_texts(seed=1, count=3_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=2_000)
@given(st.lists(AWKWARD_TEXT, min_size=100, max_size=100))
def test_nothing_is_lost_of_200_000_texts(texts: list[str]) -> None:
    """A hundred at a time, as turns of one log: most of the time is Hypothesis' own."""
    for page in lay_out(*texts):
        check_nothing_lost(page)


@given(ANY_TEXT)
def test_nothing_is_lost_of_any_text(text: str) -> None:
    for page in lay_out(text or "."):
        check_nothing_lost(page)


@pytest.mark.parametrize(
    "text",
    [
        "e" + "\u0301" * 10_000,
        "ب" + "\u064e" * 10_000,
        "क" + "\u093e" * 10_000,
        "\u202e\u2067" * 3_000 + "א" * 3_000,
        "ا (ب[ " * 2_000,
        "1א2ب" * 2_000,
        "\U0001f468\u200d" * 3_000,
        "\ud83d" * 5_000,
        "ก" * 10_000,
        "\u05d0 " * 5_000,
    ],
    ids=lambda text: f"U+{ord(text[0]):04X}",
)
def test_pathological_texts_neither_hang_nor_vanish(text: str) -> None:
    pages = lay_out(text)
    for page in pages:
        check_nothing_lost(page)
    letter = text.strip()[-1]
    assert sum(page.text.count(letter) for page in pages) >= text.count(letter)


@pytest.mark.parametrize("letter", ["x", "字", "א", "क"])
def test_a_megabyte_on_one_line(letter: str) -> None:
    pages = lay_out(letter * 1_000_000)
    assert sum(page.text.count(letter) for page in pages) >= 1_000_000
    check_nothing_lost(pages[len(pages) // 2])


def test_the_report_says_how_each_character_was_drawn() -> None:
    (page,) = lay_out("aΩ中한 שלום क्षि e\u0301 x\u0302 👍🏽 ᚠ \x07")
    report = report_page(page, None)
    assert report.glyphs["DroidSansFallback"] == "中"
    assert report.glyphs["NotoSansKR"] == "한"
    assert {"a", "Ω", "é"} <= set(report.glyphs["JetBrainsMono"])
    assert report.shaped == {"NotoSansDevanagari": "कषि\u094d", "NotoSansHebrew": "ולםש"}
    assert report.clusters == "x\u0302👍"
    assert report.unseen == "🏽"
    assert report.boxes == "ᚠ"
    assert report.pictures == "␇"
    assert report.foreign == {}


# Drawing


@pytest.mark.parametrize("tier", MODES, ids=lambda tier: tier.label)
def test_area_fade_equals_resampling_the_base_page(tier: Tier) -> None:
    (page,) = lay_out(*(turns[1] for turns in TURNS.values()))
    base = page_pixels(page, Tier.BASE, PageStyle(fade="area"), None)
    faded = page_pixels(page, tier, PageStyle(fade="area"), None)
    assert np.array_equal(faded, area_average(base[None], (tier.side, tier.side))[0])


@pytest.mark.parametrize("tier", MODES, ids=lambda tier: tier.label)
def test_lines_never_touch_and_four_bits_hold_them(tier: Tier) -> None:
    (page,) = lay_out(*sum(TURNS.values(), []))
    pixels = page_pixels(page, tier, fonts=None)
    assert not (pixels % 17).any()
    tops = pixels[:: tier.cell[1]]
    assert set(np.unique(tops).tolist()) <= set(PAPERS)


def test_pieces_stand_on_their_turn_s_paper() -> None:
    (page,) = lay_out("שלום", "שלום")
    pixels = page_pixels(page, Tier.BASE)
    left, right = arrange_page(page, load_atlas()).pieces
    assert (left.band, right.band) == (0, 1)
    for placement in (left, right):
        place = pixels[:16, placement.column * 8 :][:, : placement.piece.cells * 8]
        assert place.max() == PAPERS[placement.band]
        assert place.min() < 60


def test_wide_characters_fill_two_cells() -> None:
    (page,) = lay_out("中" * 10)
    codes = page_codes(page, load_atlas())[0, len("<user#0> ") :][:20]
    assert (np.diff(codes)[::2] == len(PAPERS)).all()
    assert len(set(codes[::2].tolist())) == 1


def test_a_mark_behind_a_row_s_last_cell_is_drawn() -> None:
    begin = len("<user#0> ")
    (page,) = lay_out("x" * (COLUMNS - begin) + "\u0302 " + "y" * 200)
    assert page.rows[0].endswith("x\u0302 ")
    assert len(page.rows[0]) == COLUMNS + 2
    (placement,) = arrange_page(page, load_atlas()).pieces
    assert (placement.row, placement.column) == (0, COLUMNS - 1)


@pytest.mark.parametrize("tier", MODES, ids=lambda tier: tier.label)
@pytest.mark.parametrize("name", ["arabic", "plain", "chinese", "boxed"])
def test_png_of_a_page_shows_its_pixels(name: str, tier: Tier) -> None:
    (page,) = lay_out(*TURNS.get(name, ["naïve words" + " ᚠ" * (name == "boxed")]))
    for style in PageStyle(), PageStyle(fade="area"):
        with Image.open(io.BytesIO(page_png(page, tier, style))) as image:
            shown = np.asarray(image.convert("L"))
        assert np.array_equal(shown, np.round(page_pixels(page, tier, style) / 17) * 17)


# Names


def test_a_stamp_names_what_else_decides_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder without fonts is a chain of its own, which remembers no font of this machine.
    monkeypatch.setenv("OPTIMEM_FONTS", str(tmp_path))
    monkeypatch.setattr("optimem.renderers.fontchain._installed", lambda: ([], [-1] * 0x110000))
    (latin,), (boxed,), (chinese,) = lay_out("naïve"), lay_out("naïve ᚠ"), lay_out("中")
    assert stamp(latin) == latin
    assert stamp(boxed) == boxed
    assert stamp(chinese).hash != chinese.hash
    assert stamp(chinese).rows == chinese.rows
    assert stamp(chinese) == stamp(chinese)
    monkeypatch.setattr("optimem.renderers.shaping.versions", lambda: ("another",))
    other = stamp(chinese).hash
    monkeypatch.undo()
    assert other != stamp(chinese).hash


def plain(text: str) -> str:
    """Without blanks, and with one form of each punctuation mark."""
    text = unicodedata.normalize("NFKC", "".join(text.split()))
    return text.translate({ord("。"): ".", ord("、"): ","})


def distance(one: str, other: str) -> int:
    """Levenshtein's."""
    line = list(range(len(other) + 1))
    for row, left in enumerate(one, 1):
        above, line[0] = line[0], row
        for column, right in enumerate(other, 1):
            change = above + (left != right)
            above = line[column]
            line[column] = min(line[column] + 1, line[column - 1] + 1, change)
    return line[-1]


if sys.version_info < (3, 13):  # RapidOCR has no newer wheels

    @pytest.mark.timeout(180)
    def test_an_ocr_engine_reads_chinese_at_base() -> None:
        (page,) = lay_out(files("optimem").joinpath("data/cjk.txt").read_text("utf-8"))
        pixels = page_pixels(page, Tier.BASE, fonts=None)
        wanted, got = plain(page.text), plain(rapidocr(pixels, Tier.BASE.cell[0]))
        assert len(wanted) > 900
        assert distance(wanted, got) / len(wanted) <= 0.02
