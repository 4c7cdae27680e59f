"""How much of a page optimem-nano still reads from its vision tokens, mode by mode.

    optimem bench codec                             # packaged texts and random ids
    optimem bench codec --text FILE --mode small    # any text file
    optimem bench codec --decoder 2                 # let the decoder write two pages of each kind
    optimem bench codec --contexts 10               # and find lines in ten contexts of eight pages

Text goes the whole way: laid out, drawn, encoded, kept in the store's own form, read back. The
ceiling is every character right. Beside it stand two ways to spend as many positions without
pictures: cutting the text off, and mean-pooled characters (`optimem.bench.pooling`).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optimem.bench.corpus import KINDS, pages_of, turns_of
from optimem.bench.report import Check, print_report
from optimem.errors import InputError, MissingExtraError
from optimem.messages import parse
from optimem.modes import ROWS, Tier
from optimem.renderers.layout import PageStyle
from optimem.tokens import find_counter
from optimem.values import Page

MODES = (Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
_BOUNDS = {Tier.BASE: 99.8, Tier.SMALL: 98.0, Tier.TINY: 90.0}
_IDS_BOUND = 93.0  # % of random ids exact, at Base
_CHINESE_BOUND = 97.0  # % of characters, at Base
_SECONDS = {"cells": 0.5, "decoder": 8.0}  # for a page at Small, on two cores
_FOUND = {"base": 90, "small": 75, "tiny": 50}  # % of lines found by how they begin
_ELSEWHERE = 5  # % of them found where they do not stand
_ID = (8, 36)  # characters of the ids that are counted


@dataclass
class Tally:
    """What was read of one kind of text in one mode.

    Attributes:
        pages: how many.
        characters: on them.
        tokens: of them, as text (o200k).
        positions: of the decoder.
        wrong: edits between what stood there and what was read.
        words: distinct words read that stand there, and distinct words read.
        ids: ids that were read without an error, and ids.
        seconds: reading, with encoding.
    """

    pages: int = 0
    characters: int = 0
    tokens: int = 0
    positions: int = 0
    wrong: int = 0
    words: list[int] = field(default_factory=lambda: [0, 0])
    ids: list[int] = field(default_factory=lambda: [0, 0])
    seconds: float = 0.0

    def add(self, truth: Sequence[str], read: Sequence[str]) -> None:
        """Count one page's rows."""
        from rapidfuzz.distance import Levenshtein

        stood, seen = "\n".join(truth), "\n".join(read)
        self.pages += 1
        self.characters += len(stood)
        self.wrong += Levenshtein.distance(stood, seen)
        found = set(seen.split())
        self.words[0] += len(found & set(stood.split()))
        self.words[1] += len(found)
        for row, line in zip(truth, [*read, *[""] * len(truth)], strict=False):
            asked = [word for word in row.split()[1:-1] if _ID[0] <= len(word) <= _ID[1]]
            self.ids[0] += sum(word in line.split() for word in asked)
            self.ids[1] += len(asked)

    @property
    def accuracy(self) -> float:
        """Percentage of characters right: 1 - edits / length, order counts."""
        return round(100 * max(0.0, 1 - self.wrong / max(self.characters, 1)), 3)

    def to_json(self) -> dict[str, Any]:
        """The figures, by name."""
        return {
            "pages": self.pages,
            "characters_per_position": round(self.characters / max(self.positions, 1), 1),
            "tokens_per_position": round(self.tokens / max(self.positions, 1), 1),
            "accuracy": self.accuracy,
            "word_precision": round(100 * self.words[0] / max(self.words[1], 1), 2),
            "exact_ids": round(100 * self.ids[0] / max(self.ids[1], 1), 2),
            "seconds_per_page": round(self.seconds / max(self.pages, 1), 3),
        }


