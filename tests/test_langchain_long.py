"""An agent over 500 turns with a Redis store and a checkpointer: restarts, kills, questions."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from optimem.integrations.langchain import OptiMemMiddleware
from optimem.testing import ReadingServer

BUDGET = 8_000
TURNS, QUESTIONS = 500, 20
LEAST_RIGHT = 19
KILLS = 20
PLACES = "harbour mill tower market bridge station library garden quarry chapel".split()
THINGS = (
    "lantern anchor barrel compass saddle kettle mirror ladder violin shovel"
    " candle hammer basket feather needle pillow ribbon saucer trumpet umbrella"
).split()
WORDS = (
    "The {} was visited on day {}. The weather held, the road was dry, and the count of crates"
    " stood at {}. Nothing else of note was seen on the way back to the inn that evening. "
)


@tool
def weigh(crate: str) -> str:
    """Weighs a crate."""
    return f"Crate {crate} weighs {len(crate) * 7} pounds."


def note(number: int) -> str:
    """A user's turn; each twenty-fifth states a fact that is asked for later."""
    place = PLACES[number % len(PLACES)]
    text = f"Note {number}. {WORDS.format(place, number, number * 37 % 1000)}"
    if number % 25 == 0:
        return f"{text} The password of the {THINGS[number // 25]} is {password(number)}."
    if number % 10 == 3:
        return f'{text} Call weigh with {{"crate": "c{number}"}}'
    return text


def password(number: int) -> str:
    """A word that nobody could guess."""
    letters = random.Random(number)
    return "".join(
        letters.choice("bdfgklmnprst") + letters.choice("aeiou") for _ in range(4)
    ).title()


def agent(server_url: str, redis_url: str, checkpointer: Any) -> Any:
    """As a process would build it at its start."""
    options: Any = {"base_url": server_url, "api_key": "none", "max_retries": 0}
    model = ChatOpenAI(model="gpt-6-astra", **options)
    memory = OptiMemMiddleware(f"{redis_url}?prefix=long", budget=BUDGET)
    return create_agent(model, [weigh], middleware=[memory], checkpointer=checkpointer), memory


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def check_questions(server: ReadingServer, ask: Callable[[str], str]) -> None:
    """Facts that are text no more are answered, and without those of other things."""
    facts = {thing: password(number * 25) for number, thing in enumerate(THINGS)}
    assert len(facts) == QUESTIONS == TURNS // 25
    right = 0
    for thing, fact in facts.items():
        before = server.exchanges[-1]
        answer = ask(f"Say exactly: what is the password of the {thing}?")
        first = server.exchanges[server.exchanges.index(before) + 1]
        assert first.asked is not None and first.readings
        words = [block.text for block in first.asked.blocks if block.role == "user"]
        assert not any(fact in text for text in words), "the turn that says it has faded"
        right += [each for each in facts.values() if each in answer] == [fact]
    print(f"{right} of {QUESTIONS} right")
    assert right >= LEAST_RIGHT


def check_log(memory: OptiMemMiddleware, name: str, messages: list[BaseMessage]) -> None:
    turns = memory.memory(thread(name)).turns()
    assert [turn.id for turn in turns] == [message.id for message in messages]
    assert [turn.text for turn in turns if turn.role == "user"] == [
        message.text for message in messages if message.type == "human"
    ]


def check_requests(server: ReadingServer) -> None:
    """The server keeps the newest requests, by its own bill."""
    billed = [exchange.usage.input for exchange in server.exchanges if exchange.usage is not None]
    assert billed and max(billed) <= BUDGET


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_500_turns_with_restarts(kind: str, redis_url: str, tmp_path: Path) -> None:
    saver = InMemorySaver()
    loop = asyncio.new_event_loop()  # one for all calls: the client keeps its connections in it

    def run(graph: Any, text: str) -> list[BaseMessage]:
        if kind == "sync":
            found = graph.invoke({"messages": text}, thread(kind))
        else:
            found = loop.run_until_complete(graph.ainvoke({"messages": text}, thread(kind)))
        messages: list[BaseMessage] = found["messages"]
        return messages

    with ReadingServer(keep=TURNS * 3) as server:
        graph, memory = agent(server.openai_url, redis_url, saver)
        messages: list[BaseMessage] = []
        for number in range(TURNS):
            if number % 100 == 99:  # a new process: nothing but Redis and the checkpoint stays
                memory.close()
                graph, memory = agent(server.openai_url, redis_url, saver)
            messages = run(graph, note(number))
        assert memory.memory(thread(kind)).stats().pages > TURNS // 50
        check_requests(server)
        check_log(memory, kind, messages)
        check_questions(server, lambda question: run(graph, question)[-1].text)
        check_requests(server)
        images = sum(exchange.usage.images > 0 for exchange in server.exchanges if exchange.usage)
        assert images > TURNS / 2
        stored = repr(saver.storage) + repr(saver.blobs)
        assert "iVBORw0KGgo" not in stored and "\\x89PNG" not in stored
        memory.close()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


_WRITER = """
import sys
sys.path.insert(0, sys.argv[5])
from langgraph.checkpoint.sqlite import SqliteSaver
from test_langchain_long import agent, note, thread
server, redis, path = sys.argv[1:4]
with SqliteSaver.from_conn_string(path) as saver:
    graph, memory = agent(server, redis, saver)
    state = graph.get_state(thread("killed"))
    said = [m for m in state.values.get("messages", ()) if m.type == "human"]
    if state.next:
        graph.invoke(None, thread("killed"))
    for number in range(len(said), int(sys.argv[4])):
        graph.invoke({"messages": note(number)}, thread("killed"), durability="sync")
        print(number, flush=True)
"""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_killing_the_process_loses_no_turn(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    moments = random.Random(9)
    seen = -1
    with ReadingServer() as server:

        def start(stop: int) -> subprocess.Popen[str]:
            arguments = [
                server.openai_url,
                redis_url,
                str(path),
                str(stop),
                str(Path(__file__).parent),
            ]
            command = [sys.executable, "-c", _WRITER, *arguments]
            environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
            return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

        for _ in range(KILLS):
            process = start(1000)
            assert process.stdout is not None
            seen = max(seen, int(process.stdout.readline()))
            time.sleep(moments.uniform(0, 1.5))
            os.kill(process.pid, signal.SIGKILL)
            rest = [line for line in process.stdout.read().split("\n")[:-1] if line]
            seen = max([seen, *map(int, rest)])
            process.wait()
            process.stdout.close()
        process = start(seen + 3)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and int(out.split()[-1]) == seen + 2
        with SqliteSaver.from_conn_string(str(path)) as saver:
            graph, memory = agent(server.openai_url, redis_url, saver)
            messages = graph.get_state(thread("killed")).values["messages"]
            check_log(memory, "killed", messages)
            memory.close()
    said = [message.text for message in messages if message.type == "human"]
    assert said == [note(number) for number in range(seen + 3)], "no turn is lost, none is doubled"
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT checkpoint FROM checkpoints").fetchall()
        rows += database.execute("SELECT value FROM writes").fetchall()
    database.close()
    assert not any(b"\x89PNG" in row[0] or b"iVBORw0KGgo" in row[0] for row in rows)
    print(json.dumps({"kills": KILLS, "turns": seen + 3}))
