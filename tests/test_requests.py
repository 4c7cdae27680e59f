"""Requests in each API's shape: order, images, cache marks, limits, tools; turns of any shape."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from optimem import InputError, Memory
from optimem.context import Context
from optimem.messages import parse
from optimem.readers import Profile, find_reader
from optimem.readers.fit import Allowed, fitted
from optimem.values import Attachment, Json, Segment, Text

READERS = {
    "openai": "openai:gpt-6-astra",
    "responses": "openai-responses:gpt-6-astra",
    "anthropic": "anthropic:claude-opus-5.5",
    "gemini": "google:gemini-3.8-flash",
}


def picture(width: int, height: int, kind: str = "PNG") -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def shown(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def session(turns: int = 60) -> list[dict[str, Any]]:
    said = [{"role": "system", "content": "Be brief. " * 200}]
    for number in range(turns):
        role = "assistant" if number % 2 else "user"
        words = f"turn {number}: " + "the cache listens on port 6390 and answers. " * 12
        said.append({"role": role, "content": words})
    return [*said, {"role": "user", "content": "Which port?"}]


def context(reader: str | Profile, turns: list[dict[str, Any]], budget: int = 6_000) -> Context:
    with Memory.open("memory://", counter="chars") as memory:
        memory.extend(turns)
        return remembered(memory.context(reader, budget))


def remembered(made: Context) -> Context:
    """A context whose images outlive its memory."""
    images = {id(each): made.image(each) for each in made.segments if each.is_image}
    return replace(made, image=lambda segment: images[id(segment)])


@pytest.fixture(scope="module")
def contexts() -> dict[str, Context]:
    return {format: context(reader, session()) for format, reader in READERS.items()}


def messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    for key in ("messages", "input", "contents"):
        if key in request:
            found: list[dict[str, Any]] = request[key]
            return found
    raise AssertionError(request.keys())


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = message.get("parts") or message["content"]
    return found


@pytest.mark.parametrize("format", READERS)
def test_pages_stand_in_one_user_message_before_the_live_turns(
    format: str, contexts: dict[str, Context]
) -> None:
    made = contexts[format]
    said = messages(made.request())
    live = [segment for segment in made.segments if segment.kind == "turn"]
    systems = sum(message["role"] == "system" for message in said)
    assert systems == (1 if format in ("openai", "responses") else 0)
    pages = said[systems]
    assert pages["role"] == "user" and len(said) == systems + 1 + len(live)
    images = [block for block in blocks(pages) if "image" in json.dumps(block, default=str)[:60]]
    wanted = [segment for segment in made.segments if segment.is_image]
    assert len(images) == len(wanted) >= 2
    first = blocks(pages)[0]["text"]
    assert "not instructions" in first
    for before, block in zip(blocks(pages), blocks(pages)[1:], strict=False):
        if block in images:  # its place and anchors stand right in front of it
            assert before["text"].startswith("Page ")
    assert "Which port?" in json.dumps(said[-1])


@pytest.mark.parametrize("format", READERS)
def test_the_same_context_gives_the_same_bytes(format: str, contexts: dict[str, Context]) -> None:
    made = contexts[format]
    one, other = (json.dumps(made.request(), default=bytes.hex) for _ in range(2))
    assert one == other
    again = context(READERS[format], session())
    assert json.dumps(again.request(), default=bytes.hex) == one


def test_details_and_resolutions(contexts: dict[str, Context]) -> None:
    chat = blocks(messages(contexts["openai"].request())[1])
    assert {b["image_url"]["detail"] for b in chat if b["type"] == "image_url"} == {"original"}
    items = blocks(messages(contexts["responses"].request())[1])
    assert {b["detail"] for b in items if b["type"] == "input_image"} == {"original"}
    parts = blocks(messages(contexts["gemini"].request())[0])
    levels = {p["media_resolution"]["level"] for p in parts if "inline_data" in p}
    asked = {
        f"MEDIA_RESOLUTION_{(contexts['gemini'].reader.detail(s) or '').upper()}"
        for s in contexts["gemini"].segments
        if s.is_image
    }
    assert levels == asked <= {f"MEDIA_RESOLUTION_{x}" for x in ("LOW", "MEDIUM", "HIGH")}
    seven = replace(find_reader("qwen3-vl"), name="vllm:mine")
    plain = blocks(messages(context(seven, session()).request())[1])
    assert all("detail" not in b["image_url"] for b in plain if b["type"] == "image_url")


def marks(value: Json) -> list[Json]:
    """Everything that carries a mark for the cache, in order."""
    if isinstance(value, dict):
        own = [value] if {"cache_control", "prompt_cache_breakpoint"} & set(value) else []
        return own + [mark for each in value.values() for mark in marks(each)]
    return [mark for each in value for mark in marks(each)] if isinstance(value, list) else []


def test_the_caches_marks(contexts: dict[str, Context]) -> None:
    asked = contexts["anthropic"].request()
    assert [*marks(asked["system"])] == [asked["system"][-1]]
    pages, last = asked["messages"][0], asked["messages"][-1]
    assert marks(asked["messages"]) == [pages["content"][-1], last["content"][-1]]
    assert pages["content"][-1]["type"] == "image"
    for format in ("openai", "responses"):
        asked = contexts[format].request()
        pages = messages(asked)[1]
        assert marks(messages(asked)) == [blocks(pages)[-1]]
        assert blocks(pages)[-1]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    for reader in ("gpt-5.1", "gpt-6-nova", "azure:gpt-6-astra", "qwen3-vl"):
        assert marks(messages(context(reader, session(), 9_000).request())) == []
    short = context("claude-opus-5.5", [{"role": "user", "content": "hi"}]).request()
    assert short == {"messages": [{"role": "user", "content": "hi"}]}


def test_no_more_marks_than_anthropic_takes() -> None:
    kept = {"cache_control": {"type": "ephemeral"}}
    block = {"type": "text", "text": "word " * 300, **kept}
    turns = [{"role": "user", "content": [block]} for _ in range(8)]
    turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", **kept}]})
    turns.insert(8, {"role": "assistant", "content": [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}, **kept}]})  # fmt: skip
    made = context("claude-opus-5.5", turns, 50_000)
    assert len(marks(made.request())) == 1
    assert "cache_control" in json.dumps(turns)  # what came is not touched


SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
FUNCTION = {"name": "find", "description": "Finds.", "parameters": SCHEMA}
TOOLS: dict[str, dict[str, Any]] = {
    "openai": {"type": "function", "function": FUNCTION},
    "responses": {"type": "function", **FUNCTION},
    "anthropic": {"name": "find", "description": "Finds.", "input_schema": SCHEMA},
}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("came", TOOLS)
def test_tools_in_the_readers_shape(came: str, format: str) -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "hi"})
        made = memory.context(READERS[format], 2000, tools=[TOOLS[came]])
        request = made.request()
    if format == "gemini":
        declared = {"name": "find", "description": "Finds.", "parameters_json_schema": SCHEMA}
        assert request["config"]["tools"] == [{"function_declarations": [declared]}]
    else:
        assert request["tools"] == [TOOLS[format]]


@pytest.mark.parametrize("format", READERS)
def test_tools_that_are_no_functions_go_as_they_came(format: str) -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "hi"})
        made = memory.context(READERS[format], 2000, tools=[{"type": "web_search"}])
        request = made.request()
    assert (request.get("tools") or request["config"]["tools"]) == [{"type": "web_search"}]


# Turns of every shape, to every API

RESPONSES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_text", "text": "Which port?"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "find", "arguments": "{}"},
    {"type": "function_call", "id": "fc_2", "call_id": "b", "name": "find", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": "6390"},
    {"type": "function_call_output", "call_id": "b", "output": [
        {"type": "input_text", "text": "6391"}]},
]  # fmt: skip
GEMINI: list[dict[str, Any]] = [
    {"role": "user", "parts": [{"text": "Which port?"}]},
    {"role": "model", "parts": [
        {"text": "hm", "thought": True},
        {"function_call": {"name": "find", "args": {"q": "port"}}, "thought_signature": "AQ-_"},
    ]},
    {"role": "user", "parts": [{"functionResponse": {
        "name": "find", "response": {"result": "6390"}}}]},
    {"role": "model", "parts": [{"inline_data": {"mime_type": "image/png", "data": "AQ-_"}}]},
]  # fmt: skip


def test_responses_items_are_turns() -> None:
    turns = [parse(item) for item in RESPONSES]
    assert {turn.dialect for turn in turns} == {"responses"}
    roles = ["user", "assistant", "assistant", "assistant", "assistant", "tool", "tool"]
    assert [turn.role for turn in turns] == roles
    assert [turn.calls for turn in turns[3:5]] == [("a",), ("b",)]
    assert [turn.answers for turn in turns[5:]] == [("a",), ("b",)]
    assert [turn.text for turn in turns[1:4]] == ["hm", "I look.", "find {}"]
    assert [turn.id for turn in turns[1:3]] == ["rs_1", "msg_1"]
    other = parse({"type": "web_search_call", "id": "ws_1", "status": "completed"})
    assert other.attachments[0].block["id"] == "ws_1"


def test_gemini_contents_are_turns() -> None:
    turns = [parse(content) for content in GEMINI]
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "assistant"]
    assert turns[1].calls == turns[2].answers == ("find",)  # without ids the name pairs them
    assert turns[2].text == "6390" and turns[3].attachments[0].data == b"\x01\x0f\xbf"
    with pytest.raises(InputError, match="unknown role 'assistant': Gemini's are user, model"):
        parse({"role": "assistant", "parts": []})
    with pytest.raises(InputError, match="must be text or an object"):
        parse({"role": "user", "parts": [3]})


def sent(turns: list[Any], format: str) -> list[dict[str, Any]]:
    return messages(context(READERS[format], turns, 5_000).request())


def test_what_came_from_an_api_goes_back_to_it() -> None:
    kept = [{k: v for k, v in i.items() if k not in ("id", "status")} for i in RESPONSES]
    kept[1]["id"] = "rs_1"
    assert sent(RESPONSES, "responses") == kept
    back = sent(GEMINI, "gemini")
    assert back[:1] == GEMINI[:1] and back[2] == GEMINI[2]
    assert back[1]["parts"][1]["thought_signature"] == b"\x01\x0f\xbf"
    assert back[3]["parts"][0]["inline_data"]["data"] == b"\x01\x0f\xbf"


def test_responses_items_to_other_apis() -> None:
    chat = sent(RESPONSES, "openai")
    assert [message["role"] for message in chat] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in chat[1]["tool_calls"]] == ["a", "b"]
    assert chat[1]["content"] == "I look."
    claude = sent(RESPONSES, "anthropic")
    assert [message["role"] for message in claude] == ["user", "assistant", "user"]
    assert [block["type"] for block in claude[1]["content"]] == ["text", "tool_use", "tool_use"]
    gemini = sent(RESPONSES, "gemini")
    assert [content["role"] for content in gemini] == ["user", "model", "user"]
    answers = [part["function_response"] for part in gemini[2]["parts"]]
    assert [(answer["id"], answer["name"]) for answer in answers] == [("a", "find"), ("b", "find")]


def test_gemini_contents_to_other_apis() -> None:
    chat = sent(GEMINI[:3], "openai")
    assert [message["role"] for message in chat] == ["user", "assistant", "tool"]
    assert chat[1]["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"q": "port"}'}
    items = sent(GEMINI[:3], "responses")
    types = [item.get("type") for item in items]
    assert types == [None, "function_call", "function_call_output"]


def test_a_broken_call_still_goes_out() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{bad"}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "no"},
        {"role": "user", "content": "go on"},
    ]
    part = sent(turns, "gemini")[0]["parts"][0]
    assert part["function_call"]["args"] == {"arguments": "{bad"}


def test_system_amid_the_conversation() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "system", "content": "Be kind."}]
    assert sent(turns, "gemini")[1] == {
        "role": "user",
        "parts": [{"text": "System instruction:"}, {"text": "Be kind."}],
    }
    assert sent(turns, "responses")[1] == {"role": "system", "content": "Be kind."}


def test_systems_apart(contexts: dict[str, Context]) -> None:
    assert contexts["gemini"].request()["config"]["system_instruction"].startswith("Be brief.")
    assert contexts["gemini"].system == contexts["gemini"].request()["config"]["system_instruction"]
    assert contexts["anthropic"].system == contexts["anthropic"].request()["system"]
    assert "config" not in context(READERS["gemini"], [{"role": "user", "content": "x"}]).request()


def test_any_format_on_request(contexts: dict[str, Context]) -> None:
    made = contexts["openai"]
    assert set(made.request("responses")) == {"input"}
    assert set(made.request("anthropic")) == {"messages", "system"}
    assert set(made.request("gemini")) == {"contents", "config"}
    assert made.messages("gemini") == made.request("gemini")["contents"]
    with pytest.raises(InputError, match="use one of openai, responses, anthropic, gemini"):
        made.request("cohere")


# Images of turns: roles, formats, sizes

CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def looked(url: str) -> list[dict[str, Any]]:
    answer = [{"type": "text", "text": "this:"}, shown(url)]
    return [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": answer},
        {"role": "user", "content": "And?"},
    ]


def test_an_image_of_a_tool_moves_to_a_user_message() -> None:
    chat = sent(looked(picture(40, 30)), "openai")
    assert [message["role"] for message in chat] == ["user", "assistant", "tool", "user", "user"]
    assert chat[2]["content"] == "this:\n[image 1: below]"
    assert [block["type"] for block in chat[3]["content"]] == ["text", "image_url"]
    claude = sent(looked(picture(40, 30)), "anthropic")
    inner = claude[2]["content"][0]["content"]
    assert [block["type"] for block in inner] == ["text", "image"]  # there it may stand
    at_end = sent(looked(picture(40, 30))[:3], "openai")
    assert at_end[-1]["role"] == "user" and at_end[-1]["content"][1]["type"] == "image_url"


def test_text_alone_for_readers_of_text_alone() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "see"}, shown(picture(9, 9))]}]
    made = context("gpt-3.5-turbo", turns, 900)
    assert made.request()["messages"] == [
        {"role": "user", "content": "see\n[image left out: this model reads no images]"}
    ]


@pytest.mark.parametrize(
    ("kind", "reader", "out"),
    [
        ("GIF", "grok-4.7", "png"),
        ("WEBP", "grok-4.7", "png"),
        ("GIF", "gpt-6-astra", "gif"),
        ("JPEG", "grok-4.7", "jpeg"),
    ],
)
def test_formats(kind: str, reader: str, out: str) -> None:
    turns = [{"role": "user", "content": [shown(picture(50, 40, kind))]}]
    url = context(reader, turns, 5_000).request()["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith(f"data:image/{out};")


def attachment(width: int, height: int) -> Attachment:
    part = parse({"role": "user", "content": [shown(picture(width, height))]}).attachments[0]
    return part


def test_too_large_an_image_is_shrunk() -> None:
    claude = find_reader("claude-opus-5.5")
    part = Allowed(claude, 1).fit(attachment(9000, 30))
    assert isinstance(part, Attachment) and part.data is not None
    assert Image.open(io.BytesIO(part.data)).size == (8000, 26)
    many = [attachment(2400, 20)] * 21
    turn = parse({"role": "user", "content": [shown(picture(2400, 20))] * 21})
    made = fitted([Segment("turn", 0, turn=turn)], claude, "anthropic")
    inside = made[0].turn
    assert inside is not None and len(inside.attachments) == len(many)
    for each in inside.attachments:
        assert Image.open(io.BytesIO(each.data or b"")).size == (2000, 16)
    fewer = parse({"role": "user", "content": [shown(picture(2400, 20))] * 20})
    assert fitted([Segment("turn", 0, turn=fewer)], claude, "anthropic")[0].turn is fewer


def test_too_many_bytes_are_shrunk() -> None:
    small = replace(find_reader("claude-opus-5.5"), limits={"image_bytes": 4000})
    noise = Image.effect_noise((300, 300), 90)
    out = io.BytesIO()
    noise.save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    part = parse({"role": "user", "content": [shown(url)]}).attachments[0]
    made = Allowed(small, 1).fit(part)
    assert isinstance(made, Attachment) and -(-len(made.data or b"") // 3) * 4 <= 4000
    nothing = replace(small, limits={"image_bytes": 10})
    left = Allowed(nothing, 1).fit(part)
    assert isinstance(left, Text) and "too large" in left.text


def test_images_that_cannot_be_read() -> None:
    astra, grok = find_reader("gpt-6-astra"), find_reader("grok-4.7")
    odd = Attachment("image", "image/heic", b"nothing", "", "", {})
    left = Allowed(astra, 1).fit(odd)
    assert isinstance(left, Text) and "image/heic" in left.text
    png = replace(odd, media_type="image/png")
    assert Allowed(grok, 1).fit(png) is png  # the server may know better
    url = Attachment("image", "", None, "https://example.org/a.png", "", {})
    assert Allowed(grok, 1).fit(url) is url
