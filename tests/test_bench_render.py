"""The renderer's benchmarks run, say what they lack, and judge readings as they claim to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.bench import render
from optimem.bench.corpus import KINDS, pages_of, random_ids, turns_of
from optimem.bench.first_page import cold_start
from optimem.bench.legibility import ALPHABET, BOUNDS, compare, read_by_tesseract, row_crops
from optimem.modes import Tier
from optimem.renderers.page import page_pixels


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_text_fills_a_page(kind: str) -> None:
    page = pages_of(turns_of(kind))[0]
    assert len(page.rows) == 64
    assert len(page.text) > 7000


def test_random_ids_depend_on_their_seed() -> None:
    assert random_ids(1) == random_ids(1) != random_ids(2)


def test_blanks_count_if_drawn_or_within_words() -> None:
    assert compare('{"a":1}', '{ "a": 1 }').rate == 0.0
    assert compare('{"a": 1}', '{"a":1}').rate == 12.5
    assert compare("to day", "today").rate == 16.67
    assert compare("today", "to day").rate == 20.0
    assert compare("one\ntwo  three", "one two three").raw == 0.0


def test_only_what_an_engine_can_answer_counts() -> None:
    reading = compare("a `b` c", "a 'b’ c", ALPHABET)
    assert (reading.rate, reading.characters) == (0.0, 5)
    assert reading.raw == 28.57
    assert compare("a `b` c", "a 'd’ c", ALPHABET).rate == 20.0
    assert compare("a `b` c", "a 'b’ c").rate == 28.57
    assert compare("a `b` c", "a 'b’’’ c", ALPHABET).rate == 40.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_rate_never_exceeds_the_edits(drawn: str, read: str) -> None:
    reading = compare(drawn, read)
    assert 0.0 <= reading.rate <= reading.raw
    assert compare(drawn, drawn).raw == 0.0


def test_tesseract_reads_a_page_at_base() -> None:
    """Beyond the benchmark's bound by half, since builds of Tesseract differ."""
    reading = read_by_tesseract(pages_of(turns_of("prose"))[0], Tier.BASE)
    assert reading.characters > 7000
    assert reading.rate <= 1.5 * BOUNDS["prose", Tier.BASE]


def test_crops_hold_the_rows_that_they_name() -> None:
    page = pages_of(turns_of("prose"))[0]
    pixels = page_pixels(page, Tier.BASE)
    crops, texts = row_crops(page, pixels, Tier.BASE)
    assert "".join(texts).replace(" ", "") == "".join(page.rows[::8]).replace(" ", "")
    assert all(
        crop.shape == (16 + 8, 8 * len(text) + 8) for crop, text in zip(crops, texts, strict=True)
    )
    assert np.array_equal(crops[0][4:-4, 4:-4], pixels[:16, : 8 * len(texts[0])])


def test_every_raster_way_draws() -> None:
    ways = render.raster_ways(pages_of(turns_of("prose"))[:1])
    assert {"memory copy", "optimem", "Pillow BASIC, own font"} <= ways.keys()
    assert all(seconds > 0 for seconds in render.medians(ways, 1).values())


def test_text_becomes_images_in_every_way_at_hand() -> None:
    ways = render.text_ways([turns_of("prose")[:1]])
    assert {"optimem", "Pillow BASIC, own font"} <= ways.keys()
    assert all(seconds > 0 for seconds in render.medians(ways, 1).values())


def test_a_way_may_measure_itself() -> None:
    taken = iter([9.0, 3.0, 1.0, 2.0])
    assert render.medians({"own": lambda: next(taken)}, 3) == {"own": 2.0}


def test_quick_ways_are_run_several_times() -> None:
    runs = 0

    def quick() -> None:
        nonlocal runs
        runs += 1
        sum(range(10_000))

    assert 0 < render.medians({"quick": quick}, 2)["quick"] < 0.05
    assert runs > 10


def test_the_quickest_font_counts() -> None:
    text = {"optimem": 1.0, "optimem, isal": 1.0, "Pillow RAQM, FreeMono": 30.0}
    text |= {"Pillow RAQM, DejaVu Sans Mono": 44.0, "Pillow BASIC, DejaVu Sans Mono": 42.0}
    checks = {check.name: check.value for check in render.checks({}, text, 0.01)}
    assert checks["text to PNG against Pillow"] == 30.0
    assert checks["text to PNG with isal against Pillow with DejaVu Sans Mono"] == 42.0


def test_a_peer_that_is_not_there_fails_its_check() -> None:
    raster = {"optimem": 1.0, "Pillow BASIC, own font": 80.0}
    text = {"optimem": 1.0, "Pillow BASIC, own font": 16.0, "omniglyph": 5.0}
    checks = {check.name: check for check in render.checks(raster, text, 0.01)}
    assert checks["raster against the best Pillow way"].value == 80.0
    assert checks["text to PNG against Pillow"].holds
    assert checks["characters a CPU second against omniglyph"].holds
    for missing in (
        "text to PNG with isal against Pillow with DejaVu Sans Mono",
        "characters a CPU second against reportlab and poppler",
    ):
        assert checks[missing].value == 0.0
        assert not checks[missing].holds


def test_a_new_process_draws_a_page() -> None:
    assert cold_start() > 0
