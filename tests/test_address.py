"""Addresses: where on which page a turn or some words stand, and what stands in a region."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem import Memory
from optimem.errors import InputError
from optimem.messages import parse
from optimem.modes import COLUMNS, ROWS, Tier
from optimem.renderers.address import (
    Place,
    region_words,
    role_places,
    role_words,
    turn_places,
    word_places,
)
from optimem.renderers.atlas import PAPERS, load_atlas
from optimem.renderers.layout import PageBuilder
from optimem.renderers.page import page_pixels
from optimem.values import Entry, Page, Role, Turn

BANDS: tuple[Role, ...] = ("user", "assistant", "tool", "system")
TRANSCRIPT = Path(__file__).parent / "transcripts/coding_minisweagent__psf__requests-1766.json"


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    messages = json.loads(TRANSCRIPT.read_text("utf-8"))["messages"]
    return [parse(message, default_id=str(n)) for n, message in enumerate(messages)]


@pytest.fixture(scope="module")
def pages(turns: list[Turn]) -> list[Page]:
    builder = PageBuilder(load_atlas().cells, "key")
    sealed = [page for n, turn in enumerate(turns) for page in builder.add(Entry(n, turn))]
    last = builder.flush()
    return sealed if last is None else [*sealed, last]


def said(pages: list[Page], places: tuple[Place, ...]) -> str:
    return "".join(region_words(pages[place.page], place) for place in places)


def test_every_turn_stands_where_its_places_say(pages: list[Page], turns: list[Turn]) -> None:
    for position, turn in enumerate(turns):
        places = turn_places(pages, position)
        assert f"<{turn.role}#{position}> " in said(pages, places)
        # The lines next to them hold nothing of it.
        page, first = pages[places[0].page], places[0].first
        before = sum(map(len, page.rows[: first - 1]))
        after = before + len(page.rows[first - 1])
        start = next(span.start for span in page.spans if span.position == position)
        assert before <= start < after


def test_words_are_found_on_their_lines(pages: list[Page], turns: list[Turn]) -> None:
    for position, turn in enumerate(turns):
        lines = [line for line in turn.text.split("\n") if len(line.strip()) > 40]
        for line in lines[::7]:
            places = word_places(pages, position, line)
            assert places[-1].page - places[0].page == len(places) - 1 <= 1
            assert sum(place.last - place.first + 1 for place in places) <= len(line) // 100 + 2
            shown = said(pages, places).replace("\\|", "|")
            assert " ".join(line.split()[:3]) in " ".join(shown.split())


def test_words_that_run_over_a_page_have_a_place_on_each() -> None:
    turn = parse({"role": "user", "content": " ".join(f"w{n}" for n in range(3000))})
    builder = PageBuilder(load_atlas().cells, "key")
    pages = list(builder.add(Entry(0, turn)))
    words = " ".join((*pages[0].words.split()[-30:], *pages[1].words.split()[:50]))
    first, second = word_places(pages, 0, words)
    assert (first.page, first.last, second.page, second.first) == (0, ROWS, 1, 1)
    assert turn_places(pages, 0) == (Place(0), Place(1))


def test_words_of_minified_json_are_found_as_they_were_written() -> None:
    content = '{\n  "port": 8443,\n  "hosts": [\n    "a", "b"\n  ]\n}'
    builder = PageBuilder(load_atlas().cells, "key")
    list(builder.add(Entry(0, parse({"role": "user", "content": content}))))
    page = builder.flush()
    assert page is not None and word_places([page], 0, '"port": 8443,\n  "h') == (Place(0, 1, 1),)


def test_words_that_are_not_there_have_no_place(pages: list[Page]) -> None:
    assert word_places(pages, 0, "no such words anywhere") == ()
    assert word_places(pages, 0, "") == ()
    assert turn_places(pages, 10_000) == ()


def test_a_place_in_words_and_in_pixels() -> None:
    assert str(Place(12, 20, 31)) == "page 12, lines 20-31"
    assert str(Place(0, 3, 3)) == "page 0, line 3"
    assert Place(0).box(Tier.BASE) == (0, 0, 1024, 1024)
    assert Place(0, 2, 3).box(Tier.SMALL) == (0, 10, 640, 30)


@given(st.integers(0, 10**9), st.integers(1, ROWS), st.integers(1, ROWS))
def test_an_address_reads_back_as_its_place(page: int, one: int, other: int) -> None:
    place = Place(page, min(one, other), max(one, other))
    assert Place.parse(str(place)) == place
    assert Place.parse(f"Page {page}") == Place(page)


@pytest.mark.parametrize(
    "address",
    ["", "page", "page -1", "page 1, lines 0-3", "page 1, lines 9-8", "page 1, line 65", "line 3"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="page 12, lines 20-31"):
        Place.parse(address)


@pytest.mark.parametrize("tier", [Tier.LARGE, Tier.SMALL, Tier.TINY], ids=lambda tier: tier.label)
def test_a_region_is_read_where_the_image_shows_it(pages: list[Page], tier: Tier) -> None:
    place = Place.parse("page 1, lines 20-31")
    page = pages[place.page]
    left, top, right, bottom = place.box(tier)
    shown = page_pixels(page, tier, fonts=None)[top:bottom, left:right]
    above = sum(map(len, page.rows[: place.first - 1]))
    span = next(span for span in page.spans if above < span.stop)
    rows = page.rows[place.first - 1 : place.last]
    alone = replace(page, rows=rows, spans=(replace(span, start=0, stop=sum(map(len, rows))),))
    assert np.array_equal(page_pixels(alone, tier, fonts=None)[: bottom - top], shown)
    assert region_words(page, place) == alone.words


def test_roles_are_read_by_their_grey(pages: list[Page]) -> None:
    width, height = Tier.BASE.cell
    undrawn = str.maketrans("", "", " \\")  # a blank on the edge; a split word's mark is no word
    for page in pages[:3]:
        cells = page_pixels(page, Tier.BASE, fonts=None).reshape(ROWS, height, COLUMNS, width)
        greys = cells.max(axis=(1, 3))
        for band, role in enumerate(BANDS):
            seen = "".join(
                letter
                for row, papers in zip(page.rows, greys, strict=False)
                for letter, grey in zip(row, papers, strict=False)
                if grey == PAPERS[band]
            )
            assert seen.translate(undrawn) == role_words(page, role).translate(undrawn)
        assert sum(len(role_words(page, role)) for role in BANDS) == len(page.words)


def test_roles_have_their_places(pages: list[Page]) -> None:
    for page in pages[:3]:
        users, assistants = role_places(page, "user"), role_places(page, "assistant")
        assert len(users) + len(assistants) + len(role_places(page, "system")) == len(page.spans)
        lines = [n for place in (*users, *assistants) for n in range(place.first, place.last + 1)]
        assert set(lines) <= set(range(1, ROWS + 1))
        assert role_places(page, "tool") == ()


def test_recall_says_where_a_turn_stands(turns: list[Turn]) -> None:
    with Memory.open("memory://", counter="chars") as memory:
        memory.extend(turns)
        pages = memory.pages()
        for number in range(len(turns)):
            found = memory.recall_turn(turns[number].id)
            assert found.places == turn_places(pages, found.position)
            assert found.pages == tuple(place.page for place in found.places)
        large = memory.append({"role": "user", "content": "word " * 8000})
        memory.flush()
        places = memory.recall_turn(large).places
        assert places == turn_places(memory.pages(), len(turns)) and len(places) >= 5
