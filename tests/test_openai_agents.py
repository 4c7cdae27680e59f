"""OptiMemSession with the Agents SDK's own runner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, function_tool, set_tracing_disabled
from agents.memory import Session, SessionSettings
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI

from optimem import Memory
from optimem.integrations.openai_agents import OptiMemSession
from optimem.testing import ReadingServer

set_tracing_disabled(True)
LONG = "The harbour of that town was built of grey stone, and the boats were painted blue. " * 40


@pytest.fixture
def memory() -> Any:
    with Memory.open("memory://", "42") as opened:
        yield opened


def items(count: int) -> list[Any]:
    return [{"role": "user", "content": f"Item {number}"} for number in range(count)]


def test_it_is_a_session(memory: Memory) -> None:
    session = OptiMemSession(memory)
    assert isinstance(session, Session) and session.session_id == "42"


def test_items_come_back_as_they_came(memory: Memory) -> None:
    session = OptiMemSession(memory)
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "3"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    mixed: list[Any] = [*items(2), thought, call, output]

    async def run() -> None:
        assert await session.get_items() == [] and await session.pop_item() is None
        await session.add_items(mixed)
        await session.add_items(items(1))
        assert await session.get_items() == [*mixed, *items(1)]
        assert await session.get_items(limit=2) == [output, *items(1)]
        assert await session.get_items(limit=0) == []
        assert await session.pop_item() == items(1)[0]
        assert await session.get_items() == mixed
        await session.clear_session()
        assert await session.get_items() == []
        await session.add_items(items(1))
        assert await session.pop_item() == items(1)[0] and await session.get_items() == []

    asyncio.run(run())


def test_the_sdks_own_limit_holds(memory: Memory) -> None:
    session = OptiMemSession(memory, SessionSettings(limit=2))

    async def run() -> None:
        await session.add_items(items(5))
        assert await session.get_items() == items(5)[-2:]
        assert await session.get_items(limit=3) == items(5)[-3:]

    asyncio.run(run())


@function_tool
def look_up(name: str) -> str:
    """Looks something up."""
    return f"{name} is in drawer 7."


def images(body: Any) -> list[Any]:
    return [
        block
        for item in body["input"]
        if isinstance(item.get("content"), list)
        for block in item["content"]
        if block.get("type") == "input_image"
    ]


def test_the_model_gets_pages_and_the_session_keeps_its_items(memory: Memory) -> None:
    session = OptiMemSession(memory)
    bodies: list[Any] = []

    async def run() -> None:
        with ReadingServer() as server:
            client = AsyncOpenAI(base_url=server.openai_url, api_key="none", max_retries=0)
            create = client.responses.create

            async def kept(**body: Any) -> Any:
                bodies.append(body)
                return await create(**body)

            client.responses.create = kept  # type: ignore[method-assign]
            model = OpenAIResponsesModel("gpt-6-astra", client)
            agent = Agent(name="Clerk", instructions="Be brief.", model=model, tools=[look_up])
            fade = session.fade("openai:gpt-6-astra", budget=8_000)
            config = RunConfig(call_model_input_filter=fade)
            for number in range(14):
                said = f"Note {number}: {LONG}"
                await Runner.run(agent, said, session=session, run_config=config)
            said = 'Call look_up with {"name": "The stapler"}'
            result = await Runner.run(agent, said, session=session, run_config=config)
            assert "drawer 7" in str(result.final_output)
            billed = [exchange.usage for exchange in server.exchanges]
            assert max(usage.input for usage in billed if usage is not None) < 10_000
            await client.close()

    asyncio.run(run())
    assert len(images(bodies[-1])) >= 2 and len(bodies) == 16
    assert len(memory.turns()) == 32
    assert not any(turn.attachments for turn in memory.turns())
    asked = [item for item in bodies[-1]["input"] if item.get("type") == "function_call"]
    given = [item for item in bodies[-1]["input"] if item.get("type") == "function_call_output"]
    assert [item["call_id"] for item in asked] == [item["call_id"] for item in given] != []


def test_a_run_that_began_elsewhere_is_sent_as_it_is(memory: Memory) -> None:
    session = OptiMemSession(memory)
    for number in range(16):
        memory.append({"role": "user", "content": f"Note {number}: {LONG}"})
    other: list[Any] = items(20)
    assert session._faded(other, "openai:gpt-6-astra", 8_000) == other
