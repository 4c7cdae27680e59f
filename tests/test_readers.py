"""Profiles: every one loads, lists only modes that are not shrunk, and is found by name."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from importlib import resources

import pytest

from optimem.errors import InputError, NotFoundError
from optimem.modes import Tier
from optimem.readers import Profile, find_reader, reader_names
from optimem.readers.profile import RULES


@pytest.mark.parametrize("name", reader_names())
def test_every_profile(name: str) -> None:
    profile = find_reader(name)
    assert profile.name == name and profile.guessed_from is None
    assert profile.modes and profile.sources
    assert profile.format in ("openai", "anthropic")
    assert profile.text_factor >= 1
    costs = []
    for tier in sorted(profile.modes):
        image = profile.page_image(tier)
        assert image.tokens == profile.page_cost(tier) > 0
        assert min(image.seen) >= tier.side, f"{tier.label} is shrunk to {image.seen}"
        costs.append(image.tokens)
    assert costs == sorted(costs, reverse=True), "a more faded page must not cost more"
    assert profile.image_cost(1, 1) > 0
    assert profile.image_cost(0, 0) == profile.image_cost(0, 5) == profile.image_cost(1024, 1024)
    prices = (profile.input_price, profile.cached_price, profile.write_price)
    assert all(price is None or price > 0 for price in prices)


def test_table_is_whole() -> None:
    table = json.loads(resources.files("optimem.readers").joinpath("profiles.json").read_text())
    models = table["models"]
    assert set(table["families"].values()) <= set(models)
    assert {model["image"] for model in models.values()} == set(table["images"])
    assert {image["rule"] for image in table["images"].values()} <= set(RULES)


@pytest.mark.parametrize(
    ("name", "tier", "tokens"),
    [
        ("openai:gpt-6-astra", Tier.BASE, 1229),
        ("openai:gpt-6-astra", Tier.LARGE, 1920),
        ("openai:gpt-6-astra", Tier.TINY, 308),
        ("openai:gpt-5.1", Tier.TINY, 70),
        ("openai:gpt-5.1", Tier.PX768, 630),
        ("openai:gpt-4o", Tier.PX768, 765),
        ("anthropic:claude-opus-5.5", Tier.LARGE, 2116),
        ("anthropic:claude-opus-5.5", Tier.PX896, 1024),
        ("google:gemini-4-argon", Tier.PX768, 257),
        ("google:gemini-4-argon", Tier.LARGE, 1090),
        ("deepseek:deepseek-flash", Tier.PX896, 508),
        ("qwen:qwen3.8-flash", Tier.BASE, 1026),
        ("local:deepseek-ocr", Tier.TINY, 73),
        ("local:deepseek-ocr", Tier.SMALL, 111),
        ("local:deepseek-ocr", Tier.BASE, 273),
        ("local:deepseek-ocr", Tier.LARGE, 421),
        ("local:deepseek-ocr", Tier.GUNDAM, 693),
        ("local:deepseek-ocr2", Tier.BASE, 257),
        ("local:got-ocr2", Tier.BASE, 256),
    ],
)
def test_page_costs(name: str, tier: Tier, tokens: int) -> None:
    assert find_reader(name).page_cost(tier) == tokens


def test_tiers_that_are_not_read() -> None:
    for tier in (Tier.GUNDAM, Tier.TEXT, Tier.FORGOTTEN):
        with pytest.raises(InputError, match="large, base"):
            find_reader("gpt-6-astra").page_cost(tier)
    for name in reader_names():
        assert (Tier.GUNDAM in find_reader(name).modes) == (name == "local:deepseek-ocr")


def test_text_cost_rounds_up() -> None:
    assert find_reader("gpt-6-astra").text_cost(1000) == 1000
    assert find_reader("claude-opus-5.5").text_cost(1000) == 1350
    assert find_reader("claude-opus-5.5").text_cost(1) == 2
    assert find_reader("claude-opus-5.5").text_cost(0) == 0


def test_deepseek_ocr_window() -> None:
    assert find_reader("deepseek-ocr").window == 8192


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("gpt-4o-2024-08-06", "openai:gpt-4o"),
        ("openai/gpt-6.1-sol", "openai:gpt-6.1-sol"),
        ("claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4.5"),
        ("anthropic:claude-opus-5-5", "anthropic:claude-opus-5.5"),
        ("deepseek-ai/DeepSeek-OCR", "local:deepseek-ocr"),
        ("deepseek-ocr2", "local:deepseek-ocr2"),
    ],
)
def test_other_spellings(spelling: str, name: str) -> None:
    profile = find_reader(spelling)
    assert (profile.name, profile.guessed_from) == (name, None)


@pytest.mark.parametrize(
    ("asked", "named", "source"),
    [
        ("anthropic:claude-opus-6", "anthropic:claude-opus-6", "anthropic:claude-opus-5.5"),
        ("gpt-6-nova", "openai:gpt-6-nova", "openai:gpt-6-astra"),
        ("claude-opus-4-1", "anthropic:claude-opus-4-1", "anthropic:claude-sonnet-4.5"),
        ("gpt-4o-mini-x", "openai:gpt-4o-mini-x", "openai:gpt-4o-mini"),
        ("Qwen/Qwen2.5-VL-7B", "Qwen/Qwen2.5-VL-7B", "qwen:qwen2.5-vl"),
        ("azure:gpt-4o", "azure:gpt-4o", "openai:gpt-4o"),
    ],
)
def test_guesses_are_announced_once(
    asked: str, named: str, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "optimem.readers"):
        profile = find_reader(asked)
        assert find_reader(asked) is profile
    assert (profile.name, profile.guessed_from) == (named, source)
    assert profile.window is None and profile.input_price is None
    assert profile.modes == find_reader(source).modes
    assert len(caplog.records) == 1 and source in caplog.text


@pytest.mark.parametrize("name", ["", ":", "bard", "clade-opus-5.5"])
def test_unknown_readers(name: str) -> None:
    with pytest.raises(NotFoundError, match="optimem readers"):
        find_reader(name)


def test_close_names_are_offered() -> None:
    with pytest.raises(NotFoundError, match="Did you mean anthropic:claude-opus-5.5"):
        find_reader("clade-opus-5.5")


def test_a_profile_of_ones_own() -> None:
    mine = Profile(
        name="local:mine",
        provider="local",
        format="openai",
        rule=RULES["mistral"],
        parameters={"patch": 28, "side": 1540},
        modes={Tier.BASE: None},
    )
    assert find_reader(mine) is mine
    assert mine.page_cost(Tier.BASE) == 37 * 38
    assert mine.model == "mine"
    assert hash(mine) == hash(replace(mine))


def test_import_is_light() -> None:
    code = "import sys, optimem.readers as r; r.find_reader('gpt-4o'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "PIL", "redis", "langchain"} & set(loaded)
