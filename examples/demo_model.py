"""What the demos share: a model, a story to tell it, and what they print at the end.

With `OPENAI_API_KEY` set they ask OpenAI; else a server of OptiMem's own on loopback, which
reads the page images with Tesseract and answers from what it read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from optimem import Memory
from optimem.testing import ReadingServer

MODEL = os.environ.get("OPENAI_MODEL", "gpt-6-astra")
READER = f"openai:{MODEL}"
BUDGET = 6_000
_PLACES = ("harbour", "mill", "tower", "market", "bridge")
FACTS = (
    "The gate opens with the code 4417-kestrel.",
    "Our cook is called Rasodeku and comes from Lisbon.",
    "The invoice for the lanterns was for 318 crowns.",
)
QUESTIONS = (
    "Say exactly: which code opens the gate?",
    "Say exactly: what is our cook called?",
    "Say exactly: how much was the invoice for the lanterns?",
)
ANSWERS = ("4417-kestrel", "Rasodeku", "318 crowns")


def story(number: int) -> str:
    """What the user says in a turn; the first ones state what is asked for at the end."""
    place = _PLACES[number % 5]
    if number < len(FACTS):
        return FACTS[number]
    text = (
        f"Day {number}: we walked past the {place}. The weather held, the road was dry, and we"
        f" counted {number * 37 % 1000} crates on the way. Nothing else of note was seen, and we"
        " were back at the inn before the evening bell. "
    )
    order = f'Call weigh with {{"crate": "{number}"}}'
    return text * 3 + (order if number % 10 == 3 else "")


@contextlib.contextmanager
def provider() -> Iterator[None]:
    """Have a model that OpenAI's clients find: a real one, or the server that reads."""
    if os.environ.get("OPENAI_API_KEY"):
        yield
        return
    print("no OPENAI_API_KEY: a server on loopback reads the pages", flush=True)
    with ReadingServer() as server:
        os.environ.update(server.environment)
        yield


def point(turn: int, sent: int, memory: Memory) -> None:
    """One point of the token curve: what was sent, beside the whole session as text."""
    text = memory.context(READER, BUDGET).text_tokens
    bar = "#" * (40 * sent // max(text, sent))
    print(f"turn {turn:4}  sent {sent:6,} of {text:6,} tokens  {bar}", flush=True)


def ending(memory: Memory, answers: list[str], recalled: int) -> None:
    """What was remembered, faded and recalled."""
    right = sum(name in answer for name, answer in zip(ANSWERS, answers, strict=True))
    plan = memory.context(READER, BUDGET).plan
    tiers = ", ".join(f"{count} {tier.label}" for tier, count in plan.counts().items())
    print(f"remembered: {right} of {len(ANSWERS)} facts of the first minutes")
    print(f"faded: {tiers or 'nothing'}; {memory.stats().turns} turns kept word for word")
    print(f"recalled: {recalled} times")
