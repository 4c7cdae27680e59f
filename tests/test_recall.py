"""Recall: questions and exact strings find the turn that holds the words."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optimem import Memory
from optimem.bench import recall as bench
from optimem.errors import InputError, NotFoundError
from optimem.renderers.address import Place
from optimem.renderers.parse import parse_pages
from optimem.terms import stretches, terms
from optimem.values import Role

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


def test_newer_turns_come_first_among_equals() -> None:
    with remember("same words", "same words", "same words") as memory:
        assert [turn.position for turn in memory.recall("words")] == [2, 1, 0]


def test_recall_returns_the_exact_words() -> None:
    said = "Odd: \x00 \ud800 \t and\r\nlines, end"
    with Memory.open("memory://") as memory:
        memory.append({"role": "assistant", "content": said}, id="t1", time=12.5)
        (turn,) = memory.recall("odd lines")
        found = (turn.id, turn.position, turn.role, turn.time, turn.text)
        assert found == ("t1", 0, "assistant", 12.5, said)


@pytest.mark.parametrize(
    "said",
    [
        '{\n  "a": 1.50,\n  "b": [\n    1,  2\n  ]\n}\n',
        'got:\n{\n  "level": "info",\n  "msg": "a  b"\n}\n\n\n\nend  ',
        "key: " + hashlib.sha512(b"data").hexdigest() * 4 + " end",
        "var x=f(1,2);if(x){g(x);}" * 100,
        "def f():\n\treturn  1\r\n\r\n\r\n\x1b[31mred\x1b[0m",
        "a | b <user#0> |4 c",
    ],
    ids=["json", "log", "hex", "minified", "code", "look-alikes"],
)
def test_what_pages_show_otherwise_is_recalled_as_it_was(said: str) -> None:
    with remember(said) as memory:
        page = memory.flush()
        assert page is not None and said not in page.words
        assert (
            memory.recall_page(0)[0].text == memory.recall_turn(memory.turns()[0].id).text == said
        )


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([None, *get_args(Role)]))
def test_a_place_gives_the_words_in_its_lines(
    agent: Memory, first: int, last: int, role: Role | None
) -> None:
    first, last = sorted((first, last))
    found = agent.recall_place(f"page 0, lines {first}-{last}", role)
    page = agent.page(0)
    for item in found:
        (lines,) = item.places
        assert role in (None, item.role) and first <= lines.first <= lines.last <= last
        words = item.text.split()[1:-1]  # those at the ends may be cut
        assert set(words) <= shown_words(agent, item.position)
    wanted = [span for span in page.spans if role in (None, span.role)]
    assert {item.position for item in found} <= {span.position for span in wanted}
    if (first, last) == (1, 64):
        assert [item.position for item in found] == [span.position for span in wanted]


def shown_words(memory: Memory, position: int) -> set[str]:
    turns = parse_pages(memory.pages())
    (lines,) = (turn.lines for turn in turns if turn.position == position)
    return {word for line in lines for word in line.split()}


@pytest.fixture(scope="module")
def agent() -> Iterator[Memory]:
    text = (TESTS / "transcripts/memory_bfcl__customer.json").read_text("utf-8")
    with Memory.open("memory://") as memory:
        memory.extend(json.loads(text)["messages"])
        yield memory


def test_a_place_of_whole_lines_gives_them_all() -> None:
    lines = [f"line {number}" + "." * 40 for number in range(9)]
    with remember("\n  ".join(lines), "and the next one") as memory:
        memory.flush()
        first, second = memory.recall_place("page 0")
        assert first.text == "\n  ".join(lines) and second.text == "and the next one"
        (last,) = memory.recall_place("page 0, line 1")
        assert first.text.startswith(last.text) and last.places == (Place(0, 1, 1),)
        assert memory.recall_place(Place(0, 40, 50)) == []
        assert memory.recall_place("page 0", role="tool") == []
        with pytest.raises(InputError, match="unknown role 'bot'"):
            memory.recall_place("page 0", role=cast("Role", "bot"))
        with pytest.raises(NotFoundError, match="no page 7"):
            memory.recall_place("page 7")


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
