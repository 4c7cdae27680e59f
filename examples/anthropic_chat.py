"""A chat loop with Claude whose old turns fade: `python examples/anthropic_chat.py`.

Needs `pip install optimem anthropic` and ANTHROPIC_API_KEY.
"""

from anthropic import Anthropic

from optimem import Memory

READER = "anthropic:claude-opus-5.5"


def main() -> None:
    """Talk until the input ends."""
    client = Anthropic()
    with Memory.open("sqlite:///chat.db", session="anthropic") as memory:
        while True:
            try:
                memory.append({"role": "user", "content": input("> ")})
            except EOFError:
                return
            context = memory.context(reader=READER, budget=20_000)
            request = context.request()
            reply = client.messages.create(model="claude-opus-5-5", max_tokens=1024, **request)
            blocks = [block.model_dump(exclude_none=True) for block in reply.content]
            memory.append({"role": "assistant", "content": blocks})
            print("".join(block.text for block in reply.content if block.type == "text"))


if __name__ == "__main__":
    main()
