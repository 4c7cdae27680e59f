"""The atlas draws every code point, the same on every machine."""

import hashlib
import string
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import InputError
from optimem.modes import COLUMNS, MODES, ROWS, Tier
from optimem.renderers.area import area_average
from optimem.renderers.atlas import ATLAS_FILE, PAPERS, Atlas, Pixels, load_atlas

LINES = [
    "<user#12> Mathilde suffered ceaselessly, |4 feeling herself born to enjoy all luxuries.",
    string.printable[:95],
    "ÀÉÎÕÜ ßøœ ŁŚŽ Ế ΑΒΓ αβγ ἀ АБВ абвё Ա Ⴀ ʃʒʰ €₹ ½ ™ ℝ Ⅷ ←⇒ ∀∑√≤ ⌘⏎␣ ␀␛␡",
    "┌──┬╌╮ ╔═╦═╗ ░▒▓█▄▀ ■△◆○ ☀★☑✓✗❤➜ ⠋⠙⣿ 😀 \u0301 \ufffd",
    "\u3400\u4e2d\u6587\U0001f680\0\x1b\u200b\u2003\ud83d\U0010ffff\U000e0001",
]

# The first digits of the SHA-256 of the pixels (not of a PNG) of `page()`, by mode and fade.
GOLDEN = {
    "gundam native": "c5870a4d822606e8",
    "large native": "c5870a4d822606e8",
    "base native": "cebfb80fd7bfe4d7",
    "px896 native": "50e92d2c93a5b2a6",
    "px768 native": "605e48157ac5c07b",
    "small native": "4a1ea9939cedc06d",
    "tiny native": "a7ab70ef45f587ee",
    "gundam area": "517ed277614444c2",
    "large area": "517ed277614444c2",
    "base area": "cebfb80fd7bfe4d7",
    "px896 area": "71b910d509d24d08",
    "px768 area": "361f50ea41c49b1b",
    "small area": "eb7475de717f1b7e",
    "tiny area": "453bd77681f3f35c",
}


def points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def cells(text: str) -> npt.NDArray[np.intp]:
    """The slots of a line's cells, padded with blanks: (128,)."""
    atlas = load_atlas()
    slots = [
        slot + half
        for slot, width in zip(atlas.slots(points(text)), atlas.widths(points(text)), strict=True)
        for half in range(width)
    ]
    return np.array(slots + [0] * (COLUMNS - len(slots)), np.intp)


