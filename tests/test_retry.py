"""Asked again, once: refusals and too large requests, through the providers' own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from google import genai
from google.genai import errors, types
from openai import OpenAI

from optimem import BudgetError, InputError, Memory
from optimem.context import Context
from optimem.retry import is_refused, is_too_large, was_cut
from optimem.testing import ReadingServer

FORMATS = ("openai", "responses", "anthropic", "gemini")
READERS = {
    "openai": "openai:gpt-6-astra",
    "responses": "openai-responses:gpt-6-astra",
    "anthropic": "anthropic:claude-opus-5.5",
    "gemini": "google:gemini-3.8-flash",
}
ERRORS = (openai.APIStatusError, anthropic.APIStatusError, errors.APIError)
TOO_LONG = {
    "openai": "This model's maximum context length is 128000 tokens. Your messages had 130000.",
    "responses": "Your input exceeds the context window of this model.",
    "anthropic": "prompt is too long: 213462 tokens > 200000 maximum",
    "gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ReadingServer]:
    with ReadingServer(engine=lambda pixels, width: "nothing") as running:
        yield running


@pytest.fixture(scope="module")
def calls(server: ReadingServer) -> Iterator[dict[str, Callable[..., Any]]]:
    options = types.HttpOptions(base_url=server.url)
    with (
        OpenAI(base_url=server.openai_url, api_key="any", max_retries=0) as gpt,
        Anthropic(base_url=server.url, api_key="any", max_retries=0) as claude,
        genai.Client(api_key="any", http_options=options) as gemini,
    ):
        yield {
            "openai": gpt.chat.completions.create,
            "responses": gpt.responses.create,
            "anthropic": claude.messages.create,
            "gemini": gemini.models.generate_content,
        }


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open("memory://", counter="chars") as opened:
        opened.append({"role": "system", "content": "Be brief."})
        for number in range(40):
            role = "assistant" if number % 2 else "user"
            opened.append({"role": role, "content": f"turn {number}: " + "of words, many. " * 60})
        opened.append({"role": "user", "content": "And now?"})
        yield opened


def arguments(format: str) -> dict[str, Any]:
    model = READERS[format].partition(":")[2].replace("claude-opus-5.5", "claude-opus-5-5")
    return {"model": model, **({"max_tokens": 99} if format == "anthropic" else {})}


def pages(context: Context) -> int:
    return sum(segment.is_image for segment in context.segments)


def carried(server: ReadingServer) -> list[int]:
    """Images in each request that came."""
    counts = [len(e.asked.images) if e.asked else -1 for e in server.exchanges]
    server.exchanges.clear()
    return counts


@pytest.mark.parametrize("format", FORMATS)
def test_a_reply_comes_back_as_it_is(
    format: str, server: ReadingServer, calls: dict[str, Callable[..., Any]], memory: Memory
) -> None:
    context = memory.context(READERS[format], 6_000)
    assert context.send(calls[format], **arguments(format)) is not None
    assert carried(server) == [pages(context)] and pages(context) > 0


@pytest.mark.parametrize("format", FORMATS)
def test_a_refusal_is_asked_again_as_text(
    format: str, server: ReadingServer, calls: dict[str, Callable[..., Any]], memory: Memory
) -> None:
    context = memory.context(READERS[format], 6_000)
    server.refuse()
    reply = context.send(calls[format], **arguments(format))
    assert not is_refused(reply)
    assert carried(server) == [pages(context), 0]
    server.refuse(2)  # a second refusal is the caller's
    assert is_refused(context.send(calls[format], **arguments(format)))
    assert carried(server) == [pages(context), 0]


@pytest.mark.parametrize("status", [413, 400])
@pytest.mark.parametrize("format", FORMATS)
def test_too_large_a_request_is_asked_again_smaller(
    format: str, status: int, server: ReadingServer, calls: dict[str, Callable[..., Any]],
    memory: Memory,
) -> None:  # fmt: skip
    context = memory.context(READERS[format], 6_000)
    server.fail(status, TOO_LONG[format])
    assert context.send(calls[format], **arguments(format)) is not None
    failed, asked = list(server.exchanges)[-2:]
    assert failed.status == status and asked.usage is not None
    assert asked.usage.input < context.tokens
    server.fail(status, TOO_LONG[format], times=2)
    with pytest.raises(ERRORS):
        context.send(calls[format], **arguments(format))


@pytest.mark.parametrize("format", FORMATS)
def test_other_errors_are_the_callers(
    format: str, server: ReadingServer, calls: dict[str, Callable[..., Any]], memory: Memory
) -> None:
    server.exchanges.clear()
    for status, says in ((400, "temperature must be a number"), (401, "no"), (500, "oh")):
        server.fail(status, says)
        with pytest.raises(ERRORS):
            memory.context(READERS[format], 6_000).send(calls[format], **arguments(format))
    assert len(server.exchanges) == 3


def test_asynchronous(server: ReadingServer, memory: Memory) -> None:
    async def talk() -> object:
        context = await memory.acontext(READERS["anthropic"], 6_000)
        options = {"base_url": server.url, "api_key": "any", "max_retries": 0}
        async with AsyncAnthropic(**options) as client:  # type: ignore[arg-type]
            server.exchanges.clear()
            server.refuse()
            first = await context.asend(client.messages.create, **arguments("anthropic"))
            server.fail(413)
            second = await context.asend(client.messages.create, **arguments("anthropic"))
            server.fail(401)
            with pytest.raises(anthropic.AuthenticationError):
                await context.asend(client.messages.create, **arguments("anthropic"))
        return is_refused(first) or is_refused(second)

    assert asyncio.run(talk()) is False
    assert [e.status for e in server.exchanges] == [200, 200, 413, 200, 401]


def test_a_config_of_ones_own_stands_beside_ours(
    server: ReadingServer, calls: dict[str, Callable[..., Any]], memory: Memory
) -> None:
    context = memory.context(READERS["gemini"], 6_000)
    context.send(calls["gemini"], **arguments("gemini"), config={"temperature": 0.5})
    body = server.exchanges[-1].body
    assert body["generationConfig"]["temperature"] == 0.5
    assert body["systemInstruction"]["parts"][0]["text"] == "Be brief."


def test_as_text(memory: Memory) -> None:
    context = memory.context(READERS["openai"], 6_000)
    text = context.as_text()
    assert text.tokens <= 6_000 and not pages(text) and text.budget == 6_000
    assert text.segments[-1].turn is not None and text.segments[-1].turn.text == "And now?"
    assert "is shown no pages" in " ".join(text.notices)
    whole = context.as_text(100_000)
    assert sum(segment.kind == "turn" for segment in whole.segments) == 41
    # The plan with pages is as it was.
    assert memory.context(READERS["openai"], 6_000).request() == context.request()
    with pytest.raises(BudgetError):
        context.as_text(3)


def test_smaller(memory: Memory) -> None:
    context = memory.context(READERS["openai"], 6_000)
    smaller = context.smaller()
    assert smaller.tokens <= 0.7 * context.tokens
    assert smaller.reader.request_bytes < context.reader.request_bytes
    assert smaller.smaller(0.9).tokens < smaller.tokens
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            context.smaller(share)


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ({"stop_reason": "refusal"}, True),
        ({"stop_reason": "end_turn", "content": []}, False),
        ({"choices": [{"finish_reason": "content_filter", "message": {}}]}, True),
        ({"choices": [{"finish_reason": "stop", "message": {"refusal": "I cannot"}}]}, True),
        ({"choices": [{"finish_reason": "stop", "message": {"refusal": None}}]}, False),
        ({"output": [{"type": "message", "content": [{"type": "refusal"}]}]}, True),
        ({"output": [], "incomplete_details": {"reason": "content_filter"}}, True),
        ({"output": [], "incomplete_details": {"reason": "max_output_tokens"}}, False),
        ({"prompt_feedback": {"block_reason": "SAFETY"}}, True),
        ({"candidates": [{"finish_reason": "PROHIBITED_CONTENT"}]}, True),
        ({"candidates": [{"finish_reason": "STOP"}], "prompt_feedback": None}, False),
        (None, False),
    ],
)
def test_refusals(reply: object, refused: bool) -> None:
    assert is_refused(reply) is refused


def test_an_answer_that_the_window_cut(memory: Memory) -> None:
    assert was_cut({"stop_reason": "model_context_window_exceeded"}) and not was_cut({})
    replies = [{"stop_reason": "model_context_window_exceeded"}, {"stop_reason": "end_turn"}]
    context = memory.context(READERS["anthropic"], 6_000)
    sent: list[int] = []

    def create(**asked: Any) -> dict[str, str]:
        sent.append(len(str(asked["messages"])))
        return replies[len(sent) - 1]

    assert context.send(create)["stop_reason"] == "end_turn" and len(sent) == 2


def test_errors_of_no_client() -> None:
    assert not is_too_large(ValueError("prompt is too long"))
    assert not is_too_large(KeyError())
