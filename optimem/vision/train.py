"""Train optimem-nano: `python -m optimem.vision.train --corpus FILE --out DIR --minutes N`.

Two lessons, one after the other (see `lessons`): the tower with the cell reader, then the decoder.
The folder holds a whole checkpoint at any time and takes up where it was left, from the weights
alone: Ctrl-C loses at most the last two minutes. `log.jsonl` in it is the learning curve.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from optimem.errors import InputError, OptiMemError
from optimem.modes import Tier
from optimem.renderers.atlas import Fade
from optimem.vision.cells import Alphabet
from optimem.vision.corpus import find_alphabet, hold_out, page_grids, pieces, read_documents
from optimem.vision.drawing import Drawer
from optimem.vision.lessons import CellLesson, CharacterLesson, Marks
from optimem.vision.nano import NanoForConditionalGeneration, nano_config
from optimem.vision.places import TIERS
from optimem.vision.vocabulary import IMAGE, PAD, START, STOP, train_tokenizer
from optimem.vision.wiring import LEARNED, wire

_FADES: tuple[Fade, ...] = ("native", "native", "area")
_WARM_UP = 30  # steps
_SAVE = 120.0  # seconds between two checkpoints
_SAY = 30.0  # seconds between two lines of the log
_SAMPLE = 6000  # stretches of text that the tokenizer is made from


@dataclass(frozen=True, slots=True)
class Course:
    """How a lesson is taught.

    Attributes:
        rate: the highest learning rate.
        begins: names of the parameters that learn begin so.
    """

    rate: float
    begins: tuple[str, ...]


COURSES = {
    "cells": Course(2e-3, ("model.vision_tower", "cells")),
    "characters": Course(2e-3, LEARNED),
}


def begin(folder: Path, documents: list[str], seed: int) -> None:
    """Put a checkpoint into a folder that has seen nothing yet."""
    rng = random.Random(seed)
    alphabet = find_alphabet(documents)
    drawn = pieces(documents, rng)
    tokenizer = train_tokenizer([next(drawn) for _ in range(_SAMPLE)], alphabet)
    folder.mkdir(parents=True, exist_ok=True)
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=STOP, pad_token=PAD
    ).save_pretrained(folder)
    ids = tokenizer.get_vocab()
    torch.manual_seed(seed)
    config = nano_config(alphabet, len(ids), *(ids[name] for name in (IMAGE, START, STOP, PAD)))
    model = NanoForConditionalGeneration(config)
    wire(model, ids)
    model.save_pretrained(folder)


def train(
    corpus: Path,
    folder: Path,
    minutes: float,
    *,
    lesson: str = "cells",
    seed: int = 0,
    device: str = "cpu",
    pages: int = 500,
    size: int | None = None,
    modes: Sequence[Tier] = TIERS,
    steps: int | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train for some minutes; returns what the last line of the log says.

    Args:
        corpus: a text file (plain or .xz) whose documents are parted by form feeds.
        folder: the checkpoint; made if there is none, else trained on.
        minutes: how long.
        lesson: "cells" (tower and cell reader) or "characters" (the decoder).
        seed: of weights, pages and order.
        device: where.
        pages: pages of text that are laid out beforehand.
        size: pairs of cells in one batch.
        modes: which modes are taught, in turn.
        steps: stop after so many, if that is sooner.
        say: is told how it goes.

    Raises:
        InputError: the corpus cannot be read.
    """
    documents, _ = hold_out(read_documents(corpus))
    if not (folder / "config.json").exists():
        say(f"new checkpoint in {folder}")
        begin(folder, documents, seed)
    model: Any = NanoForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.to(device)
    drawer = Drawer(Alphabet(**model.config.alphabet), device)
    log = folder / "log.jsonl"  # another start of the same training sees other pages
    begun = len(log.read_text().splitlines()) if log.exists() else 0
    start = random.Random(f"{seed} {begun}").randrange(1 << 30)
    random.seed(start)
    torch.manual_seed(start)
    grids = torch.from_numpy(page_grids(documents, drawer, pages, start)).to(device)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cells = CellLesson(model, drawer, grids, size or 1024)
    characters = CharacterLesson(model, drawer, tokenizer, grids, size or 1024)

    def one(tier: Tier, fade: Fade) -> Marks:
        if lesson == "cells":
            return cells.step(tier, fade)
        return characters.step(tier, fade)

    return _teach(model, folder, lesson, one, modes, minutes * 60, steps, say)


