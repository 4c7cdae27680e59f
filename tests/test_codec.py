"""Values in a store: every decoder gives back what was written and refuses everything else."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimem.errors import StoreError
from optimem.messages import parse
from optimem.modes import Tier
from optimem.stores import codec, decode_postings
from optimem.stores.cipher import Plain
from optimem.stores.crypto import Sealed
from optimem.stores.packing import shipped
from optimem.values import Mark, Page, PageFacts, Plan, Span, TurnFacts

ROOT = Path(__file__).parents[1]
SEALED = Sealed(b"0123456789abcdef0123456789abcdef", "acme")
DECODERS: dict[str, Callable[[bytes], object]] = {
    "turn": lambda data: codec.decode_turn(data, "id", None),
    "turn facts": lambda data: codec.decode_turn_facts(data, None),
    "page": lambda data: codec.decode_page(data, 0),
    "page facts": lambda data: codec.decode_page_facts(data, 0),
    "settings": codec.decode_settings,
    "plan": codec.decode_plan,
    "record": codec.decode_record,
    "timed facts": codec.decode_timed_facts,
    "blob": codec.open_blob,
    "postings": decode_postings,
    "name": codec.decode_name,
    "session of a job": lambda data: codec.decode_job([data, b"0", b"tiny"], Plain()),
    "page of a job": lambda data: codec.decode_job([b"42", data, b"tiny"], Plain()),
    "mode of a job": lambda data: codec.decode_job([b"42", b"0", data], Plain()),
    "job of another key": lambda data: codec.decode_job([data, b"0", b"tiny"], SEALED),
    "place of a turn": codec.decode_place,
    "hash of a blob": codec.decode_blob_entry,
    "turn with a dictionary": lambda data: codec.decode_turn(data, "id", None, shipped()),
}
TURN = parse({"role": "user", "content": "words " * 99}, id="id", time=None)
PAGE = Page(0, ("a", "b" * 300), (Span(0, "tool", 0, 9, True, False),), (Mark(0, 1),), (1, 2), "s")
WRITTEN = {
    "turn": codec.encode_turn(TURN),
    "turn facts": codec.encode_turn_facts(TurnFacts("user", 9, None, ((3, 4), None), ("c",))),
    "page": codec.encode_page(PAGE),
    "page facts": codec.encode_page_facts(
        PageFacts(0, "h", 0, 1, 2, 3, ("anchor",), 4, (Mark(0, 1),))
    ),
    "settings": b'{"counter":"chars"}',
    "plan": Plan((Tier.TINY, Tier.FORGOTTEN), 3, True, 4).to_json().encode(),
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


def refuses_or_decodes(name: str, data: bytes) -> None:
    """Nothing but a clear StoreError may come out."""
    try:
        DECODERS[name](data)
    except StoreError as error:
        assert "damaged" in str(error) or "needs dictionary" in str(error)


@pytest.mark.parametrize("name", DECODERS)
@given(
    data=st.binary(max_size=200)
    | st.tuples(st.sampled_from([b"z", b"s", b"d"]), st.binary(max_size=50)).map(b"".join)
)
@example(data=b"")
@example(data=b"j" + b"[" * 100_000)
@example(data=b"[" * 100_000)
@example(data=b"z" + zlib.compress(b"[" * 100_000))
@example(data=b"j[1,2,3,4,5]")
@example(data=b"NaN")
def test_random_bytes_are_refused(name: str, data: bytes) -> None:
    refuses_or_decodes(name, data)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=40)
@given(value=json_values | st.lists(json_values, min_size=4, max_size=8), kind=st.integers(0, 2))
def test_random_values_are_refused(name: str, value: Any, kind: int) -> None:
    line = json.dumps(value).encode()
    refuses_or_decodes(name, (line, b"j" + line, b"z" + zlib.compress(line))[kind])


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=100)
@given(data=st.data())
def test_damaged_bytes_are_refused(name: str, data: st.DataObject) -> None:
    written = bytearray(WRITTEN[name])
    DECODERS[name](bytes(written))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(written) - 1))
        written[at] = data.draw(st.integers(0, 255))
    refuses_or_decodes(name, bytes(written[: data.draw(st.integers(0, len(written)))]))


@pytest.mark.parametrize("name", WRITTEN)
def test_each_cut_is_refused(name: str) -> None:
    for length in range(len(WRITTEN[name])):
        with pytest.raises(StoreError, match="damaged"):
            DECODERS[name](WRITTEN[name][:length])


@given(st.text(), st.none() | st.floats(allow_nan=False))
def test_turns_come_back(text: str, time: float | None) -> None:
    turn = parse({"role": "assistant", "content": text}, id="\ud800 id", time=time)
    assert codec.decode_turn(codec.encode_turn(turn), turn.id, time) == turn


texts = st.lists(st.text(max_size=20), max_size=5).map(tuple)
numbers = st.integers(0, 2**40)
roles = st.sampled_from(["system", "user", "assistant", "tool"])
marks = st.lists(st.builds(Mark, numbers, numbers), max_size=3).map(tuple)


@given(
    st.builds(
        TurnFacts,
        roles,
        numbers,
        st.none() | st.floats(allow_nan=False),
        st.lists(st.none() | st.tuples(numbers, numbers), max_size=3).map(tuple),
        texts,
        texts,
    )
)
def test_turn_facts_come_back(facts: TurnFacts) -> None:
    assert codec.decode_turn_facts(codec.encode_turn_facts(facts), facts.time) == facts


@given(
    st.builds(
        Page,
        number=numbers,
        rows=texts,
        spans=st.lists(
            st.builds(Span, numbers, roles, numbers, numbers, st.booleans(), st.booleans()),
            max_size=4,
        ).map(tuple),
        marks=marks,
        stop=st.tuples(numbers, numbers),
        style=st.text(),
    )
)
def test_pages_come_back(page: Page) -> None:
    assert codec.decode_page(codec.encode_page(page), page.number) == page


@given(
    st.builds(
        PageFacts,
        numbers,
        st.text(),
        numbers,
        numbers,
        numbers,
        numbers,
        texts,
        numbers,
        marks,
    )
)
def test_page_facts_come_back(facts: PageFacts) -> None:
    assert codec.decode_page_facts(codec.encode_page_facts(facts), facts.number) == facts


@given(
    st.builds(
        Plan,
        st.lists(st.sampled_from(Tier), max_size=9).map(tuple),
        numbers,
        st.booleans(),
        numbers,
        numbers,
    )
)
def test_plans_come_back(plan: Plan) -> None:
    assert codec.decode_plan(plan.to_json()) == plan


def test_nothing_is_pickled() -> None:
    risky = re.compile(
        r"\b(c?pickle|dill|marshal|shelve|joblib)\b|(?<!\.)\beval\(|\bexec\(|yaml\.load\b"
    )
    for folder in ("optimem", "renderers", "policies", "integrations"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not risky.search(path.read_text(encoding="utf-8")), path


def test_a_damaged_turn_is_named() -> None:
    with pytest.raises(StoreError, match=r"turn 'the id' in the store is damaged"):
        codec.decode_turn(b"?", "the id", None)
