"""A chat loop with OpenAI whose old turns fade: `python examples/openai_chat.py`.

Needs `pip install optimem openai` and OPENAI_API_KEY.
"""

from openai import OpenAI

from optimem import Memory

READER = "openai:gpt-6-astra"


def main() -> None:
    """Talk until the input ends."""
    client = OpenAI()
    with Memory.open("sqlite:///chat.db", session="openai") as memory:
        while True:
            try:
                memory.append({"role": "user", "content": input("> ")})
            except EOFError:
                return
            context = memory.context(reader=READER, budget=20_000)
            reply = client.chat.completions.create(model="gpt-6-astra", **context.request())
            answer = reply.choices[0].message
            memory.append(answer)
            print(answer.content)


if __name__ == "__main__":
    main()
