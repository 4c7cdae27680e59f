"""Learning from bills: usage in each provider's words, and prices that are put right."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic import Anthropic
from google import genai
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from optimem import InputError, Memory
from optimem.bills import Usage, read_usage
from optimem.context import Context
from optimem.readers import Profile, find_reader
from optimem.testing import ReadingServer


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 90, "prompt_tokens_details": {"cached_tokens": 80}}, Usage(90)),
        ({"prompt_tokens": 90, "prompt_tokens_details": {"image_tokens": 70}}, Usage(90, 70)),
        ({"input_tokens": 90, "input_tokens_details": {"cached_tokens": 9}}, Usage(90)),
        (
            {
                "input_tokens": 5,
                "cache_read_input_tokens": 80,
                "cache_creation_input_tokens": None,
            },
            Usage(85),
        ),
        ({"usage": {"input_tokens": 3}}, Usage(3)),
        (SimpleNamespace(usage=SimpleNamespace(prompt_tokens=4)), Usage(4)),
        (
            {
                "usage_metadata": {
                    "prompt_token_count": 300,
                    "prompt_tokens_details": [
                        {"modality": "TEXT", "token_count": 40},
                        {"modality": "IMAGE", "token_count": 260},
                    ],
                }
            },
            Usage(300, 260),
        ),
    ],
)
def test_usage_in_each_providers_words(usage: object, read: Usage) -> None:
    assert read_usage(usage) == read


@pytest.mark.parametrize("usage", [{}, None, 3, {"usage": {}}, {"prompt_tokens": "many"}])
def test_what_is_no_usage(usage: object) -> None:
    with pytest.raises(InputError, match="pass the client's reply"):
        read_usage(usage)


def images(context: Context) -> int:
    return sum(segment.tokens for segment in context.segments if segment.is_image)


def bill(context: Context, true: Profile, text: float = 1.0) -> int:
    """What a provider would bill whose prices are those of another profile."""
    words = context.tokens - images(context)
    pages = [segment for segment in context.segments if segment.is_image]
    seen = sum(
        segment.sheet.tokens if segment.sheet else true.page_cost(segment.tier) for segment in pages
    )
    return round(words * text) + seen


def talk(
    memory: Memory,
    profile: Profile,
    requests: int,
    say: Callable[[Context], Any],
    budget: int = 7_000,
) -> list[float]:
    """Turns, each with a context and its bill; the factors that were learned."""
    factors = []
    for number in range(requests):
        memory.append({"role": "user", "content": f"note {number}: " + "it listens. " * 30})
        context = memory.context(profile, budget)
        factors.append(memory.observe(say(context)).factor)
    return factors


def begun(counter: str = "chars") -> Memory:
    memory = Memory.open("memory://", counter=counter)
    memory.extend({"role": "user", "content": f"turn {n}: " + "of words. " * 90} for n in range(60))
    return memory


TRUE = find_reader("openai:gpt-6-astra")


@pytest.mark.parametrize("percent", [24, 60, 90, 240, 480])
def test_a_wrong_price_is_put_right_within_five_requests(percent: int) -> None:
    wrong = replace(TRUE, parameters={"percent": percent})
    with begun() as memory:
        factors = talk(memory, wrong, 5, lambda context: {"prompt_tokens": bill(context, TRUE)})
        counted = memory.context(wrong, 7_000)
    assert factors[-1] == pytest.approx(120 / percent, rel=0.02)
    assert counted.reader.image_factor == factors[-1]
    assert counted.tokens == pytest.approx(bill(counted, TRUE), rel=0.02)
    assert counted.tokens <= 7_000


@pytest.mark.parametrize(("before", "after"), [(120, 60), (60, 120), (120, 180)])
def test_a_price_that_changes_amid_a_session_is_followed(before: int, after: int) -> None:
    def say(percent: int) -> Callable[[Context], dict[str, int]]:
        true = replace(TRUE, parameters={"percent": percent})
        return lambda context: {"prompt_tokens": bill(context, true)}

    with begun() as memory:
        assert talk(memory, TRUE, 12, say(before))[-1] == pytest.approx(before / 120, rel=0.02)
        assert talk(memory, TRUE, 5, say(after))[-1] == pytest.approx(after / 120, rel=0.02)


@pytest.mark.parametrize("text", [0.93, 1.0, 1.08])
def test_a_vocabulary_that_is_not_the_models_is_no_drift(text: float) -> None:
    with begun() as memory:
        factors = talk(memory, TRUE, 5, lambda c: {"prompt_tokens": bill(c, TRUE, text)})
    assert factors[-1] == pytest.approx(1, abs=0.12)


def test_a_bill_that_tells_images_apart_is_believed_at_once() -> None:
    wrong = replace(TRUE, parameters={"percent": 100})

    def say(context: Context) -> dict[str, Any]:
        words = context.tokens - images(context)
        seen = bill(context, TRUE) - words
        details = [{"modality": "IMAGE", "token_count": seen}]
        return {"prompt_token_count": round(words * 1.3) + seen, "prompt_tokens_details": details}

    with begun() as memory:
        assert talk(memory, wrong, 1, say)[0] == pytest.approx(1.2, rel=0.01)


def test_drift_is_announced_and_stays(caplog: pytest.LogCaptureFixture) -> None:
    wrong = replace(TRUE, parameters={"percent": 60})
    with begun() as memory, caplog.at_level(logging.WARNING, "optimem.bills"):
        context = memory.context(wrong, 7_000)
        seen = memory.observe({"prompt_tokens": bill(context, TRUE)})
        assert seen.drifted and seen.images > 1 and seen.billed > seen.expected
        assert "openai:gpt-6-astra billed" in caplog.text
        caplog.clear()
        again = memory.context(wrong, 7_000)
        assert not memory.observe({"prompt_tokens": bill(again, TRUE)}).drifted
        assert not caplog.records
        # Another worker on the same session plans by it; another model or host does not.
        other = Memory(memory.store, memory.scope)
        assert other.context(wrong, 7_000).reader.image_factor == seen.factor
        host = replace(wrong, name="azure:gpt-6-astra")
        assert other.context(host, 7_000).reader.image_factor == 1


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the user's own readers."""
    path = tmp_path / "readers.json"
    path.write_text('{"models": {"mine": {"like": "openai:gpt-6-astra", "window": 9000}}}')
    monkeypatch.setenv("OPTIMEM_READERS", str(path))
    return path