def main() -> None:
    """Measure, print, and end with one JSON line."""
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            raise MissingExtraError("optimem bench codec", "vision")
    if find_spec("rapidfuzz") is None:
        raise MissingExtraError("optimem bench codec", "bench")
    options = _options(sys.argv[1:])
    from optimem.bench.finding import finding
    from optimem.bench.pooling import cut_accuracy, pooled_accuracy
    from optimem.vision import LocalReader

    reader = LocalReader.load(options.reader, precision="int8")
    modes = [Tier.parse(label) for label in options.mode]
    style = PageStyle()
    results: dict[str, Any] = {"reader": reader.profile.name}
    counter = find_counter("o200k")
    for kind, pages in _texts(options):
        results[kind] = {}
        lessons = [page for other in KINDS if other != kind for page in pages_of(turns_of(other))]
        tokens = [counter.count(page.text) for page in pages]
        for tier in modes:
            found = measure(reader, pages, tier, style, "cells")
            results[kind][tier.label] = {"cells": found.to_json()}
            area = measure(reader, pages[:1], tier, PageStyle(fade="area"), "cells")
            results[kind][tier.label]["area"] = area.to_json()
            said = f"{kind} at {tier.label}: {found.accuracy} % of characters"
            if options.decoder:
                written = measure(reader, pages[: options.decoder], tier, style, "decoder")
                results[kind][tier.label]["decoder"] = written.to_json()
                said += f", {written.accuracy} % by the decoder"
            positions = reader.shape(tier)[1]
            others = {"cut off": cut_accuracy(pages, tokens, positions)}
            if options.baseline:
                pooled = pooled_accuracy(lessons, pages, positions, options.baseline)
                others["mean-pooled"] = pooled
            results[kind][tier.label]["baselines"] = others
            said += "".join(f", {value} % {name}" for name, value in others.items())
            print(f"{said}, {found.seconds / max(found.pages, 1):.2f} s a page", flush=True)
    if options.contexts:
        results["lines"] = finding(reader, options.contexts)
    if options.svg:
        options.svg.write_text(curve(results), "utf-8")
    print_report("codec", results, _checks(results))


def measure(reader: Any, pages: Sequence[Page], tier: Tier, style: PageStyle, how: str) -> Tally:
    """Read pages in a mode, by the cell reader or by the decoder."""
    tally, counter = Tally(), find_counter("o200k")
    for page in pages:
        start = time.perf_counter()
        read = reader.read(page, tier, how=how, style=style).split("\n")
        tally.seconds += time.perf_counter() - start
        tally.positions += reader.shape(tier)[1]
        tally.tokens += counter.count(page.text)
        rows = [*page.rows, *[""] * (ROWS - len(page.rows))]  # the last page need not be full
        tally.add([row.rstrip(" ") for row in rows], read)
    return tally


def _texts(options: argparse.Namespace) -> Iterator[tuple[str, list[Page]]]:
    """Kinds of text, and whole pages of each."""
    for path in options.text:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as text: {error}") from None
        turns = [parse({"role": "user", "content": part}) for part in text.split("\f") if part]
        yield path.stem, _full(pages_of(turns))[: options.pages]
    if not options.text or options.packaged:
        for kind in KINDS:
            yield kind, _full(pages_of(turns_of(kind)))[: options.pages]
        words = " ".join(turn.text for turn in turns_of("prose")).split()
        random.Random(0).shuffle(words)
        shuffled = parse({"role": "user", "content": " ".join(words)})
        yield "shuffled", _full(pages_of([shuffled]))[: options.pages]


def _full(pages: list[Page]) -> list[Page]:
    """The pages that are full, or all if none is."""
    return [page for page in pages if len(page.rows) == ROWS] or pages


