"""The reading server, asked by the providers' own clients."""

from __future__ import annotations

import base64
import io
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any

import anthropic
import numpy as np
import openai
import pytest
from anthropic import Anthropic
from google import genai
from google.genai import errors, types
from openai import OpenAI
from PIL import Image

from optimem import Memory
from optimem.modes import Tier
from optimem.readers import find_reader
from optimem.renderers.page import page_png
from optimem.testing import ReadingServer, rapidocr, tesseract
from optimem.testing.answers import NOTED, UNKNOWN
from optimem.testing.eyes import Eyes, Look, Pixels

GPT, CLAUDE, GEMINI = "gpt-6-astra", "claude-opus-5-5", "gemini-4-argon"
KEY = "9f86d081884c7d65"
FACTS = f"The ferry to Aeros leaves at noon. The key of the green box is {KEY}. Soup was cold."
RECALL = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


def fixed(text: str) -> Callable[[Pixels, float], str]:
    """An engine that reads the same on every page."""
    return lambda pixels, width: text


@pytest.fixture
def server() -> Iterator[ReadingServer]:
    with ReadingServer(engine=fixed(FACTS)) as running:
        yield running


@pytest.fixture
def gpt(server: ReadingServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.openai_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(server: ReadingServer) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(server: ReadingServer) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=server.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


def png(side: int = 512) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.full((side, side), 255, np.uint8)).save(data, "PNG")
    return data.getvalue()


def shown(question: str, images: int = 1, side: int = 512) -> dict[str, list[Any]]:
    """A question beside page images, as each API wants it."""
    encoded = base64.b64encode(png(side)).decode()
    url = f"data:image/png;base64,{encoded}"
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    return {
        "chat": [
            *({"type": "image_url", "image_url": {"url": url}} for _ in range(images)),
            {"type": "text", "text": question},
        ],
        "responses": [
            *({"type": "input_image", "image_url": url, "detail": "auto"} for _ in range(images)),
            {"type": "input_text", "text": question},
        ],
        "claude": [
            *({"type": "image", "source": source} for _ in range(images)),
            {"type": "text", "text": question},
        ],
        "gemini": [
            *(types.Part.from_bytes(data=png(side), mime_type="image/png") for _ in range(images)),
            question,
        ],
    }


