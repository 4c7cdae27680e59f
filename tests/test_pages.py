"""Pages are named by what they show; sheets hold them without touching."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from optimem.messages import parse
from optimem.modes import MODES, Tier
from optimem.pages import Page, PageFacts, Sheet, Span

PAGE = Page(0, ("<user#0> one", " two"), (Span(0, "user", 0, 16, True, True),), (), (1, 0), "s")


def test_a_page_is_named_by_its_text_bands_and_style() -> None:
    assert PAGE.text == "<user#0> one two"
    assert replace(PAGE, number=7).hash == PAGE.hash
    others = [
        replace(PAGE, rows=("<user#0> one", " too")),
        replace(PAGE, rows=("<user#0> one two",)),
        replace(PAGE, spans=(Span(0, "assistant", 0, 16, True, True),)),
        replace(PAGE, style="t"),
    ]
    assert len({page.hash for page in (PAGE, *others)}) == 5
    assert len(replace(PAGE, rows=("\ud800",)).hash) == 64


def test_ids_and_hashes_are_the_same_in_another_process() -> None:
    code = f"""
from optimem.messages import parse
from optimem.values import Page, Span
print(parse({{'role': 'user', 'content': 'x'}}).id, {PAGE!r}.hash)
"""
    here = f"{parse({'role': 'user', 'content': 'x'}).id} {PAGE.hash}"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == here


def test_captions_name_the_turns_and_the_exact_strings() -> None:
    facts = PageFacts(3, "h", 7, 7, 8, 100)
    assert facts.caption == "Page 3, turns 7"
    assert replace(facts, last=9, anchors=("a.py", "0x1f")).caption == (
        "Page 3, turns 7-9, exact: a.py 0x1f"
    )


@given(st.sampled_from(MODES), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_pages_of_a_sheet_stand_in_reading_order_inside_of_it(
    tier: Tier, columns: int, rows: int, spare: int
) -> None:
    side = tier.side
    size = (columns * side + spare, rows * side + spare // 2)
    sheet = Sheet(tier, columns, rows, size, None, 1000)
    places = list(sheet.places())
    assert len(places) == sheet.pages == columns * rows and sheet.cost * sheet.pages == 1000
    assert places == sorted(places, key=lambda place: (place[1], place[0]))
    for left, top in places:
        assert 0 <= left <= size[0] - side and 0 <= top <= size[1] - side
    lefts, tops = ({place[axis] for place in places} for axis in (0, 1))
    for values in (sorted(lefts), sorted(tops)):
        assert all(b - a >= side for a, b in zip(values, values[1:], strict=False))
    assert (len(lefts), len(tops)) == (columns, rows)
