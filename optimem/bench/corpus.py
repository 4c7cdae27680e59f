"""The texts that renderer benchmarks draw: real ones from `optimem/data`, and random ids."""

from __future__ import annotations

import base64
import json
import random
import uuid
from importlib.resources import files

from optimem.messages import parse
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder
from optimem.values import Entry, Page, Turn

KINDS = ("prose", "dialogue", "code", "json", "ids")
"""Kinds of text; all but the random ids are real. Each fills a page."""


def turns_of(kind: str, seed: int = 1) -> list[Turn]:
    """The turns of a kind of text; the seed is that of random ids."""
    if kind == "ids":
        return [parse(_message("tool", random_ids(seed)))]
    text = files("optimem").joinpath("data", "legibility.json").read_text("utf-8")
    return [parse(_message(role, content)) for role, content in json.loads(text)[kind]["turns"]]


def pages_of(turns: list[Turn]) -> list[Page]:
    """Lay turns out as a session does; the last page need not be full."""
    builder = PageBuilder(load_atlas().cells, "bench")
    pages = [page for at, turn in enumerate(turns) for page in builder.add(Entry(at, turn))]
    last = builder.flush()
    return pages if last is None else [*pages, last]


def random_ids(seed: int, characters: int = 8400) -> str:
    """UUIDs, SHA-1 sums, base64, addresses with ports, paths with lines, and floats.

    Args:
        seed: of the generator.
        characters: at least how many.
    """
    draw = random.Random(seed)

    def digits(count: int) -> str:
        return f"{draw.getrandbits(4 * count):0{count}x}"

    makers = (
        lambda: str(uuid.UUID(int=draw.getrandbits(128))),
        lambda: digits(40),
        lambda: base64.b64encode(draw.randbytes(18)).decode(),
        lambda: ".".join(str(draw.randrange(256)) for _ in range(4)) + f":{draw.randrange(65536)}",
        lambda: f"/srv/{digits(6)}/{digits(8)}.py:{draw.randrange(2000)}",
        lambda: repr(draw.uniform(-1e4, 1e4)),
    )
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(draw.choice(makers)())
    return " ".join(words)


def _message(role: str, content: str) -> dict[str, str]:
    message = {"role": role, "content": content}
    return message | {"tool_call_id": "call"} if role == "tool" else message