def said_by_all(
    question: str, gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> dict[str, str | None]:
    """What each API says of one image, whole and streamed."""
    asked = shown(question)
    messages: Any = [{"role": "user", "content": asked["chat"]}]
    whole = gpt.chat.completions.create(model=GPT, messages=messages)
    pieces = gpt.chat.completions.create(model=GPT, messages=messages, stream=True)
    items: Any = [{"role": "user", "content": asked["responses"]}]
    turns: Any = [{"role": "user", "content": asked["claude"]}]
    with gpt.responses.stream(model=GPT, input=items) as events:
        events.until_done()
        streamed = events.get_final_response().output_text
    with claude.messages.stream(model=CLAUDE, max_tokens=99, messages=turns) as parts:
        spoken = "".join(parts.text_stream)
    block = claude.messages.create(model=CLAUDE, max_tokens=99, messages=turns).content[0]
    chunks = gemini.models.generate_content_stream(model=GEMINI, contents=asked["gemini"])
    return {
        "chat": whole.choices[0].message.content,
        "chat stream": "".join(p.choices[0].delta.content or "" for p in pieces),
        "responses": gpt.responses.create(model=GPT, input=items).output_text,
        "responses stream": streamed,
        "messages": block.text if block.type == "text" else None,
        "messages stream": spoken,
        "gemini": gemini.models.generate_content(model=GEMINI, contents=asked["gemini"]).text,
        "gemini stream": "".join(chunk.text or "" for chunk in chunks),
    }


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Transcribe this image.", FACTS),
        ("I moved the green box to the attic.", NOTED),
        ("Which airline flew to Valparaiso on Sunday?", UNKNOWN),
    ],
)
def test_every_api_says_the_same(
    question: str, wanted: str, gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    said = said_by_all(question, gpt, claude, gemini)
    assert said == dict.fromkeys(said, wanted) and len(said) == 8


def test_a_question_is_answered_from_what_was_read(
    gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    said = said_by_all("When does the ferry leave?", gpt, claude, gemini)
    assert all("leaves at noon" in (text or "") for text in said.values())


def test_an_image_is_read_when_a_question_needs_it_and_once() -> None:
    read: list[tuple[int, ...]] = []

    def engine(pixels: Pixels, width: float) -> str:
        read.append(pixels.shape)
        return FACTS

    with (
        ReadingServer(engine=engine) as server,
        OpenAI(base_url=server.openai_url, api_key="any") as client,
    ):
        for question in ("Thank you.", "Where is the soup?", "Where is the box?"):
            content: Any = shown(question, images=3)["chat"]
            client.chat.completions.create(
                model=GPT, messages=[{"role": "user", "content": content}]
            )
            assert read == ([] if question == "Thank you." else [(512, 512)])
        assert [len(each.readings) for each in server.exchanges] == [0, 3, 3]


# Tools


def test_exact_words_that_it_did_not_read_as_text_are_recalled(gpt: OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "recall", "parameters": RECALL}}
    question = "What exactly is the key of the green box?"
    messages: list[Any] = [{"role": "user", "content": shown(question)["chat"]}]
    reply = gpt.chat.completions.create(model=GPT, messages=messages, tools=[tool])
    calls: Any = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert json.loads(calls[0].function.arguments) == {"query": question}
    again = gpt.chat.completions.create(model=GPT, messages=messages, tools=[tool])
    assert again.choices[0].message.tool_calls == calls  # the same request, the same ids
    messages += [
        reply.choices[0].message,
        {"role": "tool", "tool_call_id": calls[0].id, "content": f"The key is {KEY}, green box."},
    ]
    last = gpt.chat.completions.create(model=GPT, messages=messages, tools=[tool])
    assert KEY in (last.choices[0].message.content or "")
    alone = gpt.chat.completions.create(model=GPT, messages=messages[:1])
    assert KEY in (alone.choices[0].message.content or "")  # it says what it read


@pytest.mark.parametrize(
    ("caption", "question", "calls"),
    [
        ("", "What exactly is the key of the green box?", True),
        (f", exact: {KEY}", "What exactly is the key of the green box?", False),
        (f", exact: {KEY}", "When exactly does the ferry leave?", True),
        ("", "What is the key of the green box?", False),
        ("", "Which airline flew to Valparaiso on Sunday?", True),
    ],
)
def test_it_recalls_what_it_may_have_misread(
    caption: str, question: str, calls: bool, gpt: OpenAI
) -> None:
    """An exact string settles the sentence that it stands in, and no other one."""
    tool: Any = {"type": "function", "function": {"name": "recall", "parameters": RECALL}}
    image, _ = shown("")["chat"]
    page: Any = [{"type": "text", "text": f"Page 0, turns 0-3{caption}"}, image]
    messages: Any = [{"role": "user", "content": page}, {"role": "user", "content": question}]
    reply = gpt.chat.completions.create(model=GPT, messages=messages, tools=[tool])
    assert bool(reply.choices[0].message.tool_calls) == calls


def test_what_came_back_is_believed_before_what_was_read(gpt: OpenAI) -> None:
    question = "What exactly is the key of the green box?"
    call = {"id": "c", "type": "function", "function": {"name": "recall", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": shown(question)["chat"]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "The key of the green box is 1234."},
    ]
    said = gpt.chat.completions.create(model=GPT, messages=messages).choices[0].message.content
    assert said == "The key of the green box is 1234."
    messages[-1]["content"] = "Nothing matches."
    said = gpt.chat.completions.create(model=GPT, messages=messages).choices[0].message.content
    assert said is not None and KEY in said


def test_calls_are_made_to_order_in_every_api(
    gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    order = 'Call move with {"to": {"x": [1, 2]}}, then call move with {"to": {}}.'
    wanted: list[Any] = [{"to": {"x": [1, 2]}}, {"to": {}}]
    schema: Any = {"type": "object", "properties": {"to": {"type": "object"}}}
    chat: Any = {"type": "function", "function": {"name": "move", "parameters": schema}}
    reply = gpt.chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": order}], tools=[chat]
    )
    calls: Any = reply.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == wanted
    flat: Any = {"type": "function", "name": "move", "parameters": schema, "strict": False}
    response = gpt.responses.create(model=GPT, input=order, tools=[flat])
    assert [json.loads(item.arguments) for item in response.output if item.type == "function_call"]
    with gpt.responses.stream(model=GPT, input=order, tools=[flat]) as events:
        items = events.get_final_response().output
    assert [json.loads(i.arguments) for i in items if i.type == "function_call"] == wanted
    with claude.messages.stream(
        model=CLAUDE,
        max_tokens=99,
        messages=[{"role": "user", "content": order}],
        tools=[{"name": "move", "input_schema": schema}],
    ) as parts:
        message = parts.get_final_message()
    assert message.stop_reason == "tool_use"
    assert [block.input for block in message.content if block.type == "tool_use"] == wanted
    declared = types.FunctionDeclaration(name="move", parameters_json_schema=schema)
    tools: Any = [types.Tool(function_declarations=[declared])]
    answer = gemini.models.generate_content(
        model=GEMINI,
        contents=order,
        config=types.GenerateContentConfig(
            tools=tools,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    )
    assert [call.args for call in answer.function_calls or ()] == wanted


# Bills


def test_the_bill_is_the_contexts_own_count(server: ReadingServer, gpt: OpenAI) -> None:
    with Memory.open("memory://") as memory:
        for number in range(60):
            memory.append({"role": "user", "content": f"{number}: " + FACTS * 20})
        context = memory.context("openai:gpt-6-astra", 12_000)
        assert any(segment.is_image for segment in context.segments)
        usage = gpt.chat.completions.create(model=GPT, **context.request()).usage
    assert usage is not None and usage.prompt_tokens_details is not None
    images = sum(segment.tokens for segment in context.segments if segment.is_image)
    assert usage.prompt_tokens_details.image_tokens == images
    assert context.tokens * 0.95 <= usage.prompt_tokens <= context.tokens


def test_a_prefix_that_came_before_is_read_from_the_cache(
    server: ReadingServer, gpt: OpenAI, gemini: genai.Client
) -> None:
    talk: list[Any] = [{"role": "user", "content": FACTS * 60}]
    cached = []
    for _ in range(3):
        talk += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Go on."}]
        usage: Any = gpt.chat.completions.create(model=GPT, messages=talk).usage
        cached.append(usage.prompt_tokens_details.cached_tokens)
        assert 0 <= usage.prompt_tokens - cached[-1] < 40 or not cached[-1]
    assert cached[0] == 0 < cached[1] < cached[2]
    usage = gpt.chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": "x"}, *talk]
    ).usage
    assert usage.prompt_tokens_details.cached_tokens == 0
    server.cool()
    usage = gpt.chat.completions.create(model=GPT, messages=talk).usage
    assert usage.prompt_tokens_details.cached_tokens == 0
    for wanted in (0, 4096):
        counts: Any = gemini.models.generate_content(
            model=GEMINI, contents=FACTS * 200
        ).usage_metadata
        assert (counts.cached_content_token_count or 0) >= wanted


def test_anthropics_cache_wants_breakpoints_and_the_same_images(claude: Anthropic) -> None:
    def ask(images: int, marked: bool, extra: int = 0) -> tuple[int, int]:
        mark = {"cache_control": {"type": "ephemeral"}} if marked else {}
        long: dict[str, Any] = {"type": "text", "text": FACTS * 60, **mark}
        messages: Any = [
            {"role": "user", "content": [*shown("A", images)["claude"], long]},
            *({"role": "user", "content": f"more {n}"} for n in range(extra)),
        ]
        message = claude.messages.create(model=CLAUDE, max_tokens=9, messages=messages)
        usage = message.usage
        return usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0

    assert ask(1, False) == (0, 0)
    read, written = ask(1, True)
    assert read == 0 and written > 1000
    assert ask(1, True, extra=2) == (written, 0)
    assert ask(2, True)[0] == 0  # another image


def test_image_prices_can_be_wrong() -> None:
    with (
        ReadingServer(overcharge=1.5) as server,
        OpenAI(base_url=server.openai_url, api_key="any") as client,
    ):
        content: Any = shown("Thanks.", side=640)["chat"]
        usage: Any = client.chat.completions.create(
            model=GPT, messages=[{"role": "user", "content": content}]
        ).usage
    right = find_reader("openai:gpt-6-astra").page_cost(Tier.SMALL)
    assert usage.prompt_tokens_details.image_tokens == round(1.5 * right)


def test_tokens_can_be_counted_beforehand(
    gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    turns: Any = [{"role": "user", "content": shown("Thanks.")["claude"]}]
    counted = claude.messages.count_tokens(model=CLAUDE, messages=turns).input_tokens
    usage = claude.messages.create(model=CLAUDE, max_tokens=9, messages=turns).usage
    assert counted == usage.input_tokens > 300
    total = gemini.models.count_tokens(model=GEMINI, contents="Hello there").total_tokens
    assert total is not None and 0 < total < 20
    assert gpt.responses.input_tokens.count(model=GPT, input="Hello there").input_tokens == total


# Errors


def test_it_refuses_when_told_to(
    server: ReadingServer, gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    server.refuse(4)
    hello: Any = [{"role": "user", "content": "Hello"}]
    chat = gpt.chat.completions.create(model=GPT, messages=hello).choices[0]
    assert chat.message.refusal and chat.finish_reason == "content_filter"
    item: Any = gpt.responses.create(model=GPT, input="Hello").output[0]
    assert item.content[0].type == "refusal"
    message = claude.messages.create(model=CLAUDE, max_tokens=9, messages=hello)
    assert message.stop_reason == "refusal"
    answer: Any = gemini.models.generate_content(model=GEMINI, contents="Hello")
    assert answer.candidates[0].finish_reason == types.FinishReason.SAFETY
    assert gpt.responses.create(model=GPT, input="Hello").output_text == NOTED


def test_it_fails_when_told_to(
    server: ReadingServer, gpt: OpenAI, claude: Anthropic, gemini: genai.Client
) -> None:
    hello: Any = [{"role": "user", "content": "Hello"}]
    server.fail(429, "slow down")
    with pytest.raises(openai.RateLimitError, match="slow down"):
        gpt.chat.completions.create(model=GPT, messages=hello)
    server.fail(529)
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=hello)
    server.fail(503)
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        gemini.models.generate_content(model=GEMINI, contents="Hello")
    assert [exchange.status for exchange in server.exchanges] == [429, 529, 503]


def test_limits_of_the_provider_hold(claude: Anthropic) -> None:
    at: Any = [{"role": "user", "content": shown("Thanks.", 20, 2001)["claude"]}]
    claude.messages.create(model=CLAUDE, max_tokens=9, messages=at)
    above: Any = [{"role": "user", "content": shown("Thanks.", 21, 2001)["claude"]}]
    with pytest.raises(anthropic.BadRequestError, match="exceeds 2000 pixels"):
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=above)


def test_a_full_window_and_too_many_bytes() -> None:
    small = replace(find_reader("gpt-4o"), window=100, limits={"request_bytes": 2000})
    with (
        ReadingServer(small) as server,
        OpenAI(base_url=server.openai_url, api_key="any", max_retries=0) as client,
    ):
        words: Any = [{"role": "user", "content": " ".join(["word"] * 90)}]
        client.chat.completions.create(model="gpt-4o", messages=words)
        with pytest.raises(openai.BadRequestError, match="context length is 100") as full:
            client.chat.completions.create(model="gpt-4o", messages=words * 2)
        assert full.value.code == "context_length_exceeded"
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=words * 5)
        assert caught.value.status_code == 413


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "at least one message"),
        ([{"role": "boss", "content": "x"}], "boss"),
        ([{"role": "tool", "tool_call_id": "a", "content": "x"}], "preceding message"),
        ([{"role": "system", "content": shown("x")["chat"]}], "only allowed"),
        ([{"role": "user", "content": [{"type": "text"}]}], "malformed"),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://a"}}],
                }
            ],
            "base64",
        ),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ],
                },
                {"role": "user", "content": "x"},
            ],
            "must be followed",
        ),
    ],
)
def test_chat_messages_that_the_api_rejects(messages: Any, sentence: str, gpt: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=sentence):
        gpt.chat.completions.create(model=GPT, messages=messages)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([{"role": "assistant", "content": "x"}], "first message"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "non-empty"),
        (
            [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
                },
                {"role": "user", "content": "y"},
            ],
            "without `tool_result`",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}],
                }
            ],
            "unexpected `tool_use_id`",
        ),
        (
            [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": shown("x")["claude"]},
                {"role": "user", "content": "x"},
            ],
            "only allowed in user messages",
        ),
    ],
)
def test_messages_that_anthropic_rejects(messages: Any, sentence: str, claude: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=sentence):
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=messages)


