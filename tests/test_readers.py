"""Profiles: every one loads, lists only modes that are not shrunk, and is found by name."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from optimem import Memory
from optimem.errors import InputError, NotFoundError
from optimem.modes import Tier
from optimem.readers import CacheRule, Dollars, Profile, describe, find_reader, reader_names
from optimem.readers.profile import RULES
from optimem.values import Json


@pytest.mark.parametrize("name", reader_names())
def test_every_profile(name: str) -> None:
    profile = find_reader(name)
    assert profile.name == name and profile.guessed_from is None
    assert profile.sources
    assert bool(profile.modes) == profile.reads_images == bool(profile.image_formats)
    assert profile.format in ("openai", "anthropic", "gemini")
    assert not profile.reads_images or "image/png" in profile.image_formats  # pages are PNGs
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
    dollars, rule = profile.dollars, profile.cache
    assert dollars is None or (dollars.input > 0 and (dollars.output or 0) > dollars.input)
    assert rule is None or (dollars is not None and 0 < rule.read < 1 <= rule.write)
    assert json.loads(json.dumps(describe(profile)))["name"] == name


def test_table_is_whole() -> None:
    table = json.loads(resources.files("optimem.readers").joinpath("profiles.json").read_text())
    models = table["models"]
    assert set(table["families"].values()) <= set(models)
    assert {model["image"] for model in models.values()} == set(table["images"])
    assert {model["cache"] for model in models.values() if "cache" in model} == set(table["caches"])
    rows = (*table["images"].values(), *table["caches"].values(), *models.values())
    assert {key for row in rows for key in row["sources"]} == set(table["sources"])
    assert {name.partition(":")[0] for name in models} == set(table["providers"])
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
        with pytest.raises(InputError, match="reads large, base"):
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
        ("qwen3-vl:8b", "qwen:qwen3-vl"),
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
        ("llama4:scout", "local:llama4", "local:llama-4"),
    ],
)
def test_guesses_are_announced_once(
    asked: str, named: str, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "optimem.readers"):
        profile = find_reader(asked)
        assert find_reader(asked) is profile
    assert (profile.name, profile.guessed_from) == (named, source)
    assert profile.window is None and profile.dollars is None and profile.cache is None
    assert profile.modes == find_reader(source).modes
    assert len(caplog.records) == 1 and source in caplog.text


@pytest.mark.parametrize("name", ["", ":", "bard", "clade-opus-5.5", "gemini:bard", "bard:8b"])
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


def test_a_profile_of_ones_own_in_three_lines() -> None:
    mine = replace(find_reader("qwen:qwen3-vl"), name="vllm:mine", window=32_768)
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "hi"})
        context = memory.context(reader=mine)
    assert (context.reader.name, context.budget) == ("vllm:mine", 32_768)


def own_readers(models: Json, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "readers.json"
    path.write_text(json.dumps(models), "utf-8")
    monkeypatch.setenv("OPTIMEM_READERS", str(path))


def test_a_file_of_ones_own_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"like": "qwen:qwen3-vl", "window": 32768}
    priced = {
        **{"like": "vllm:mine", "input": 2, "cached": 0.2, "output": 6, "cliff": [1000, 2]},
        **{"cache": "openai", "limits": {"images": 8}, "modes": ["base", "tiny"]},
        **{"fidelity": {"base": 0.99}, "image_factor": 1.5, "text_factor": 1.2, "format": "openai"},
    }
    own_readers({"models": {"vllm:mine": mine, "priced": priced}}, tmp_path, monkeypatch)
    assert {"vllm:mine", "priced"} <= set(reader_names())
    assert find_reader("vllm:mine").window == 32768
    found = find_reader("priced")
    assert (found.window, found.text_factor, found.fidelity) == (32768, 1.2, {Tier.BASE: 0.99})
    assert list(found.modes) == [Tier.BASE, Tier.TINY] and found.limits["images"] == 8
    assert found.page_cost(Tier.BASE) == math.ceil(1.5 * 1026)
    assert found.dollars == Dollars(2, 6, ((1000, 2),))
    assert found.cache == CacheRule(1024, 128, read=0.1, write=1, life=300)
    other = {"models": {"vllm:mine": {"like": "qwen:qwen3-vl", "window": 99}}}
    own_readers(other, tmp_path, monkeypatch)
    os.utime(tmp_path / "readers.json", ns=(1, 1))  # a change is seen by its time
    assert find_reader("vllm:mine").window == 99


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ([], "as JSON"),
        ({"models": 3}, "must be an object"),
        ({"models": {"a": {}}}, "needs a reader that it is like"),
        ({"models": {"a": {"like": "gpt-4o", "windows": 3}}}, "'windows'; known are"),
        ({"models": {"a": {"like": "gpt-4o", "modes": ["huge"]}}}, "unknown tier 'huge'"),
        ({"models": {"a": {"like": "gpt-4o", "modes": ["base"]}}}, "'a' of .OPTIMEM_READERS"),
        ({"models": {"a": {"like": "b"}, "b": {"like": "a"}}}, "like the other"),
        ({"models": {"a": {"like": "gpt-4o", "limits": 3}}}, "'a' of .OPTIMEM_READERS"),
    ],
)
def test_bad_files_of_readers(
    models: Json, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_readers(models, tmp_path, monkeypatch)
    with pytest.raises(InputError, match=says):
        find_reader("a")


def test_a_file_of_readers_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIMEM_READERS", "/nowhere/readers.json")
    with pytest.raises(InputError, match="No such file"):
        find_reader("gpt-4o")


@pytest.mark.parametrize(
    ("asked", "name", "format"),
    [
        ("openai:gpt-6-astra", "openai:gpt-6-astra", "openai"),
        ("openai-responses:gpt-6-astra", "openai:gpt-6-astra", "responses"),
        ("gemini:gemini-4-argon", "google:gemini-4-argon", "gemini"),
        ("google-openai:gemini-4-argon", "google:gemini-4-argon", "openai"),
        ("vllm:gemini-4-argon", "vllm:gemini-4-argon", "openai"),
        ("openrouter:anthropic/claude-opus-5.5", "openrouter:anthropic/claude-opus-5.5", "openai"),
        ("bedrock:claude-opus-5.5", "bedrock:claude-opus-5.5", "anthropic"),
    ],
)
def test_hosts_have_formats_of_their_own(asked: str, name: str, format: str) -> None:
    profile = find_reader(asked)
    assert (profile.name, profile.format) == (name, format)
    assert (profile.guessed_from is None) == (profile.provider == name.partition(":")[0])


def test_hosts_have_limits_of_their_own() -> None:
    assert find_reader("bedrock:claude-opus-5.5").limits["image_bytes"] == 5_000_000
    assert find_reader("claude-opus-5.5").limits["image_bytes"] == 10_000_000


@pytest.mark.parametrize(
    ("name", "minimum", "read", "write", "breakpoints"),
    [
        ("gpt-6-astra", 1024, 0.1, 1.25, 4),
        ("gpt-6.1-sol", 1024, 0.05, 1.25, 4),
        ("gpt-4o", 1024, 0.5, 1, None),
        ("claude-opus-5.5", 512, 0.05, 1.25, 4),
        ("claude-sonnet-4.5", 1024, 0.1, 1.25, 4),
        ("gemini-4-argon", 4096, 0.05, 1, None),
        ("deepseek-flash", 64, 0.02, 1, None),
    ],
)
def test_caches(
    name: str, minimum: int, read: float, write: float, breakpoints: int | None
) -> None:
    found = find_reader(name).cache
    assert found is not None
    assert (found.minimum, round(found.read, 6), found.write) == (minimum, read, write)
    assert found.breakpoints == breakpoints and found.images_matter == ("claude" in name)


def test_a_cliff() -> None:
    dollars = find_reader("claude-haiku-5.5").dollars
    assert dollars is not None
    assert [dollars.times(tokens) for tokens in (99_999, 100_000, 100_001)] == [1, 1, 5]


@pytest.mark.parametrize("name", ["gpt-3.5-turbo", "deepseek-chat", "o3-mini", "Llama-3.3-70B"])
def test_readers_of_text_alone(name: str) -> None:
    profile = find_reader(name)
    assert not profile.reads_images and not profile.modes
    with Memory.open("memory://") as memory:
        memory.extend([{"role": "user", "content": f"turn {n} " * 200} for n in range(60)])
        context = memory.context(profile, 8_000)
    assert context.tokens <= 8_000 and not any(each.is_image for each in context.segments)
    assert {segment.kind for segment in context.segments} <= {"turn", "note", "page_text"}
    assert "reads no images" in " ".join(context.notices)


def test_a_guess_is_said_by_the_context() -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "hi"})
        assert "openai:gpt-6-astra" in " ".join(memory.context("gpt-6-nova", 1000).notices)
        assert memory.context("gpt-6-astra", 1000).notices == ()


def test_import_is_light() -> None:
    code = "import sys, optimem.readers as r; r.find_reader('gpt-4o'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "PIL", "redis", "langchain"} & set(loaded)
