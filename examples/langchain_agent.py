"""A LangChain agent over a long session, which crashes and goes on in another process.

pip install 'optimem[langchain,redis,tokens]' langchain-openai
python examples/langchain_agent.py redis://localhost:6379/0 [TURNS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import Any

import demo_model
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from optimem.integrations.langchain import OptiMemMiddleware
from optimem.integrations.langchain_history import OptiMemChatMessageHistory


@tool
def weigh(crate: str) -> str:
    """Weighs a crate."""
    return f"Crate {crate} weighs {len(crate) * 7} pounds."


def main() -> None:
    """Two processes, one session: the first dies amid it, the second answers."""
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379/0"
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with demo_model.provider():
        thread = f"demo-{uuid.uuid4().hex[:8]}"
        again = [sys.executable, __file__, url, str(turns), thread]
        dead = subprocess.run([*again, "crash"])
        print(f"the first process died with {dead.returncode}; another one goes on", flush=True)
        subprocess.run([*again, "go on"], check=True)


def work(url: str, turns: int, thread: str, *, crash: bool) -> None:
    """Go on where the session stands; what was said is in Redis, and nowhere else."""
    middleware = OptiMemMiddleware(url, reader=demo_model.READER, budget=demo_model.BUDGET)
    agent: Any = create_agent(ChatOpenAI(model=demo_model.MODEL), [weigh], middleware=[middleware])
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    memory = middleware.memory(config)
    messages: list[BaseMessage] = OptiMemChatMessageHistory(thread, memory=memory).messages

    def ask(text: str) -> AIMessage:
        said = [*messages, HumanMessage(text, id=uuid.uuid4().hex)]
        messages[:] = agent.invoke({"messages": said}, config)["messages"]
        assert isinstance(messages[-1], AIMessage)
        return messages[-1]

    for number in range(sum(message.type == "human" for message in messages), turns):
        if crash and number == turns * 2 // 3:
            os._exit(9)  # as a killed process: nothing is flushed or closed
        answer = ask(demo_model.story(number))
        if number % max(turns // 10, 1) == 0:
            usage = answer.usage_metadata
            demo_model.point(number, usage["input_tokens"] if usage else 0, memory)
    answers = [str(ask(question).text) for question in demo_model.QUESTIONS]
    recalled = sum(message.type == "tool" and message.name == "recall" for message in messages)
    demo_model.ending(memory, answers, recalled)
    middleware.close()


if __name__ == "__main__":
    if len(sys.argv) == 5:
        work(sys.argv[1], int(sys.argv[2]), sys.argv[3], crash=sys.argv[4] == "crash")
    else:
        main()