def _checks(results: dict[str, Any]) -> list[Check]:
    """The bounds: the worst of all texts in each mode, random ids, Chinese, and the time."""
    lines = results.get("lines", {})
    texts = {k: v for k, v in results.items() if isinstance(v, dict) and k != "lines"}
    checks = []
    for way in ("cells", "decoder"):
        for tier, bound in _BOUNDS.items():
            found = [
                modes[tier.label][way]["accuracy"]
                for kind, modes in texts.items()
                if kind not in ("ids", "chinese", "shuffled") and way in modes.get(tier.label, {})
            ]
            if found:
                name = f"worst text at {tier.label}, {way}"
                checks.append(Check(name, min(found), ">=", bound, "% of characters"))
        for kind, figure, bound in (
            ("ids", "exact_ids", _IDS_BOUND),
            ("chinese", "accuracy", _CHINESE_BOUND),
        ):
            base = texts.get(kind, {}).get("base", {})
            if way in base:
                checks.append(Check(f"{kind} at base, {way}", base[way][figure], ">=", bound, "%"))
        natural, shuffled = (texts.get(kind, {}).get("base", {}) for kind in ("prose", "shuffled"))
        if way in natural and way in shuffled:
            lost = round(natural[way]["accuracy"] - shuffled[way]["accuracy"], 3)
            checks.append(Check(f"shuffled words at base, {way}: lost", lost, "<=", 3, "points"))
        small = [modes["small"][way] for modes in texts.values() if way in modes.get("small", {})]
        if small:
            least = min(found["seconds_per_page"] for found in small)
            checks.append(
                Check(f"a page at small, encoded and read: {way}", least, "<=", _SECONDS[way], "s")
            )
    for tier, found in lines.items():
        name = f"lines of 8 pages found at {tier}"
        checks.append(Check(name, found["found"], ">=", _FOUND[tier], "%"))
        name = f"the same with other pages' tokens, {tier}"
        checks.append(Check(name, found["found_in_other_pages"], "<=", _ELSEWHERE, "%"))
    return checks


def curve(results: dict[str, Any]) -> str:
    """Accuracy over characters per position as an SVG: the codec and both baselines."""
    texts = [
        v for k, v in results.items() if isinstance(v, dict) and k not in ("lines", "shuffled")
    ]
    lines: dict[str, list[tuple[float, float]]] = {}
    for tier in MODES:
        rows = [modes[tier.label] for modes in texts if tier.label in modes]
        rows = [row for row in rows if row["cells"]["characters_per_position"] > 0]
        if not rows:
            continue
        dense = sum(row["cells"]["characters_per_position"] for row in rows) / len(rows)
        values = {"optimem-nano, cells": [row["cells"]["accuracy"] for row in rows]}
        for name in ("cut off", "mean-pooled"):
            values[name] = [row["baselines"][name] for row in rows if name in row["baselines"]]
        for name, found in values.items():
            if found:
                lines.setdefault(name, []).append((dense, sum(found) / len(found)))
    return _svg(lines)


def _svg(lines: dict[str, list[tuple[float, float]]]) -> str:
    width, height, left, top = 640, 320, 50, 20

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / 150 * (width - left - 20), top + (100 - y) / 100 * (height - top - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for percent in range(0, 101, 20):
        x, y = place(0, percent)
        end, _ = place(150, percent)
        parts.append(f'<path d="M{x} {y:.0f}H{end:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.0f}" text-anchor="end">{percent}</text>')
    for dense in range(0, 121, 20):
        x, y = place(dense, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle">{dense}</text>')
    said = "% of characters right, over characters per decoder position"
    parts.append(f'<text x="{left}" y="{height - 6}">{said}</text>')
    for (name, points), color in zip(
        lines.items(), ("#1668b8", "#b84a16", "#6b6b6b"), strict=False
    ):
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        x, y = place(*points[-1])
        parts.append(f'<text x="{x + 6:.0f}" y="{y + 4:.0f}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "optimem bench codec", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--text", type=Path, nargs="+", default=[], help="text files to read")
    parser.add_argument(
        "--mode", nargs="+", default=[t.label for t in MODES], choices=[t.label for t in MODES]
    )
    parser.add_argument("--pages", type=int, default=8, help="pages of each text (default 8)")
    parser.add_argument("--decoder", type=int, default=0, help="pages that the decoder writes")
    parser.add_argument(
        "--baseline",
        type=float,
        default=20,
        help="seconds to train mean pooling (default 20; 0: not)",
    )
    parser.add_argument(
        "--contexts", type=int, default=0, help="contexts of eight pages to find lines in"
    )
    parser.add_argument("--packaged", action="store_true", help="the packaged texts beside --text")
    parser.add_argument("--svg", type=Path, help="draw the curve into this file")
    parser.add_argument("--reader", default="nano", help="a checkpoint with a cell reader")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
