"""Two processes share a session over Redis; each sees what the other was told.

pip install 'optimem[redis,tokens]' openai
python examples/two_workers.py redis://localhost:6379/0 [TURNS]
"""

from __future__ import annotations

import subprocess
import sys
import uuid

import demo_model
from openai import OpenAI
from openai_agent import Talk

from optimem import Memory


def main() -> None:
    """Start the workers, wait for them, and ask for what they were told."""
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379/0"
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    session = f"demo-{uuid.uuid4().hex[:8]}"
    with demo_model.provider(), Memory.open(url, session) as memory:
        again = [sys.executable, __file__, url, str(turns), session]
        workers = [subprocess.Popen([*again, str(number)]) for number in range(2)]
        if any(worker.wait() for worker in workers):
            raise SystemExit("a worker failed")
        with OpenAI() as client:
            talk = Talk(client, memory)
            answers = [talk.ask(question) for question in demo_model.QUESTIONS]
        demo_model.ending(memory, answers, talk.recalled)


def work(url: str, turns: int, session: str, worker: int) -> None:
    """Tell every second turn of the story."""
    with OpenAI() as client, Memory.open(url, session) as memory:
        talk = Talk(client, memory)
        for number in range(worker, turns, 2):
            talk.ask(demo_model.story(number))
            if number % max(turns // 5, 1) == worker:
                print(f"worker {worker}: ", end="")
                demo_model.point(number, talk.sent, memory)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        work(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
