"""A long session through pages at Small, asked over the wire by the providers' own clients.

The session is made by joining transcripts; its questions (`data/questions.json`) were written
by hand. Pages are read by Tesseract, which knows nothing of what was drawn.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from google import genai
from google.genai import types
from openai import OpenAI

from optimem import ChatHistory, Memory, Tier, Turn
from optimem.readers import Profile, find_reader
from optimem.testing import Exchange, ReadingServer
from optimem.transcripts import read_transcript

FOLDER = Path(__file__).parent
DATA = json.loads((FOLDER / "data/questions.json").read_text("utf-8"))
GPT, CLAUDE, GEMINI = "openai:gpt-6-astra", "anthropic:claude-opus-5.5", "google:gemini-4-argon"
BUDGET = 25_000
CAPTION = 128
"""Tokens beside a page: of over 200 exact strings on each of the first the default 56 keep few."""
SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
Say = Callable[[dict[str, Any]], Any]
"""Sends a request and returns the client's reply, whole."""


@dataclass(frozen=True, slots=True)
class Question:
    """One of the file's: the turn that answers it, and the answer's own words there."""

    id: str
    turn: str
    question: str
    answer: str

    @property
    def is_prose(self) -> bool:
        return self.id.startswith("prose")


QUESTIONS = [Question(**row) for row in DATA["questions"]]


def session() -> list[Turn]:
    """Transcripts after one another, without the system prompts in their midst."""
    return [
        replace(turn, id=f"{name}:{place}")
        for name in DATA["session"]
        for place, turn in enumerate(read_transcript(FOLDER / f"transcripts/{name}.json"))
        if turn.role != "system"
    ]


def at_small(name: str) -> Profile:
    """A reader that is shown pages at Small alone."""
    profile = find_reader(name)
    level = next(iter(profile.modes.values()))
    return replace(profile, modes={Tier.SMALL: "low" if profile.format == "gemini" else level})


def plain(text: str) -> str:
    """Letters and digits alone: marks and punctuation are the page's and the engine's."""
    return re.sub(r"[\W_]+", "", text.casefold())


def read_on_pages(exchange: Exchange) -> str:
    return plain(" ".join(reading.text.replace("\\\n", "") for reading in exchange.readings))


def captions(exchange: Exchange) -> str:
    assert exchange.asked is not None
    return "\n".join(b.text for b in exchange.asked.blocks if b.text.startswith("Page "))


@pytest.fixture
def server() -> Iterator[ReadingServer]:
    with ReadingServer() as running:
        yield running


def clients(server: ReadingServer) -> dict[str, Say]:
    """The official clients, and how each is given a request."""
    gpt = OpenAI(base_url=server.openai_url, api_key="any", max_retries=0, timeout=1800)
    claude = Anthropic(base_url=server.url, api_key="any", max_retries=0, timeout=1800)
    options = types.HttpOptions(base_url=server.url, timeout=1_800_000)
    gemini = genai.Client(api_key="any", http_options=options)
    return {
        GPT: lambda asked: gpt.chat.completions.create(model="gpt-6-astra", **asked),
        CLAUDE: lambda asked: claude.messages.create(
            model="claude-opus-5-5", max_tokens=999, **asked
        ),
        GEMINI: lambda asked: gemini.models.generate_content(model="gemini-4-argon", **asked),
    }


def test_every_answer_stands_in_its_turn() -> None:
    turns = {turn.id: turn.text for turn in session()}
    assert len(turns) >= 300 and len(QUESTIONS) == len({q.id for q in QUESTIONS}) >= 40
    assert sum(question.is_prose for question in QUESTIONS) >= 20
    for question in QUESTIONS:
        assert question.answer in turns[question.turn], question.id


def test_every_answer_has_faded() -> None:
    """Before any is asked, the turns that answer are pages, and none of them is text too."""
    with Memory.open("memory://", caption_tokens=CAPTION) as memory:
        memory.extend(session())
        frontier = memory.context(at_small(GPT), BUDGET).plan.frontier
        positions = {turn.id: place for place, turn in enumerate(memory.turns())}
        assert all(positions[question.turn] < frontier for question in QUESTIONS)


