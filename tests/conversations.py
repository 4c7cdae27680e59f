"""Conversations for tests: single messages, exchanges of calls and results, and whole logs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def say(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def exchange(number: int, sizes: list[int]) -> list[dict[str, Any]]:
    """An assistant's calls and their results, each of so many words."""
    ids = [f"call_{number}_{index}" for index in range(len(sizes))]
    calls = [
        {"id": name, "type": "function", "function": {"name": "run", "arguments": "{}"}}
        for name in ids
    ]
    results = [
        {"role": "tool", "tool_call_id": name, "content": words(size, number)}
        for name, size in zip(ids, sizes, strict=True)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def words(count: int, seed: int) -> str:
    return " ".join(f"w{(seed * 7919 + index * 104729) % 9973}" for index in range(count))


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    sizes = st.sampled_from([0, 3, 40, 400, 1500, 4000])
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append(say("system", words(draw(sizes) // 10, 1)))
    for number in range(draw(st.integers(1, 14))):
        if draw(st.integers(0, 2)) == 0:
            messages += exchange(number, draw(st.lists(sizes, min_size=1, max_size=3)))
        else:
            role = draw(st.sampled_from(["user", "assistant"]))
            messages.append(say(role, words(draw(sizes), number)))
    return messages
