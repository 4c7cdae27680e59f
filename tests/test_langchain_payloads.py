"""What LangChain's own packages make of our messages, field by field."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.messages import AIMessage, BaseMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image
from scripted_agents import ScriptedModel, build, call, check_pairs, images, look_up

from optimem.integrations.langchain import OptiMemMiddleware
from optimem.integrations.langchain_messages import without_reasoning

LONG = "The harbour of that town was built of grey stone, and the boats were painted blue. " * 40


def sent(reader: str) -> list[BaseMessage]:
    """What a model is sent late in a conversation with tools: pages, then live messages."""

    def answer(messages: Any) -> AIMessage:
        return call("x", len(model.sent)) if messages[-1].type == "human" else AIMessage("Found.")

    model = ScriptedModel(reader=reader, answer=answer)
    memory = OptiMemMiddleware("memory://", budget=12_000)
    agent = build(
        model,
        [look_up],
        middleware=[memory],
        checkpointer=InMemorySaver(),
        system_prompt="Be brief.",
    )
    for number in range(16):
        said = {"messages": f"Note {number}: {LONG}"}
        agent.invoke(said, {"configurable": {"thread_id": "42"}})
    messages = model.sent[-1]
    check_pairs(messages)
    assert len(images(messages)) >= 2
    return messages


def check_png(encoded: str | bytes) -> None:
    data = encoded if isinstance(encoded, bytes) else base64.b64decode(encoded, validate=True)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.format == "PNG"


def captions(messages: list[BaseMessage]) -> int:
    """How many pages are named beside the images."""
    (pages,) = (message for message in messages if images([message]))
    return len(re.findall(r"'Page \d+, turn", str(pages.content)))


def test_openai_chat() -> None:
    messages = sent("openai:gpt-6-astra")
    model = ChatOpenAI(model="gpt-6-astra", api_key="none")  # type: ignore[arg-type]
    payload = model._get_request_payload(messages)
    roles = [message["role"] for message in payload["messages"]]
    assert roles[:2] == ["system", "user"] and roles.count("system") == 1
    blocks = payload["messages"][1]["content"]
    found = [block for block in blocks if block["type"] == "image_url"]
    assert len(found) == len(images(messages))
    for block in found:
        assert set(block) == {"type", "image_url"} and set(block["image_url"]) == {"url", "detail"}
        assert block["image_url"]["detail"] == "original"
        header, _, encoded = block["image_url"]["url"].partition(",")
        assert header == "data:image/png;base64"
        check_png(encoded)
    texts = [block for block in blocks if block["type"] == "text"]
    assert all(set(block) == {"type", "text"} for block in texts), "no random ids"
    assert len(found) + len(texts) == len(blocks) and captions(messages) >= len(found)
    answered = [message for message in payload["messages"] if message["role"] == "tool"]
    calls = [c["id"] for m in payload["messages"] for c in m.get("tool_calls", ())]
    assert [message["tool_call_id"] for message in answered] == calls != []


def test_openai_responses() -> None:
    messages = sent("openai:gpt-6-astra")
    model = ChatOpenAI(model="gpt-6-astra", api_key="none", use_responses_api=True)  # type: ignore[arg-type]
    payload = model._get_request_payload(messages)
    pages = next(item for item in payload["input"] if isinstance(item.get("content"), list))
    assert pages["role"] == "user" and pages["type"] == "message"
    found = [block for block in pages["content"] if block["type"] == "input_image"]
    assert len(found) == len(images(messages))
    for block in found:
        assert block["detail"] == "original"
        header, _, encoded = block["image_url"].partition(",")
        assert header == "data:image/png;base64"
        check_png(encoded)
    assert {block["type"] for block in pages["content"]} == {"input_image", "input_text"}
    calls = [item["call_id"] for item in payload["input"] if item.get("type") == "function_call"]
    outputs = [i["call_id"] for i in payload["input"] if i.get("type") == "function_call_output"]
    assert calls == outputs != []


def test_anthropic() -> None:
    messages = sent("anthropic:claude-opus-5-5")
    model = ChatAnthropic(model="claude-opus-5-5", api_key="none")  # type: ignore[call-arg, arg-type]
    payload = model._get_request_payload(messages)
    assert "Be brief." in str(payload["system"])
    assert {message["role"] for message in payload["messages"]} == {"user", "assistant"}
    blocks = payload["messages"][0]["content"]
    found = [block for block in blocks if block["type"] == "image"]
    assert len(found) == len(images(messages))
    for block in found:
        source = block["source"]
        assert (source["type"], source["media_type"]) == ("base64", "image/png")
        check_png(source["data"])
    used = [b["id"] for m in payload["messages"] for b in m["content"] if is_kind(b, "tool_use")]
    answers = [
        b["tool_use_id"]
        for m in payload["messages"]
        for b in m["content"]
        if is_kind(b, "tool_result")
    ]
    assert used == answers != []


def is_kind(block: Any, kind: str) -> bool:
    return isinstance(block, dict) and block.get("type") == kind


def test_anthropics_cache_mark_stands_behind_the_pages() -> None:
    class Keeps(ChatAnthropic):
        """Keeps its requests instead of sending them."""

        def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
            payloads.append(self._get_request_payload(messages, **options))
            return ScriptedModel()._generate(messages)

    payloads: list[dict[str, Any]] = []
    model = Keeps(model="claude-opus-5-5", api_key="none")  # type: ignore[call-arg, arg-type]
    memory = OptiMemMiddleware("memory://", budget=12_000)
    stack: list[Any] = [AnthropicPromptCachingMiddleware(), memory]
    options: Any = {"checkpointer": InMemorySaver(), "system_prompt": "Be brief."}
    agent = build(model, [look_up], middleware=stack, **options)
    for number in range(24):
        said = {"messages": f"Note {number}: {LONG}"}
        agent.invoke(said, {"configurable": {"thread_id": "42"}})
    payload = payloads[-1]
    mark = {"type": "ephemeral", "ttl": "5m"}
    assert payload["cache_control"] == mark
    pages, *live = payload["messages"]
    assert sum(block["type"] == "image" for block in pages["content"]) >= 2
    shown = [block for block in pages["content"] if block.get("type") == "image"]
    marked = [block for block in pages["content"] if "cache_control" in block]
    assert marked == [shown[-1]] and marked[0]["cache_control"] == mark
    assert "cache_control" not in str(live)
    tools = [tool for tool in payload["tools"] if "cache_control" in tool]
    assert len(tools) == 1 and payload["system"][-1]["cache_control"] == mark
    stable = [p["messages"][0] for p in payloads if isinstance(p["messages"][0]["content"], list)]
    assert sum(a != b for a, b in zip(stable, stable[1:], strict=False)) < len(stable) / 2


@pytest.mark.parametrize("name", ["gemini-4-argon", "gemini-3.8-flash"])
def test_gemini(name: str) -> None:
    messages = sent(f"google_genai:{name}")
    model = ChatGoogleGenerativeAI(model=name, google_api_key="none")
    request = model._prepare_request(messages)
    contents = request["contents"]
    parts = [part for part in contents[0].parts if part.inline_data is not None]
    assert contents[0].role == "user" and len(parts) == len(images(messages))
    for part in parts:
        assert part.inline_data.mime_type == "image/png"
        check_png(part.inline_data.data)
        assert part.media_resolution.level.value.startswith("MEDIA_RESOLUTION_")
    assert "Be brief." in str(request["config"].system_instruction)
    calls = [p.function_call.name for c in contents for p in c.parts if p.function_call]
    answers = [p.function_response.name for c in contents for p in c.parts if p.function_response]
    assert calls == answers != []


# Reasoning


def test_responses_without_reasoning_can_be_replayed() -> None:
    message = AIMessage(
        [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "text", "text": "Looking.", "id": "msg_1"},
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": "{}",
            },
        ],
        tool_calls=[{"name": "look_up", "args": {}, "id": "call_1"}],
        response_metadata={"id": "resp_1", "model_name": "gpt-6-astra"},
    )
    model = ChatOpenAI(
        model="gpt-6-astra",
        api_key="none",  # type: ignore[arg-type]
        use_responses_api=True,
        use_previous_response_id=True,
    )
    payload = model._get_request_payload([without_reasoning(message)])
    assert "previous_response_id" not in payload
    assert [item["type"] for item in payload["input"]] == ["message", "function_call"]
    assert not any("id" in item for item in payload["input"])
    assert payload["input"][1]["call_id"] == "call_1"
    assert message.content[0]["type"] == "reasoning"  # type: ignore[index]


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking", "reasoning"])
def test_anthropics_thinking_is_left_out(kind: str) -> None:
    thought = {"type": kind, kind: "hm", "data": "x", "signature": "s"}
    message = AIMessage([thought, {"type": "text", "text": "So it is."}])
    assert without_reasoning(message).content == [{"type": "text", "text": "So it is."}]


def test_other_providers_reasoning_is_left_out_and_signatures_of_calls_stay() -> None:
    signatures = {"__gemini_function_call_thought_signatures__": {"c1": "s"}}
    message = AIMessage("So it is.", additional_kwargs={"reasoning_content": "hm", **signatures})
    assert without_reasoning(message).additional_kwargs == signatures
    plain = AIMessage("So it is.")
    assert without_reasoning(plain) is plain