def test_one_page_through_every_client(server: ReadingServer) -> None:
    """The part of the session that answers one question, since reading takes its time."""
    question = next(q for q in QUESTIONS if q.answer == "strawberry matcha latte")
    turns = [turn for turn in session() if turn.id.startswith("memory_bfcl__customer")][:14]
    with Memory.open("memory://") as memory:
        memory.extend(turns)
        memory.flush()
        memory.extend({"role": "user", "content": f"Note {number}."} for number in range(12))
        for reader, say in clients(server).items():
            history = ChatHistory(memory=memory, reader=at_small(reader), budget=3_000)
            history.add_user_message(question.question)
            history.add_ai_message(say(history.request()))
            assert question.answer in memory.turns()[-1].text
            exchange = server.exchanges[-1]
            assert plain(question.answer) in read_on_pages(exchange) and exchange.status == 200
            del history[-2:]
    assert len(server.exchanges) == 3


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_forty_questions_through_every_client(server: ReadingServer) -> None:
    say = clients(server)
    found: dict[str, dict[str, bool]] = {}
    replied: dict[str, set[str]] = {}
    with Memory.open("memory://", caption_tokens=CAPTION) as memory:
        memory.extend(session())
        for reader in (GPT, CLAUDE, GEMINI):
            profile = at_small(reader)
            history = ChatHistory(memory=memory, reader=profile, budget=BUDGET)
            for question in QUESTIONS:
                history.add_user_message(question.question)
                history.add_ai_message(say[reader](history.request()))
                exchange = server.exchanges[-1]
                said = memory.turns()[-1].text
                del history[-2:]
                if question.is_prose:
                    read = plain(question.answer) in read_on_pages(exchange)
                    found.setdefault(reader, {})[question.id] = read
                else:
                    assert question.answer in captions(exchange), question.id
                    if question.answer in said:
                        replied.setdefault(reader, set()).add(question.id)
    assert all(exchange.status == 200 for exchange in server.exchanges)
    for reader, answers in found.items():
        assert sum(answers.values()) >= 0.95 * len(answers), (reader, answers)
    # The server's look-up may miss a turn; what it finds is mended by the anchor.
    assert all(len(ids) >= 11 for ids in replied.values()), replied
    counts = {reader: (sum(read.values()), len(replied[reader])) for reader, read in found.items()}
    print("read in prose, exact strings in replies:", counts)


def test_ids_that_have_no_anchor_are_recalled() -> None:
    """With less room beside each page, as by default, some ids are read off no caption."""
    asked = [question for question in QUESTIONS if not question.is_prose]
    with Memory.open("memory://") as memory:
        memory.extend(session())
        memory.context(at_small(GPT), BUDGET)
        beside = " ".join(
            anchor for page in memory.pages() for anchor in memory.anchors(page.number)
        )
        missing = [question for question in asked if question.answer not in beside]
        assert 0 < len(missing) <= 3
        for question in missing:
            exact = memory.recall(question.question, limit=10)
            assert any(question.answer in turn.text for turn in exact), question.id


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_requests_keep_their_prefix() -> None:
    """Between epochs every page is the same bytes, and the server's cache hits."""
    check_requests(1000)


def test_requests_keep_their_prefix() -> None:
    check_requests(80)


def check_requests(count: int) -> None:
    seen: dict[tuple[int, int], bytes] = {}  # by epoch and page: the image
    epochs: set[int] = set()
    cached = billed = hits = 0
    with (
        ReadingServer(engine=lambda pixels, width: "", keep=2) as server,
        OpenAI(base_url=server.openai_url, api_key="any", max_retries=0) as client,
        ChatHistory("memory://", reader=GPT, budget=9_000) as history,
    ):
        for number in range(count):
            history.add_user_message(f"{number}: " + "The road goes on past the mill. " * 40)
            context = history.context()
            reply: Any = client.chat.completions.create(model="gpt-6-astra", **context.request())
            history.add_ai_message(reply)
            asked = server.exchanges[-1].asked
            assert asked is not None
            shown = [segment for segment in context.segments if segment.is_image]
            for segment, image in zip(shown, asked.images, strict=True):
                page = segment.page if segment.page is not None else segment.pages[0]
                key = (context.plan.epoch, page)
                digest = hashlib.sha256(image).digest()
                assert seen.setdefault(key, digest) == digest
            same = context.plan.epoch in epochs
            epochs.add(context.plan.epoch)
            details = reply.usage.prompt_tokens_details
            billed += reply.usage.prompt_tokens
            cached += details.cached_tokens
            if same and reply.usage.prompt_tokens > 2_000:
                hits += 1
                assert details.cached_tokens > 0.5 * reply.usage.prompt_tokens, number
    assert hits > count * 0.5 and len(epochs) >= 2
    assert cached > 0.6 * billed
    print(f"{count} requests: {len(epochs)} epochs, {cached / billed:.1%} of tokens cached")
