"""Token counters: known counts, odd strings, and the fallback's error."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import MissingExtraError, NotFoundError
from optimem.tokens import find_counter

PROSE = """Call me Ishmael. Some years ago, never mind how long precisely, having little or no
money in my purse, and nothing particular to interest me on shore, I thought I would sail
about a little and see the watery part of the world."""
CODE = """def fits(pages: list[Page], budget: int) -> bool:
    total = 0
    for page in pages:
        total += page.cost("base") if page.sealed else page.tokens
    return total <= budget
"""
RECORD = """{"user_id": "mei_brown_7075", "flights": [{"flight_number": "HAT045", "price": 129,
"date": "2024-05-15"}], "payment_methods": {"credit_card_4938634": {"amount": 1380}}}"""
CHINESE = (
    "我们明天去故宫参观，门票六十元，开放时间是上午八点半到下午四点半。请问附近有什么好吃的餐馆吗？"
)
RUSSIAN = "Вчера мы долго говорили о том, как лучше всего сохранить историю разговора."
JAPANESE = "昨日は友達と一緒に映画を見に行きました。とても面白かったです。"
SAMPLES = [PROSE, CODE, RECORD, CHINESE, RUSSIAN, JAPANESE]

chars = find_counter("chars")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("2 + 2 = 4", 7), ("a" * 8, 1)],
)
def test_o200k_known_counts(text: str, tokens: int) -> None:
    pytest.importorskip("rs_bpe")
    assert find_counter("o200k").count(text) == tokens


def test_o200k_takes_lone_surrogates() -> None:
    pytest.importorskip("rs_bpe")
    count = find_counter("o200k").count
    assert count("a\ud800b") == count("a\ufffdb")


def test_long_texts_are_counted_in_pieces() -> None:
    bpe = pytest.importorskip("rs_bpe.bpe")
    text = "".join(f"{number}. {PROSE}\n" for number in range(2000))
    exact = bpe.openai.o200k_base().count(text)
    assert find_counter("o200k").count(text) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("name", ["o200k", "chars"])
@pytest.mark.parametrize("unit", ["-", "a", "ab", " \n", "7", "\U0001f600", "\u0301", "的"])
def test_counting_is_fast_for_anything(name: str, unit: str) -> None:
    if name == "o200k":
        pytest.importorskip("rs_bpe")
    text = unit * (2_000_000 // len(unit))
    start = time.perf_counter()
    assert find_counter(name).count(text) > 0
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("text", SAMPLES)
def test_chars_errs_on_the_high_side(text: str) -> None:
    pytest.importorskip("rs_bpe")
    exact = find_counter("o200k").count(text)
    assert exact * 0.98 <= chars.count(text) <= exact * 1.6


def test_chars_known_counts() -> None:
    """Fixed, since plans made with this counter must not move."""
    assert chars.count("") == 0
    assert [chars.count(text) for text in SAMPLES] == [56, 49, 75, 44, 26, 26]


@given(st.text(), st.text())
def test_chars_is_additive(left: str, right: str) -> None:
    both = chars.count(left + right)
    assert both == chars.count(right + left)
    assert chars.count(left) + chars.count(right) - 1 <= both
    assert both <= chars.count(left) + chars.count(right)
    assert both >= 1 or not left + right


def test_chars_takes_any_code_point() -> None:
    assert chars.count("".join(map(chr, range(0x110000)))) > 1_000_000


def test_find_counter() -> None:
    assert find_counter("auto") is find_counter("auto")
    assert find_counter("chars").name == "chars"
    with pytest.raises(NotFoundError, match="o200k"):
        find_counter("cl100k")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rs_bpe.bpe", None)
    find_counter.cache_clear()
    try:
        assert find_counter("auto").name == "chars"
        with pytest.raises(MissingExtraError, match=r"optimem\[tokens\]"):
            find_counter("o200k")
    finally:
        find_counter.cache_clear()
