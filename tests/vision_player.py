"""Processes that share one session's vision tokens: `python vision_player.py COUNT …`.

`vision_player.py COUNT play URL CHECKPOINT LOG TURNS` has COUNT processes append the TURNS turns
of one session in turn and make model inputs after each. `vision_player.py COUNT work URL
CHECKPOINT LOG LEASE PAUSE` has them encode jobs until they are killed. They are forks of one
that has loaded the model, and it prints their ids. All append lines to LOG: each batch before
it is encoded, each page when its tokens are stored, and what a player did when it is over.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from optimem import Memory
from optimem.stores import open_store
from optimem.vision import LocalReader
from optimem.worker import Worker

SESSION = "replay"
BUDGET = 12_000  # all five modes come up
WORDS = "the quick brown fox jumps over the lazy dog while pages fade and words stay exact".split()


def text(number: int) -> str:
    """What turn `number` says: about a third of a page."""
    return " ".join(WORDS[(number * 7 + n * n + n // 3) % len(WORDS)] for n in range(300))


def logged(reader: LocalReader, store: Any, log: Path, pause: float) -> None:
    """Have a reader and its store write down what they encode and keep."""
    encode, put = reader._encode, store.put_blob

    def write(**line: Any) -> None:
        with log.open("ab", buffering=0) as file:  # one write each, so lines stay whole
            file.write(json.dumps({"process": os.getpid(), **line}).encode() + b"\n")

    def watched_encode(pictures: Any, tier: Any) -> Any:
        write(encodes=[f"{picture.name}/{tier.label}" for picture in pictures])
        time.sleep(pause)
        return encode(pictures, tier)

    def watched_put(scope: Any, key: str, value: bytes) -> bytes:
        kept: bytes = put(scope, key, value)
        if key.startswith("vision/"):
            mode, name = key.split("/")[3:5]
            write(stores=f"{name}/{mode}", first=kept is value)
        return kept

    reader._encode = watched_encode  # type: ignore[method-assign]
    store.put_blob = watched_put


def play(reader: LocalReader, number: int, of: int, url: str, log: Path, turns: str) -> None:
    with Memory.open(url, SESSION, counter="chars") as memory:
        logged(reader, memory.store, log, 0)
        for turn in range(number, int(turns), of):
            memory.append({"role": "user", "content": text(turn)}, id=f"t{turn}", time=0.0)
            inputs = memory.context(reader=reader, budget=BUDGET).model_inputs()
            assert inputs["input_ids"].shape[1] <= BUDGET
    with log.open("ab", buffering=0) as file:
        file.write(json.dumps({"work": reader.work}).encode() + b"\n")


def work(
    reader: LocalReader, number: int, of: int, url: str, log: Path, lease: str, pause: str
) -> None:
    reader.lease = float(lease)
    store = open_store(url)
    logged(reader, store, log, float(pause))
    Worker(store, reader).run()


def main() -> None:
    count, verb, url, folder, log, *options = sys.argv[1:]
    torch.set_num_threads(1)
    reader = LocalReader.load(folder, device="cpu", batch=4)
    assert reader.weights  # once for all
    children = []
    for number in range(int(count)):
        child = os.fork()
        if not child:
            run = play if verb == "play" else work
            run(reader, number, int(count), url, Path(log), *options)
            return
        children.append(child)
    print(json.dumps(children), flush=True)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
