"""Recall by an embedding: nearest first, each turn embedded once, bad functions named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from conversations import say
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem import InputError, Memory
from optimem.similarity import Embed, similar_turns

VECTORS = st.lists(
    st.tuples(*[st.integers(-9, 9)] * 3).filter(any), min_size=1, max_size=8, unique=True
)


class Embedding:
    """Turns "1 0 -2" into a vector, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> Sequence[Sequence[float]]:
        self.asked += texts
        return [[float(number) for number in text.split()] for text in texts]


def cosine(one: Sequence[int], other: Sequence[int]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (
        math.hypot(*one) * math.hypot(*other)
    )


def written(vector: Sequence[int]) -> str:
    return " ".join(map(str, vector))


@settings(max_examples=40)
@given(VECTORS, st.tuples(*[st.integers(-9, 9)] * 3).filter(any))
def test_turns_come_by_falling_similarity(
    vectors: list[tuple[int, ...]], wanted: tuple[int, ...]
) -> None:
    embed = Embedding()
    with Memory.open("memory://") as memory:
        memory.extend(say("user", written(vector)) for vector in vectors)
        found = similar_turns(memory.store, memory.scope, embed, written(wanted))
        assert sorted(found) == list(range(len(vectors)))
        likes = [cosine(vectors[position], wanted) for position in found]
        assert all(b <= a + 1e-6 for a, b in zip(likes, likes[1:], strict=False))
        assert embed.asked == [*map(written, vectors), written(wanted)]
        memory.append(say("user", "1 2 3"))
        similar_turns(memory.store, memory.scope, embed, "0 0 1")
        assert embed.asked[len(vectors) + 1 :] == ["1 2 3", "0 0 1"]  # what is kept is not made


def test_an_empty_session_has_nothing_alike() -> None:
    with Memory.open("memory://") as memory:
        assert similar_turns(memory.store, memory.scope, Embedding(), "1 2 3") == []


def test_functions_that_do_not_fit_are_named() -> None:
    with Memory.open("memory://", embed=Embedding()) as memory:
        memory.append(say("user", "1 2 3"))
        memory.recall("1 0 0")
        with pytest.raises(
            InputError, match="vectors of 2 numbers, and those of earlier turns have 3"
        ):
            memory.recall("1 0")
    one_more: Embed = lambda texts: [[1.0, 2.0]] * (len(texts) + 1)  # noqa: E731
    flat: Any = lambda texts: [1.0, 2.0]  # noqa: E731
    for bad in (one_more, flat):
        with Memory.open("memory://", embed=bad) as memory:
            memory.append(say("user", "hello"))
            with pytest.raises(InputError, match="for 1 texts, not a vector for each"):
                memory.recall("hello")