def test_other_sessions_begin_with_what_was_learned(file: Path) -> None:
    """With that model and host, where the user has a file of readers; it may be learned anew."""
    name = "azure:gpt-6-astra"

    def times(factor: float) -> Callable[[Context], Any]:
        def say(context: Context) -> dict[str, int]:
            pages = [segment for segment in context.segments if segment.is_image]
            rule = images(context) / context.reader.image_factor
            assert pages
            return {"prompt_tokens": context.tokens - images(context) + round(rule * factor)}

        return say

    with begun() as memory:
        (learned,) = talk(memory, find_reader(name), 1, times(1.5))
        assert learned == pytest.approx(1.5, rel=0.02)
    assert find_reader(name).image_factor == learned
    assert find_reader("gpt-6-astra").image_factor == find_reader("mine").image_factor == 1
    with begun() as memory:
        context = memory.context(name, 7_000)
        assert context.reader.image_factor == learned
        assert not memory.observe(times(1.5)(context)).drifted
        # Bills by the table's own price put it back, here and for others.
        assert talk(memory, find_reader(name), 5, times(1))[-1] == pytest.approx(1, abs=0.03)
        assert memory.context(name, 7_000).reader.image_factor == pytest.approx(1, abs=0.03)
    assert find_reader(name).image_factor == pytest.approx(1, abs=0.03)
    assert find_reader("mine").window == 9000


def test_a_profile_of_the_callers_own_tells_nobody(file: Path) -> None:
    before = file.read_text()
    wrong = replace(TRUE, parameters={"percent": 60})
    with begun() as memory:
        assert talk(memory, wrong, 1, lambda c: {"prompt_tokens": bill(c, TRUE)})[0] > 1.5
    assert file.read_text() == before and find_reader(TRUE.name).image_factor == 1