def test_what_is_no_api_is_not_found(server: ReadingServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/v1/elsewhere", b"{}")
    with caught.value as error:
        assert error.code == 404


# Eyes


def test_tesseract_reads_a_page_and_blur_takes_it_away() -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": FACTS})
        memory.flush()
        page = memory.page(0)
    look = Look(page_png(page, Tier.SMALL), (640, 640))
    for blur, readable in ((None, True), (Tier.SMALL, True), (Tier.BASE, False)):
        eyes = Eyes(tesseract, blur)
        assert ("leaves at noon" in eyes.read([look])[0][0]) is readable
        eyes.close()


if sys.version_info < (3, 13):  # RapidOCR has no newer wheels

    @pytest.mark.timeout(180)
    def test_rapidocr_reads_chinese_pages_of_real_requests() -> None:
        said = files("optimem").joinpath("data/cjk.txt").read_text("utf-8") * 2
        with Memory.open("memory://") as memory, ReadingServer(engine=rapidocr) as server:
            memory.append({"role": "user", "content": said})
            memory.flush()
            for n in range(12):
                memory.append({"role": "user", "content": f"Line {n} of small talk."})
            memory.append({"role": "user", "content": "他们赋有理性和什么？"})
            request = memory.context("openai:gpt-6-astra", 2_000).request()
            with OpenAI(base_url=server.openai_url, api_key="any") as client:
                reply = client.chat.completions.create(model=GPT, **request)
        assert server.exchanges[-1].usage and server.exchanges[-1].usage.images
        words = "".join((reply.choices[0].message.content or "").split())
        assert "他们赋有理性和良心" in words


def test_sheets_are_cut_into_their_pages() -> None:
    """Three pages of 640 px, spread over a canvas of 672 x 1920 as Gemini sees it unscaled."""
    read: list[tuple[tuple[int, ...], float, int]] = []

    def engine(pixels: Pixels, width: float) -> str:
        read.append((pixels.shape, width, int(pixels[0, 0])))
        return str(pixels[0, 0])

    canvas = np.full((1920, 672), 255, np.uint8)
    for number in range(3):
        canvas[number * 640 : (number + 1) * 640, :640] = number
    data = io.BytesIO()
    Image.fromarray(canvas).save(data, "PNG")
    eyes = Eyes(engine)
    assert eyes.read([Look(data.getvalue(), (672, 1920), 3)]) == [["0", "1", "2"]]
    assert {(shape, width) for shape, width, _ in read} == {((640, 640), 5.0)}
    eyes.read([Look(data.getvalue(), (336, 960), 3)])  # a provider that shrinks it
    assert read[-1][:2] == ((320, 320), 2.5)
    eyes.close()
