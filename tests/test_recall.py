"""Recall: questions and exact strings find the turn that holds the words."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optimem import Memory
from optimem.bench import recall as bench
from optimem.errors import NotFoundError
from optimem.terms import stretches, terms

TESTS = Path(__file__).parent
CHINESE = sorted(path.name for path in TESTS.glob("transcripts/zh_*.json"))


def remember(*texts: str) -> Memory:
    memory = Memory.open("memory://")
    memory.extend({"role": "user", "content": text} for text in texts)
    return memory


def transcript(name: str) -> list[str]:
    path = TESTS / "transcripts" / name
    return [message["content"] for message in json.loads(path.read_text("utf-8"))["messages"]]


@pytest.fixture(scope="module", params=CHINESE)
def chinese(request: pytest.FixtureRequest) -> Iterator[tuple[Memory, list[str]]]:
    texts = transcript(request.param)
    with remember(*texts) as memory:
        yield memory, texts


def test_answering_turns_are_among_the_first_five() -> None:
    answers = list(bench.measure(TESTS))
    assert len(answers) == 80
    assert bench.share(answers, 5) >= 85
    assert max(answer.chance for answer in answers) < 0.5


def test_the_benchmark_says_where_its_data_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name its tests folder"):
        bench.main([str(tmp_path)])


@pytest.mark.parametrize("length", [1, 2])
def test_short_chinese_words_are_found(chinese: tuple[Memory, list[str]], length: int) -> None:
    memory, texts = chinese
    for text in texts[::7]:
        for at in range(0, len(text) - length, 5):
            query = text[at : at + length]
            if not all("\u4e00" <= character <= "\u9fff" for character in query):
                continue
            holders = {position for position, text in enumerate(texts) if query in text}
            first = memory.recall(query, limit=1)[0]
            assert first.position in holders, query


def test_chinese_questions_find_their_sentence(chinese: tuple[Memory, list[str]]) -> None:
    memory, texts = chinese
    wanted = [text for text in texts if len(text) > 15][::9]
    for text in wanted:
        query = f"请问，{text[3:12]}？"
        assert any(text[3:12] in turn.text for turn in memory.recall(query, limit=5)), query


@pytest.mark.parametrize("text", ["東京タワー", "서울특별시", "北京", "カタカナ", "ﾊﾝｶｸ"])
def test_japanese_and_korean_are_found_by_a_part(text: str) -> None:
    with remember("nothing here", f"we saw {text} at noon", "nor here") as memory:
        for query in (text, text[:2], text[1:3], text[0]):
            assert memory.recall(query)[0].position == 1, query


THINGS = ["gate", "door", "chest", "cellar", "shed", "tower", "barn", "mill", "store", "safe"]
STRINGS = [
    "a/b_c.py:12",
    "d4f8a1c09be77",
    "9f86d081884c7d659a2feaa0c55ad015",
    "--max-depth=3",
    "user@example.org",
    "https://example.org/a?b=c&d=%20",
    "C:\\Users\\me\\file.txt",
    "INV-2024-00017",
    "2001:db8::ff00:42:8329",
    "foo->bar()[0]",
    "$49.99",
    "v1.2.3-rc.1",
    "IterJsonLines",
    "snake_case_name",
    "naïve-café.txt",
    "文档/报告_2.pdf",
]


@pytest.mark.parametrize("string", STRINGS)
def test_exact_strings_match_as_they_stand(string: str) -> None:
    # Each decoy has the same pieces in another order, or the string cut short.
    pieces = " ".join(term for term in reversed(terms(string)) if term != string)
    decoys = [f"{pieces} {pieces} number {number}" for number in range(80)]
    decoys += [string[:-1] + "# ", string[1:]]
    with remember(*decoys[:40], f"It says: {string}, I think.", *decoys[40:]) as memory:
        for query in (string, f"where is {string}?", f"`{string}`", f"what about ({string})."):
            assert memory.recall(query)[0].position == 40, query


@pytest.mark.parametrize("prefix", ["d4f8a1", "snake_ca", "IterJs", "INV-2024", "src/opt"])
def test_prefixes_of_strings_are_found(prefix: str) -> None:
    held = "see d4f8a1c09be77 in snake_case_name, IterJsonLines, INV-2024-00017, src/optimem/x.py"
    with remember(*(f"other words {number}" for number in range(50)), held) as memory:
        assert memory.recall(prefix)[0].position == 50


def test_quoted_phrases_outrank_their_words() -> None:
    texts = ["the fox was quick and brown", "brown quick quick brown", "a quick brown fox ran"]
    with remember(*texts) as memory:
        assert memory.recall('"quick brown fox"')[0].position == 2


@pytest.mark.parametrize(
    "asked", ["Say exactly: what is the code of the {}?", "Do you remember the code of the {}?"]
)
def test_what_was_asked_in_the_same_words_does_not_outrank_the_answer(asked: str) -> None:
    facts = [f"The code of the {thing} is {thing[::-1]}. " + "And so on. " * 5 for thing in THINGS]
    questions = [asked.format(thing) for thing in THINGS if thing != "gate"]
    with remember(*facts, *(f"note {number}" for number in range(60)), *questions) as memory:
        first = memory.recall(asked.format("gate"))[0]
        assert first.position == THINGS.index("gate")


def test_words_that_questions_are_put_with_are_found_where_nothing_else_is_asked() -> None:
    with remember("who was it", "a red fox", *(f"note {number}" for number in range(40))) as memory:
        assert memory.recall("who was it?")[0].position == 0


def test_newer_turns_come_first_among_equals() -> None:
    with remember("same words", "same words", "same words") as memory:
        assert [turn.position for turn in memory.recall("words")] == [2, 1, 0]


def test_calls_are_found_by_id_and_arguments() -> None:
    call = {
        "id": "call_8Xy2",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Reykjavik"}'},
    }
    with remember("nothing") as memory:
        memory.append({"role": "assistant", "content": None, "tool_calls": [call]})
        for query in ("call_8Xy2", "weather", "Reykjavik"):
            assert memory.recall(query)[0].position == 1


@pytest.fixture(scope="module")
def talk() -> Iterator[Memory]:
    with remember(*transcript("zh_crosswoz.json")[:40], *STRINGS, "plain words", "") as memory:
        yield memory


@given(st.text() | st.text(alphabet="\"'`*()[]{}^~:/\\-+ .?!aZ0_的 \n\x00\ud800", max_size=40))
@example("")
@example('NEAR(fox, 2) AND NOT col:* OR "')
@example("'; DROP TABLE turn; --")
def test_any_query_is_plain_words(talk: Memory, query: str) -> None:
    scores = [turn.score for turn in talk.recall(query)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) <= 5


@pytest.mark.parametrize("unit", ["a", "a.", "_", "ab ", "1", "的", "é-", '"', "\\"])
def test_a_huge_query_is_quick(talk: Memory, unit: str) -> None:
    begun = time.perf_counter()
    talk.recall(unit * (200_000 // len(unit)))
    assert time.perf_counter() - begun < 10


@given(st.text(max_size=60))
def test_words_are_found_by_themselves(text: str) -> None:
    with remember("other", text) as memory:
        holds_word = bool(terms(text))
        found = [turn.position for turn in memory.recall(text)]
        assert (1 in found) == holds_word


@given(st.text())
def test_terms_fit_the_index(text: str) -> None:
    for term in terms(text):
        assert 0 < len(term) <= 64
        assert not any(character.isspace() for character in term)


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 50))
def test_stretches_hold_every_word(text: str, copies: int) -> None:
    long = text * copies
    assert sum(map(Counter, stretches(long)), Counter()) == Counter(terms(long))


def meaning(texts: list[str]) -> Sequence[Sequence[float]]:
    """Feelings, as a stand-in for a model of meaning: two words for each of three."""
    axes = (("happy", "glad"), ("sad", "blue"), ("angry", "mad"))
    return [[float(any(word in text for word in axis)) for axis in axes] for text in texts]


def test_an_embedding_finds_what_words_do_not() -> None:
    texts = ["I was so glad", "we felt blue all day", "they got mad at us", "the sky was clear"]
    with Memory.open("memory://", embed=meaning) as memory:
        memory.extend({"role": "user", "content": text} for text in texts)
        assert memory.recall("sad")[0].position == 1
        assert memory.recall("angry", limit=1)[0].position == 2
        # What both find comes before what one of them finds.
        assert memory.recall("happy sky")[0].position in (0, 3)
        assert {turn.position for turn in memory.recall("happy sky", limit=2)} == {0, 3}