def test_a_file_that_cannot_be_written_loses_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with begun() as memory:
        context = memory.context(TRUE, 7_000)
        file.write_text("[]")
        seen = memory.observe({"prompt_tokens": context.tokens + images(context)})
        assert seen.drifted and memory.context(TRUE, 7_000).reader.image_factor == seen.factor
    assert "stays with this session" in caplog.text


# Over the wire


def callers(server: ReadingServer) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Readers by name, and how the official client of each is given a request."""
    gpt = OpenAI(base_url=server.openai_url, api_key="any", max_retries=0)
    claude = Anthropic(base_url=server.url, api_key="any", max_retries=0)
    gemini = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=server.url))
    return {
        "openai:gpt-6-astra": lambda asked: gpt.chat.completions.create(
            model="gpt-6-astra", **asked
        ),
        "openai-responses:gpt-6-astra": lambda asked: gpt.responses.create(
            model="gpt-6-astra", **asked
        ),
        "anthropic:claude-opus-5.5": lambda asked: claude.messages.create(
            model="claude-opus-5-5", max_tokens=99, **asked
        ),
        "google:gemini-4-argon": lambda asked: gemini.models.generate_content(
            model="gemini-4-argon", **asked
        ),
    }


@pytest.mark.parametrize("times", [0.6, 1.5, 3.0])
@pytest.mark.parametrize("name", ["openai:gpt-6-astra", "openai-responses:gpt-6-astra",
    "anthropic:claude-opus-5.5", "google:gemini-4-argon"])  # fmt: skip
def test_a_providers_bills_put_the_price_right_within_five_requests(
    name: str, times: float, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ReadingServer(engine=lambda pixels, width: "", overcharge=times) as server,
        begun("auto") as memory,  # counted as the server does
        caplog.at_level(logging.WARNING, "optimem.bills"),
    ):
        say = callers(server)[name]
        found = []
        for number in range(5):
            memory.append({"role": "user", "content": f"note {number}: " + "it listens. " * 30})
            context = memory.context(name, 20_000)
            assert images(context) > 0
            found.append(memory.observe(say(context.request())))
            memory.append({"role": "assistant", "content": "Noted."})
        assert any(seen.drifted for seen in found)
        assert f"{find_reader(name).name} billed" in caplog.text
        assert found[-1].factor == pytest.approx(times, rel=0.03)
        corrected = memory.context(name, 20_000)
        usage = say(corrected.request())
        assert read_usage(usage).tokens == pytest.approx(corrected.tokens, rel=0.02)


def test_an_earlier_context_can_be_named() -> None:
    with begun() as memory:
        earlier = memory.context(TRUE, 7_000)
        memory.context("claude-opus-5.5", 7_000)
        seen = memory.observe({"prompt_tokens": earlier.tokens}, earlier)
        assert (seen.reader, seen.expected) == ("openai:gpt-6-astra", earlier.tokens)


def test_nothing_to_observe_yet() -> None:
    with Memory.open("memory://") as memory, pytest.raises(InputError, match="no context"):
        memory.observe({"prompt_tokens": 3})


def test_text_alone_changes_no_price() -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "hi"})
        memory.context(TRUE, 1_000)
        seen = memory.observe({"prompt_tokens": 900})
        assert (seen.images, seen.factor, seen.drifted) == (0, 1.0, False)


@given(st.floats(0.2, 5), st.floats(0.5, 2), st.integers(100, 10**6), st.integers(1, 10**6))
def test_the_rate_is_between_what_is_believed_and_what_was_billed(
    image: float, text: float, words: int, seen: int
) -> None:
    from optimem.bills import _Bill, _rates

    bills = [_Bill(words, seen, round(words * text + seen * image), round(seen * image))]
    _, rate, deviation = _rates(bills)
    assert deviation > 0
    assert min(1.0, round(seen * image) / seen) - 1e-6 <= rate <= max(1.0, image) + 0.6 / seen