def _teach(
    model: Any,
    folder: Path,
    lesson: str,
    one: Callable[[Tier, Fade], Marks],
    modes: Sequence[Tier],
    seconds: float,
    steps: int | None,
    say: Callable[[str], None],
) -> dict[str, float]:
    course, weights = COURSES[lesson], []
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(course.begins))
        weights += [weight] if weight.requires_grad else []
    optimizer = torch.optim.AdamW(weights, lr=course.rate, betas=(0.9, 0.95), weight_decay=0.0)
    kind = model.device.type
    start = saved = said = time.monotonic()
    step, seen, line = 0, defaultdict[str, list[float]](list), dict[str, float]()
    model.train()
    with _stopping() as stopped:
        while (spent := time.monotonic() - start) < seconds and step != steps and not stopped:
            fall = min(1.0, 2 * (1 - spent / seconds) + 0.02)  # falls over the second half
            for group in optimizer.param_groups:
                group["lr"] = course.rate * min(1.0, (step + 1) / _WARM_UP) * fall
            for tier in modes:
                with torch.autocast(kind, torch.bfloat16):
                    marks = one(tier, random.choice(_FADES))
                marks.loss.backward()  # type: ignore[no-untyped-call]
                seen[f"{tier.label} loss"].append(marks.loss.item())
                seen[f"{tier.label} right"].append(marks.right)
                if marks.wide is not None:
                    seen[f"{tier.label} wide"].append(marks.wide)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if time.monotonic() - said > _SAY:
                said = time.monotonic()
                line = _line(lesson, step, spent, seen)
                seen.clear()
                with (folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                say("  ".join(f"{key} {value}" for key, value in line.items()))
            if time.monotonic() - saved > _SAVE:
                model.save_pretrained(folder)
                saved = time.monotonic()
    model.save_pretrained(folder)
    return line or _line(lesson, step, time.monotonic() - start, seen)


def _line(lesson: str, step: int, spent: float, seen: dict[str, list[float]]) -> dict[str, Any]:
    means = {key: round(sum(values) / len(values), 4) for key, values in seen.items()}
    return {"lesson": lesson, "step": step, "seconds": round(spent), **means}


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that a first Ctrl-C or SIGTERM puts something into; a second one ends at once."""
    stopped: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)

    for number in signals:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m optimem.vision.train",
        description="Train optimem-nano. The folder is a checkpoint at any time; again with the"
        " same folder, training goes on from its weights.",
    )
    parser.add_argument(
        "--corpus", type=Path, required=True, help="text, plain or .xz; form feeds part documents"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--minutes", type=float, default=20, help="how long (default 20)")
    parser.add_argument(
        "--lesson",
        choices=[*COURSES],
        default="cells",
        help="tower and cell reader, or the decoder",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--pages", type=int, default=500, help="pages laid out beforehand (default 500)"
    )
    parser.add_argument("--size", type=int, help="pairs of cells at once (default 1,024)")
    parser.add_argument(
        "--modes", nargs="+", choices=[tier.label for tier in TIERS], help="only these modes"
    )
    parser.add_argument("--steps", type=int, help="stop after so many steps, if that is sooner")
    parser.add_argument("--threads", type=int, help="of the processor")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not math.isfinite(options.minutes) or options.minutes <= 0:
        parser.error("--minutes is a number above 0")
    try:
        train(
            options.corpus,
            options.out,
            options.minutes,
            lesson=options.lesson,
            seed=options.seed,
            device=options.device,
            pages=options.pages,
            size=options.size,
            modes=[Tier.parse(label) for label in options.modes or [t.label for t in TIERS]],
            steps=options.steps,
            say=lambda text: print(text, flush=True),
        )
    except (InputError, OptiMemError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
