"""The same long session with OpenAI's client alone: a loop, a memory, and recall as a tool.

pip install 'optimem[tokens]' openai
python examples/openai_agent.py [sqlite:///agent.db] [TURNS]
"""

from __future__ import annotations

import sys

import demo_model
from openai import OpenAI

from optimem import Memory
from optimem.integrations.recall_tool import RecallTool


def main() -> None:
    """Tell the story, then ask for its first minutes."""
    url = sys.argv[1] if len(sys.argv) > 1 else "memory://"
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with demo_model.provider(), OpenAI() as client, Memory.open(url, "story") as memory:
        talk = Talk(client, memory)
        for number in range(turns):
            talk.ask(demo_model.story(number))
            if number % max(turns // 10, 1) == 0:
                demo_model.point(number, talk.sent, memory)
        answers = [talk.ask(question) for question in demo_model.QUESTIONS]
        demo_model.ending(memory, answers, talk.recalled)


class Talk:
    """Asks a model, and answers its calls of recall until it has said something."""

    def __init__(self, client: OpenAI, memory: Memory) -> None:
        self.sent = 0
        self.recalled = 0
        self._client = client
        self._memory = memory
        self._recall = RecallTool(memory)

    def ask(self, text: str) -> str:
        """The model's answer to a turn of the user."""
        self._memory.append({"role": "user", "content": text})
        while True:
            context = self._memory.context(
                demo_model.READER, demo_model.BUDGET, tools=[self._recall.openai]
            )
            reply = self._client.chat.completions.create(
                model=demo_model.MODEL, **context.request()
            )
            self.sent = reply.usage.prompt_tokens if reply.usage else context.tokens
            message = reply.choices[0].message
            self._memory.append(message)
            if not message.tool_calls:
                return message.content or ""
            for call in message.tool_calls:
                self._memory.append(self._recall.answer(call))
                self.recalled += 1


if __name__ == "__main__":
    main()
