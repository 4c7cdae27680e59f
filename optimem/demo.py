"""The demo: a recorded coding session is replayed turn by turn and fades before your eyes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from optimem.memory import Memory
from optimem.modes import COLUMNS, Tier
from optimem.recall import Recalled
from optimem.renderers.page import page_pixels
from optimem.renderers.png import encode
from optimem.transcripts import parse_transcript
from optimem.values import Page, Turn

READERS = {
    "deepseek-ocr": 8_000,
    "openai:gpt-6-astra": 20_000,
    "anthropic:claude-opus-5.5": 20_000,
    "google:gemini-4-argon": 20_000,
    "qwen:qwen3-vl": 20_000,
}
"""Who reads the demo's contexts, and within how many tokens each."""

SQUARE_MODES = (Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
_QUARTERS = (25, 50, 75, 100)


@dataclass(slots=True)
class Demo:
    """What the demo measured.

    Attributes:
        turns: turns replayed.
        pages: pages sealed.
        tiers: pages in each tier for the first reader, and turns as text.
        text_tokens: the session as plain text, in the session's counter.
        readers: by reader the last context's tokens, the text's and their ratio.
        growth: by percent of the session, by reader, (text tokens, context tokens).
        stored: bytes in the store by kind.
        anchors: the exact strings of one page, and what all pages' captions cost.
        read_back: by mode, what optimem-nano reads on the page of the contact sheet: the share
            of characters right and the first line; empty without the extra `vision`.
        recall: the query, whether the words came back exactly, and where they stand.
        sheet: the contact sheet's file.
        seconds: run time.
    """

    turns: int = 0
    pages: int = 0
    tiers: dict[str, int] = field(default_factory=dict)
    text_tokens: int = 0
    readers: dict[str, dict[str, Any]] = field(default_factory=dict)
    growth: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    anchors: dict[str, Any] = field(default_factory=dict)
    read_back: dict[str, dict[str, Any]] = field(default_factory=dict)
    recall: dict[str, Any] = field(default_factory=dict)
    sheet: str = ""
    seconds: float = 0.0


def packaged_session() -> list[Turn]:
    """The transcript that comes with the package: 145 turns of a coding agent."""
    source = files("optimem").joinpath("data/transcript.json").read_text("utf-8")
    return parse_transcript(json.loads(source))


def run_demo(sheet: Path, advance: Callable[[], None]) -> Demo:
    """Replay the packaged session, write the contact sheet, and measure.

    Args:
        sheet: where the contact sheet goes.
        advance: called after each turn.
    """
    begun = time.perf_counter()
    session = packaged_session()
    marks = {len(session) * percent // 100: percent for percent in _QUARTERS}
    first = next(iter(READERS))
    demo = Demo(turns=len(session))
    with tempfile.TemporaryDirectory() as folder:
        with Memory.open(f"sqlite:///{folder}/demo.db", session="demo") as memory:
            for count, turn in enumerate(session, 1):
                memory.append(turn)
                if count in marks:
                    _measure(memory, demo, marks[count])
                else:  # an agent asks for a context with every turn
                    memory.context(first, READERS[first])
                advance()
            _look_back(memory, demo, session)
            page = memory.page(demo.anchors["page"])
    sheet.write_bytes(contact_sheet(page))
    demo.read_back = read_back(page)
    demo.sheet = str(sheet)
    demo.seconds = round(time.perf_counter() - begun, 2)
    return demo


def contact_sheet(page: Page) -> bytes:
    """One page in the four square modes side by side, as a PNG."""
    gap = 16
    width = sum(tier.side + gap for tier in SQUARE_MODES) - gap
    paper = np.full((SQUARE_MODES[0].side, width), 119, np.uint8)
    left = 0
    for tier in SQUARE_MODES:
        paper[: tier.side, left : left + tier.side] = page_pixels(page, tier)
        left += tier.side + gap
    return encode(paper)


def read_back(page: Page) -> dict[str, dict[str, Any]]:
    """What optimem-nano reads on a page in each mode, from its vision tokens alone."""
    if any(find_spec(module) is None for module in ("torch", "transformers")):
        return {}
    from optimem.vision import LocalReader

    reader, found = LocalReader.load("nano"), {}
    for tier in SQUARE_MODES:
        read = reader.read(page, tier, how="cells").split("\n")
        stood = [row.ljust(COLUMNS) for row in page.rows]
        seen = [row.ljust(COLUMNS) for row in read]
        right = sum(
            a == b for pair in zip(stood, seen, strict=True) for a, b in zip(*pair, strict=False)
        )
        found[tier.label] = {
            "positions": reader.shape(tier)[1],
            "percent_right": round(100 * right / sum(map(len, stood)), 2),
            "stood": stood[0].rstrip(),
            "read": read[0],
        }
    return found


def _measure(memory: Memory, demo: Demo, percent: int) -> None:
    row = {}
    for reader, budget in READERS.items():
        context = memory.context(reader, budget)
        context.messages()  # drawn and stored, as they would be sent
        row[reader] = (context.text_tokens, context.tokens)
        demo.readers[reader] = {
            "budget": budget,
            "text_tokens": context.text_tokens,
            "context_tokens": context.tokens,
            "ratio": round(context.text_tokens / context.tokens, 2),
            "forgotten": context.plan.gone,
        }
        if reader == next(iter(READERS)):
            demo.tiers = {tier.label: n for tier, n in context.plan.counts().items()}
            demo.tiers["text turns"] = demo.turns - context.plan.frontier
    demo.growth[percent] = row


def _look_back(memory: Memory, demo: Demo, session: list[Turn]) -> None:
    stats = memory.stats()
    demo.pages, demo.text_tokens, demo.stored = stats.pages, stats.text_tokens, stats.bytes
    # The first page to show something longer than a word beside it, among the most faded.
    early = next(n for n in range(stats.pages) if len(memory.anchors(n)) > 2)
    anchors = memory.anchors(early)
    demo.anchors = {
        "page": early,
        "strings": list(anchors),
        "tokens_a_page": round(stats.anchor_tokens / stats.pages, 1),
    }
    query, found = _early_recall(memory, anchors, early)
    original = session[found.position]
    demo.recall = {
        "query": query,
        "turn": found.position,
        "page": found.pages[0],
        "exact": query in found.text and memory.turn(found.id).message == original.message,
    }


def _early_recall(memory: Memory, anchors: tuple[str, ...], page: int) -> tuple[str, Recalled]:
    """The longest anchor whose recall leads back to its page.

    Others were said again later, and recall prefers the newer of equals.
    """
    best = [(query, memory.recall(query, limit=1)[0]) for query in sorted(anchors, key=len)]
    return next((pair for pair in reversed(best) if page in pair[1].pages), best[-1])
