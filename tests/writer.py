"""A process that appends turns and says which were acknowledged: `python writer.py URL NAME …`.

`writer.py URL NAME FIRST COUNT PATIENCE PAUSE` appends COUNT turns with ids NAME-FIRST and so on,
retries one that failed for PATIENCE seconds, and prints each id once the store has it. Behind
each PAUSE turns it makes a context and recalls.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from optimem import Memory
from optimem.errors import StoreError

SESSION = "shared"


def text(id: str) -> str:
    """What the turn with this id says; some fill a page."""
    name, _, number = id.rpartition("-")
    words = 400 if int(number) % 5 == 0 else 12
    return f"{name} says {number}: " + " ".join(
        f"w{int(number) * 31 % 97 + n}" for n in range(words)
    )


def insist(verb: Callable[[], object], patience: float) -> None:
    """Try again for so many seconds while the store cannot be reached."""
    end = time.monotonic() + patience
    while True:
        try:
            verb()
        except StoreError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def look(memory: Memory) -> None:
    memory.context("openai:gpt-6-astra", 20_000).messages()
    memory.recall("says")


def main() -> None:
    url, name, first, count, patience, pause = sys.argv[1:]
    with Memory.open(url, SESSION, counter="chars") as memory:
        for number in range(int(first), int(first) + int(count)):
            id = f"{name}-{number}"
            turn = {"role": "user", "content": text(id)}
            insist(partial(memory.append, turn, id=id, time=0.0), float(patience))
            print(id, flush=True)
            if number % int(pause) == 0:
                insist(partial(look, memory), float(patience))


if __name__ == "__main__":
    main()