def page(*lines: str) -> npt.NDArray[np.intp]:
    """Codes of a page that repeats the lines in all four bands: (64, 128)."""
    rows = [cells(line) for line in lines or LINES]
    slots = np.stack([rows[row % len(rows)] for row in range(ROWS)])
    return load_atlas().codes(slots, np.arange(ROWS)[:, None] // 5 % len(PAPERS))


def glyphs(characters: str, tier: Tier) -> Pixels:
    """Each character's first cell, on white: (n, h, w)."""
    slots = load_atlas().slots(points(characters))
    codes = np.zeros(ROWS * COLUMNS, np.intp)
    codes[: len(slots)] = load_atlas().codes(slots)
    width, height = tier.cell
    pixels = load_atlas().raster(codes.reshape(ROWS, COLUMNS), tier)
    grid = pixels.reshape(ROWS, height, COLUMNS, width).swapaxes(1, 2)
    return grid.reshape(-1, height, width)[: len(slots)]


@pytest.mark.parametrize("tier", MODES)
@pytest.mark.parametrize("fade", ["native", "area"])
def test_pixels_of_a_fixed_page_never_change(tier: Tier, fade: str) -> None:
    pixels = load_atlas().raster(page(), tier, "area" if fade == "area" else "native")
    assert pixels.shape == (tier.side, tier.side)
    assert pixels.dtype == np.uint8
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == GOLDEN[f"{tier.label} {fade}"]


@pytest.mark.parametrize("tier", MODES)
def test_native_pixels_fit_in_four_bits(tier: Tier) -> None:
    assert not (load_atlas().raster(page(), tier) % 17).any()


@pytest.mark.parametrize("tier", MODES)
def test_ascii_characters_all_look_different(tier: Tier) -> None:
    drawn = glyphs(string.printable[:94], tier)
    assert len({glyph.tobytes() for glyph in drawn}) == 94


@pytest.mark.parametrize("tier", MODES)
def test_lines_never_touch(tier: Tier) -> None:
    letters = string.printable[:94] + "ÀÅÉÑÖẾỘǮÇĢαβψΆЖЙщђ€☀✓"
    assert (glyphs(letters, tier)[:, 0] == 255).all()


@pytest.mark.parametrize("tier", MODES)
def test_boxes_and_bars_reach_the_edges(tier: Tier) -> None:
    full, line, bar = glyphs("█─│", tier)
    assert not full.any()
    assert (line < 255).any(axis=0).all()
    assert (bar < 255).any(axis=1).all()


@pytest.mark.parametrize("tier", MODES)
def test_blank_is_paper_in_each_band(tier: Tier) -> None:
    atlas = load_atlas()
    assert atlas.slots(points(" \u00a0")).tolist() == [0, 0]
    codes = atlas.codes(np.zeros((ROWS, COLUMNS), np.intp), np.arange(ROWS)[:, None] % 4)
    rows = atlas.raster(codes, tier).reshape(ROWS, -1)
    for row in range(ROWS):
        assert set(rows[row].tolist()) == {PAPERS[row % 4]}


def covered_points() -> npt.NDArray[np.uint32]:
    atlas = load_atlas()
    covered = [p for p in range(0x110000) if atlas.covered(p) and p not in (0x20, 0xA0)]
    return np.array(covered, np.uint32)


def test_only_the_two_spaces_are_blank() -> None:
    atlas = load_atlas()
    covered = covered_points()
    covered = covered[~atlas.late(atlas.slots(covered))]
    slots, wide = atlas.slots(covered), atlas.widths(covered) == 2
    for tier in MODES:
        table = atlas.table(tier).view(np.uint8)
        white = table.reshape(-1, len(PAPERS), tier.cell[0] * tier.cell[1])[:, 0]  # (n, h * w)
        ink = white.min(axis=1) < 255
        assert (ink[slots] | (wide & ink[slots + wide])).all()


def test_late_glyphs_have_ink() -> None:
    """Those that are rasterized when first needed: at Base all of them, page after page."""
    atlas = load_atlas()
    covered = covered_points()
    slots = atlas.slots(covered)
    wide = atlas.widths(covered) == 2
    late = atlas.late(slots) & wide  # scripts of one cell are shaped as words
    assert late.sum() > 13_000
    starts = slots[late]
    width, height = Tier.BASE.cell
    for part in np.array_split(starts, len(starts) // (ROWS * COLUMNS // 2) + 1):
        codes = np.zeros(ROWS * COLUMNS, np.intp)
        codes[: 2 * len(part)] = atlas.codes(np.stack([part, part + 1], axis=1).ravel())
        pixels = atlas.raster(codes.reshape(ROWS, COLUMNS), Tier.BASE)
        grid = pixels.reshape(ROWS, height, COLUMNS // 2, 2 * width).swapaxes(1, 2)
        darkest = grid.reshape(-1, height * 2 * width).min(axis=1)[: len(part)]
        assert (darkest < 255).all()


@given(st.lists(st.integers(0, 0x10FFFF), min_size=1, max_size=50))
def test_each_code_point_has_slots_of_its_own(values: list[int]) -> None:
    atlas = load_atlas()
    codepoints = np.array(values, np.uint32)
    widths, slots = atlas.widths(codepoints), atlas.slots(codepoints)
    assert widths.shape == slots.shape == codepoints.shape
    assert slots.dtype == np.intp
    taken: dict[int, int] = {}
    for value, width, slot in zip(values, widths, slots, strict=True):
        assert width in (1, 2)
        assert width == 2 or atlas.covered(value)
        if value not in (0x20, 0xA0):
            for cell in range(slot, slot + width):
                assert taken.setdefault(cell, value) == value


def test_controls_and_surrogates_are_boxes() -> None:
    atlas = load_atlas()
    hidden = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0xFEFF, *range(0xD800, 0xE000)]
    hidden += [0x2003, 0x202E, 0x378, 0x3400, 0xF0000, 0x10FFFF]
    assert not any(atlas.covered(point) for point in hidden)
    assert (atlas.widths(np.array(hidden, np.uint32)) == 2).all()
    assert not atlas.covered(-1)
    assert not atlas.covered(0x110000)


@given(st.lists(st.integers(0, 0x10FFFF), min_size=2, max_size=20, unique=True))
def test_boxes_of_different_code_points_differ(values: list[int]) -> None:
    atlas = load_atlas()
    codepoints = np.array([v for v in values if not atlas.covered(v)], np.uint32)
    slots = atlas.slots(codepoints)
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    codes[: len(slots), 0] = atlas.codes(slots)
    codes[: len(slots), 1] = atlas.codes(slots + 1)
    for tier in (Tier.LARGE, Tier.BASE, Tier.PX896, Tier.PX768, Tier.SMALL, Tier.TINY):
        width, height = tier.cell
        boxes = atlas.raster(codes, tier)[:, : 2 * width].reshape(ROWS, height, 2 * width)
        assert len({box.tobytes() for box in boxes[: len(slots)]}) == len(slots)
        assert (boxes[:, 0] == 255).all()


def test_numbers_beyond_unicode_are_refused() -> None:
    atlas = load_atlas()
    beyond = np.array([0x41, 0x110000], np.uint32)
    with pytest.raises(InputError, match="0x110000 is no Unicode"):
        atlas.slots(beyond)
    with pytest.raises(InputError, match="0x110000 is no Unicode"):
        atlas.widths(beyond)
    assert atlas.slots(np.zeros(0, np.uint32)).size == 0


def test_codes_of_no_page_are_refused() -> None:
    atlas = load_atlas()
    with pytest.raises(InputError, match="64 x 128"):
        atlas.raster(np.zeros((128, 64), np.intp), Tier.BASE)
    for code in (-1, 1 << 40):
        with pytest.raises(InputError, match="no such code"):
            atlas.raster(np.full((ROWS, COLUMNS), code, np.intp), Tier.BASE)
    with pytest.raises(ValueError, match="not a mode"):
        atlas.raster(np.zeros((ROWS, COLUMNS), np.intp), Tier.TEXT)


def overlap(step: Fraction, new: int, old: int) -> Fraction:
    """How much of an old pixel a new one covers, `step` being the new one's length."""
    begin, end = max(new * step, Fraction(old)), min((new + 1) * step, Fraction(old + 1))
    return max(end - begin, Fraction(0))


def area_of(pixels: Pixels, side: int) -> list[list[int]]:
    """The same average in exact fractions, over a whole image, a half rounded upwards."""
    step = Fraction(len(pixels), side)
    covers = [
        [(old, part) for old in range(len(pixels)) if (part := overlap(step, new, old))]
        for new in range(side)
    ]
    return [
        [
            int(
                sum(high * wide * int(pixels[j, i]) for j, high in ys for i, wide in xs) / step**2
                + Fraction(1, 2)
            )
            for xs in covers
        ]
        for ys in covers
    ]


@pytest.mark.parametrize("tier", MODES)
def test_area_fade_equals_resampling_the_base_page(tier: Tier) -> None:
    """One 64 x 64 corner is checked in fractions, then the whole page in integers."""
    atlas = load_atlas()
    codes = np.roll(page(), -20, axis=0)
    base, faded = atlas.raster(codes, Tier.BASE), atlas.raster(codes, tier, "area")
    side = 64 * tier.side // 1024
    assert faded[:side, :side].tolist() == area_of(base[:64, :64], side)
    assert np.array_equal(faded, area_average(base[None], (tier.side, tier.side))[0])


@pytest.mark.timeout(300)
def test_building_again_gives_the_shipped_atlas() -> None:
    from optimem.renderers.build_fonts import build_atlas

    with np.load(ATLAS_FILE, allow_pickle=False) as file:
        shipped = dict(file)
    built = build_atlas()
    assert str(built["freetype"]) == str(shipped["freetype"])
    assert built.keys() == shipped.keys()
    for name, array in built.items():
        if unicodedata.unidata_version != "14.0.0" and name.startswith(("late", "marks")):
            continue  # Python 3.11 built them: another's tables know other code points
        assert np.array_equal(array, shipped[name]), name
        assert array.dtype == shipped[name].dtype


def test_drawing_needs_no_font_library() -> None:
    program = (
        "import sys; from optimem.renderers.atlas import load_atlas; load_atlas();"
        "assert not {'freetype', 'fontTools', 'PIL'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_threads_that_start_together_draw_the_same() -> None:
    atlas, codes = Atlas(), page()
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: atlas.raster(codes, Tier.SMALL), range(16)))
    assert all(np.array_equal(drawn[0], pixels) for pixels in drawn)
