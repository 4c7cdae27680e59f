"""Exact strings: found by form, kept by worth, whole even where a page ends within them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.anchors import NEARBY, choose_anchors, find_anchors
from optimem.bench.anchors import Session, measure, measure_extraction, read_sessions
from optimem.exact import LONGEST, find_exact
from optimem.memory import Memory
from optimem.tokens import find_counter

TESTS = Path(__file__).parent
COUNT = find_counter("chars").count


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return list(read_sessions(TESTS))


def kinds(text: str) -> list[tuple[str, str]]:
    return [(exact.kind, exact.text) for exact in find_exact(text)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("url", "https://example.com/a/b?c=1&d=%20#top"),
        ("url", "postgresql://app@db.internal:5432/main"),
        ("email", "liam.khan7273@example.com"),
        ("uuid", "550e8400-e29b-41d4-a716-446655440000"),
        ("address", "10.0.0.17:8080"),
        ("address", "2001:db8::8a2e:370:7334"),
        ("address", "localhost:6379"),
        ("date", "2024-05-24T10:44:24Z"),
        ("date", "2024-05-24 10:44:24"),
        ("date", "May 24, 2024"),
        ("date", "二〇二六年十月三日"),
        ("date", "2002年2月2日"),
        ("path", "/testbed/sympy/plotting/plot.py:28"),
        ("path", "./pkg/orderedmap/map.go"),
        ("path", r"C:\new\table\notes.txt"),
        ("file", "code-header-template.txt"),
        ("clock", "10:30 PM"),
        ("clock", "8:00-17:00"),
        ("amount", "$1,234.56"),
        ("amount", "50 %"),
        ("amount", "250ms"),
        ("amount", "三百五十元"),
        ("amount", "12万"),
        ("amount", "100-150元"),
        ("phone", "+1 555-123-4567"),
        ("phone", "010-85007938"),
        ("version", "pytest-7.2.0.dev157+gaa55975c7"),
        ("hash", "03e068a4e"),
        ("hash", "sha256:9f86d081884c7d65"),
        ("code", "credit_card_9074831"),
        ("code", "HAT131"),
        ("code", "2FBBAH"),
        ("number", "10,148"),
        ("flag", "--enable-feature=promql-experimental-functions"),
        ("snake", "__init__"),
        ("camel", "parseHTTPResponse"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "see {}, then go on", '{{"value":"{}"}}', "电话是{}。"])
def test_each_kind_is_found_whole(kind: str, text: str, around: str) -> None:
    assert kinds(around.format(text)) == [(kind, text)]


@pytest.mark.parametrize(
    "text",
    [
        "A plain sentence with NASA, URLs, I/O and the 2nd of 15 well-known things.",
        "<user#128> hello <tool#129> there <data#130 40960B sha256:0123456789abcdef>",
        "a | 839 | 840 return value | 841",
        "a | 72: left | 123: right",
        "a |128 indented by a lot || and so on",
        "</returncode> </div>",
        "十分好，万一不行，千万别去，两个人一起。",
    ],
)
def test_plain_words_and_the_marks_of_a_page_are_no_exact_strings(text: str) -> None:
    assert kinds(text) == []


def test_line_ends_within_strings_part_words() -> None:
    assert kinds(r'{"code":"x:\nfirst_name = 1\n\tsecondName\\n"}') == [
        ("snake", "first_name"),
        ("camel", "secondName"),
    ]


@given(st.text(alphabet=st.sampled_from("aB1_-./:@ |<\\n#元三月\n"), max_size=200))
def test_places_and_lengths_hold_for_any_text(text: str) -> None:
    end = 0
    for exact in find_exact(text):
        assert text[exact.start : exact.stop] == exact.text
        assert end <= exact.start
        assert 0 < len(exact.text) <= LONGEST
        end = exact.stop


@pytest.mark.parametrize(
    "unit", ["a", "1", "1.", "1,", "1-", "a@", "a.1/", "/", "v1.", "ab-1.", "十"]
)
def test_time_is_linear_in_the_text(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        begun = time.process_time()
        find_exact(text)
        return time.process_time() - begun

    # Twice the exponent of a linear search would take 64 times as long, not 8.
    assert seconds(160_000) < 24 * max(seconds(20_000), 0.01)


def test_a_string_that_runs_over_a_page_is_anchored_where_it_ends() -> None:
    first, second = "see /app/httpx/_deco", "ders.py and get_json"
    assert [exact.text for exact in find_anchors(first, cut=True)] == []
    found = find_anchors(second, first, cut=True)
    assert [(exact.text, exact.start) for exact in found] == [("/app/httpx/_decoders.py", -16)]
    # The page's end may be the string's end too, which only the next page can tell.
    assert [exact.text for exact in find_anchors(" again", "it was get_json")] == ["get_json"]


def test_anchors_keep_to_their_budget() -> None:
    found = find_exact(" ".join(f"order_{number}" for number in range(1000, 1100)))
    for budget in (0, 10, 60, 128):
        chosen = choose_anchors(found, budget, COUNT)
        assert sum(COUNT(f" {anchor}") for anchor in chosen) <= budget
        assert bool(chosen) == (budget > 0)


def test_random_short_and_rare_strings_come_first() -> None:
    found = find_exact("get_name set_name get_name a3f9c27 https://example.com/very/long/address")
    assert choose_anchors(found, 26, len) == ["a3f9c27", "set_name", "get_name"]


def test_names_in_a_listing_come_last() -> None:
    found = find_exact("see get_name | bad_name other | old_name other")
    assert choose_anchors(found, 27, len) == ["get_name", "bad_name", "old_name"]


def test_what_stands_beside_a_page_nearby_is_not_repeated() -> None:
    turn = {"role": "user", "content": f"{'lorem ipsum ' * 680} order_48213"}
    with Memory.open("memory://", caption_tokens=60) as memory:
        memory.extend([turn] * 12)
        beside = [memory.anchors(page.number) for page in memory.pages()]
    told = [number for number, anchors in enumerate(beside) if "order_48213" in anchors]
    assert len(beside) > 2 * NEARBY
    assert len(told) > 1
    assert all(later - earlier > NEARBY for earlier, later in zip(told, told[1:], strict=False))


def test_anchors_do_not_depend_on_when_pages_are_sealed(sessions: Sequence[Session]) -> None:
    turns = sessions[-1].turns
    with Memory.open("memory://", counter="chars") as memory:
        memory.extend(turns)
        at_once = [memory.anchors(page.number) for page in memory.pages()]
    with Memory.open("memory://", counter="chars") as memory:
        for turn in turns:
            memory.append(turn)
            memory.stats()
        assert [memory.anchors(page.number) for page in memory.pages()] == at_once
    assert sum(map(len, at_once)) > 100


def test_captions_keep_to_their_budget(sessions: Sequence[Session]) -> None:
    with Memory.open("memory://", caption_tokens=60) as memory:
        memory.extend(sessions[-1].turns)
        assert memory.stats().anchor_tokens <= 60 * len(memory.pages())


def test_most_strings_that_are_said_again_are_anchored(sessions: Sequence[Session]) -> None:
    assert sum(len(session.reused) for session in sessions) > 400
    assert measure(sessions, 128) >= 80


def test_the_extractor_finds_what_was_marked_by_hand() -> None:
    extraction = measure_extraction(TESTS)
    assert extraction.marked >= 400
    assert extraction.recall >= 99
    assert extraction.precision >= 90
