"""The MCP server, by the official SDK's own client: in process, and as the command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from optimem import Memory
from optimem.integrations.mcp_server import memory_server


def asked(server: Any, ask: Callable[[Client], Awaitable[Any]]) -> Any:
    """What a client gets."""

    async def run() -> Any:
        async with Client(server) as client:
            return await ask(client)

    return asyncio.run(run())


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


@pytest.fixture
def memory() -> Any:
    with Memory.open("memory://", "mine") as opened:
        opened.append({"role": "user", "content": "The cache listens on port 6390."}, id="port")
        yield opened


@pytest.mark.parametrize("allowed", [False, True])
def test_tools_and_their_hints(memory: Memory, allowed: bool) -> None:
    server = memory_server(memory, allow_forget=allowed)
    tools = {tool.name: tool for tool in asked(server, lambda c: c.list_tools()).tools}
    assert set(tools) == {"remember", "recall", "show"} | ({"forget"} if allowed else set())
    reads = {name: tool.annotations.read_only_hint for name, tool in tools.items()}
    assert reads["recall"] and reads["show"] and not reads["remember"]
    assert not tools["remember"].annotations.destructive_hint
    if allowed:
        assert tools["forget"].annotations.destructive_hint and not reads["forget"]
    for tool in tools.values():
        assert tool.description
        assert not {"session", "namespace", "store"} & set(tool.input_schema["properties"])


def test_what_is_remembered_can_be_recalled(memory: Memory) -> None:
    server = memory_server(memory)

    async def talk(client: Client) -> list[Any]:
        kept = await client.call_tool("remember", {"text": "The code is xk-47-q9."})
        found = await client.call_tool("recall", {"query": "what is the code?"})
        exact = await client.call_tool("recall", {"turn": "port"})
        shown = await client.call_tool("show", {})
        return [kept, found, exact, shown]

    kept, found, exact, shown = asked(server, talk)
    assert memory.turn(text(kept)).text == "The code is xk-47-q9."
    assert "The code is xk-47-q9." in text(found) and text(kept) in text(found)
    assert text(exact).endswith("The cache listens on port 6390.")
    assert shown.structured_content["turns"] == 2


def test_forget_is_gone_for_good(memory: Memory) -> None:
    server = memory_server(memory, allow_forget=True)
    result = asked(server, lambda c: c.call_tool("forget", {"turns": ["port"]}))
    assert result.structured_content["turns"] == 1 and memory.traces("6390") == []
    again = asked(server, lambda c: c.call_tool("forget", {"turns": ["port"]}))
    assert again.is_error and "no turn 'port'" in text(again)


def test_wrong_arguments_are_answered(memory: Memory) -> None:
    server = memory_server(memory)
    assert asked(server, lambda c: c.call_tool("remember", {"text": ""})).is_error
    assert asked(server, lambda c: c.call_tool("forget", {"turns": ["port"]})).is_error
    nothing = asked(server, lambda c: c.call_tool("recall", {}))
    assert text(nothing) == "recall takes one of query, page or turn."
    assert len(memory.turns()) == 1


def test_the_command_serves_its_session_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    with Memory.open(url, "other") as other:
        other.append({"role": "user", "content": "The other code is zz-1."}, id="secret")
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "optimem", "mcp", "--session", "mine", "--store", url],
        env=dict(os.environ),
    )

    async def talk(client: Client) -> list[Any]:
        await client.call_tool("remember", {"text": "The code is xk-47-q9."})
        found = await client.call_tool("recall", {"query": "code"})
        hidden = await client.call_tool("recall", {"turn": "secret", "session": "other"})
        return [found, hidden]

    found, hidden = asked(server, talk)
    assert "xk-47-q9" in text(found) and "zz-1" not in text(found)
    assert "zz-1" not in text(hidden)
    with Memory.open(url, "mine") as memory:
        assert [turn.text for turn in memory.turns()] == ["The code is xk-47-q9."]
