"""How fast text becomes pages: `optimem bench render`, beside what people use.

    pip install 'optimem[bench,fast]'
    apt-get install poppler-utils fonts-dejavu-core fonts-freefont-ttf libfribidi0
    npm install --prefix /tmp/peers omniglyph
    optimem bench render --peers /tmp/peers

The ceiling is a copy of as many bytes as a page has pixels, into memory that is not in the
cache. Each figure is CPU time (of this process and those it starts) on one pinned core, the
median of rounds in which every way has its turn, those that are done sooner several times
in a row, so that all are measured as warm. The texts are the four real ones of
`optimem.bench.corpus`, as turns of one session: its last page alone is not full, as in any
session. (One session for each text would leave every other page half empty, for which we pay
by the page and others by the character.) "Raster" is from laid out rows to pixels, for us
from glyph codes. "Text to PNG" is from turns to the bytes of files, for us layout included,
while Pillow gets its rows for nothing; the quickest of its fonts and layout engines counts
(`optimem.bench.peers` says which fonts). With isal it is DejaVu Sans Mono's, the font that most
systems have and the bound was set with; how that is with the quickest of all stands in the
results. Whoever lays pages out in his own way is compared by characters in a CPU
second. A peer that is not installed is named, and its check does not hold.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from optimem.bench import peers
from optimem.bench.corpus import KINDS, pages_of, turns_of
from optimem.bench.first_page import chinese_start, cold_start
from optimem.bench.report import Check, print_report
from optimem.modes import Tier
from optimem.renderers import png
from optimem.renderers.atlas import load_atlas
from optimem.renderers.page import page_codes, page_pixels, page_png
from optimem.values import Page, Turn

_ROUNDS = 11
_WARM = 0.1  # CPU seconds that a way is run for in each round
_RING = 64  # pages that the ceiling copies into in turn: 64 MiB, more than a cache holds
_PEERS = ("isal", "reportlab", "pdf2image", "un-locc", "pixelprompt")
Way = Callable[[], float | None]
"""Draws all texts once. Returns its CPU seconds, None to have them measured."""


def main() -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser(prog="optimem bench render")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each way is run")
    parser.add_argument("--peers", type=Path, help="folder in which omniglyph was installed")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sessions = [[turn for kind in KINDS[:-1] for turn in turns_of(kind)]]
    pages = [page for session in sessions for page in pages_of(session)]
    full = [page for page in pages if len(page.rows) == 64]
    characters = sum(len(page.text) for page in pages)
    results: dict[str, Any] = {"pages": len(pages), "full": len(full), "characters": characters}
    raster = medians(raster_ways(full), options.rounds)
    per_page = {name: 1000 * seconds / len(full) for name, seconds in raster.items()}
    ceiling = per_page["memory copy"]
    print(f"{len(pages)} pages, {len(full)} of them full, {characters} characters")
    print(f"ceiling: a page's pixels are copied in {ceiling:.4f} ms")
    for name, value in per_page.items():
        print(f"raster, {name}: {value:.3f} ms a page, {ceiling / value:.1%} of the ceiling")
    ways = text_ways(sessions)
    home = peers.Omniglyph.find(options.peers)
    if home is None:
        print("omniglyph is not installed: npm install --prefix DIR omniglyph, then --peers DIR")
        text = medians(ways, options.rounds)
    else:
        with peers.Omniglyph(home) as omniglyph:
            text = medians(ways | {"omniglyph": fresh(omniglyph, pages)}, options.rounds)
    for name, seconds in text.items():
        print(
            f"text to images, {name}: {1000 * seconds / len(pages):.2f} ms a page of ours,"
            f" {characters / seconds / 1000:,.0f} k characters in a CPU second"
        )
    cold = statistics.median(cold_start() for _ in range(5))
    print(f"atlas from disk to the first page, in a new process: {cold * 1000:.1f} ms")
    drawn, kept = chinese_start()
    print(
        f"a first page of 600 Chinese signs, in a new process: {drawn * 1000:.1f} ms,"
        f" {kept * 1000:.1f} ms with glyphs that another has kept on disk"
    )
    results["chinese_start_ms"] = {"drawn": round(drawn * 1000, 1), "kept": round(kept * 1000, 1)}
    results["raster_ms"] = {name: round(value, 4) for name, value in per_page.items()}
    results["share_of_ceiling"] = round(ceiling / per_page["optimem"], 3)
    results["text_ms"] = {n: round(1000 * s / len(pages), 3) for n, s in text.items()}
    results["kilocharacters_per_cpu_second"] = {
        name: round(characters / seconds / 1000, 1) for name, seconds in text.items()
    }
    quickest = _times(text, "optimem, isal", "Pillow")
    print(f"with isal against Pillow's quickest font: {quickest} x")
    results["isal_against_quickest_font"] = quickest
    results["cold_start_ms"] = round(cold * 1000, 1)
    results["peers"] = {name: _version(name) for name in _PEERS}
    print_report("render", results, checks(raster, text, cold))


def checks(raster: Mapping[str, float], text: Mapping[str, float], cold: float) -> list[Check]:
    """The figures that the project holds itself to; 0 where a peer is not installed."""

    return [
        Check(
            "raster against the best Pillow way", _times(raster, "optimem", "Pillow"), ">=", 75, "x"
        ),
        Check("text to PNG against Pillow", _times(text, "optimem", "Pillow"), ">=", 14, "x"),
        Check(
            "text to PNG with isal against Pillow with DejaVu Sans Mono",
            _times(text, "optimem, isal", "Pillow", "DejaVu Sans Mono"),
            ">=",
            40,
            "x",
        ),
        Check(
            "characters a CPU second against reportlab and poppler",
            _times(text, "optimem", "reportlab, poppler"),
            ">=",
            20,
            "x",
        ),
        Check(
            "characters a CPU second against omniglyph",
            _times(text, "optimem", "omniglyph"),
            ">=",
            4,
            "x",
        ),
        Check("cold start of the atlas", round(cold * 1000, 1), "<=", 150, "ms"),
    ]


def _times(seconds: Mapping[str, float], ours: str, theirs: str, font: str = "") -> float:
    """How many times as long the quickest of their ways takes; 0 where one is not there."""
    known = [
        each for name, each in seconds.items() if name.startswith(theirs) and name.endswith(font)
    ]
    return round(min(known) / seconds[ours], 1) if known and ours in seconds else 0.0


def raster_ways(pages: list[Page]) -> dict[str, Way]:
    """From laid out pages to pixels."""
    atlas = load_atlas()
    codes = [page_codes(page, atlas) for page in pages]
    source = page_pixels(pages[0], Tier.BASE)
    ring = np.ones((_RING, *source.shape), np.uint8)  # ones, so that its memory is there
    turn = 0

    def copy() -> None:
        nonlocal turn
        for _ in pages:
            np.copyto(ring[turn], source)
            turn = (turn + 1) % _RING

    def gather() -> None:
        for page in codes:
            atlas.raster(page, Tier.BASE)

    ways: dict[str, Way] = {"memory copy": copy, "optimem": gather}
    return ways | _pillow_ways(pages, png=False)


def text_ways(sessions: list[list[Turn]]) -> dict[str, Way]:
    """From turns, or for peers their flowed text, to the bytes of image files."""
    pages = [page for session in sessions for page in pages_of(session)]

    def ours() -> None:
        for session in sessions:
            for page in pages_of(session):
                page_png(page, Tier.BASE)

    def alone() -> None:
        with patch.object(png, "fast_deflate", None):
            ours()

    ways: dict[str, Way] = {"optimem": alone}
    if png.fast_deflate is None:
        print("isal is not installed: pip install 'optimem[fast]'")
    else:
        ways["optimem, isal"] = ours
    ways |= _pillow_ways(pages, png=True)
    texts = ["".join(page.rows) for page in pages]
    for name, make in (
        ("reportlab, poppler", peers.reportlab_poppler),
        ("un-locc", peers.un_locc),
        ("pixelprompt", peers.pixelprompt),
    ):
        draw = make()
        if draw is None:
            print(f"{name} is not installed: see the head of optimem/bench/render.py")
        else:
            ways[name] = _each(draw, texts)
    return ways


def fresh(omniglyph: peers.Omniglyph, pages: list[Page]) -> Way:
    """Omniglyph on texts that are new each time, since it keeps what it has drawn."""
    texts = ["".join(page.rows) for page in pages]
    serial = 0

    def draw() -> float:
        nonlocal serial
        serial += 1
        return sum(omniglyph.draw(f"{serial:06} {text[7:]}") for text in texts)

    draw()  # once to warm its compiler up
    return draw


def medians(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Run all ways in turn, so often; the median CPU seconds of each.

    Args:
        ways: what to run; one that returns seconds has measured itself.
        rounds: how often.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    times = {name: 1 for name, way in ways.items() if way() is not None}  # fills caches
    for name in ways.keys() - times.keys():
        times[name] = math.ceil(_WARM / _run(ways[name], 1))
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(_run(way, times[name]))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _run(way: Way, times: int) -> float:
    """CPU seconds that a way takes, run so often; its own if it measures itself."""
    begun = cpu_seconds()
    owns = [way() for _ in range(times)]
    known = [own for own in owns if own is not None]
    return (sum(known) if known else cpu_seconds() - begun) / times


def cpu_seconds() -> float:
    """CPU time of this process and of children that have ended."""
    try:
        import resource
    except ImportError:  # Windows: children are not counted
        return time.process_time()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _pillow_ways(pages: list[Page], *, png: bool) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    for name, path in peers.pillow_fonts().items():
        for engine in ("RAQM", "BASIC"):
            draw = peers.pillow(path, raqm=engine == "RAQM", png=png)
            if draw is None:
                print("Pillow has no RAQM: apt-get install libfribidi0")
            else:
                ways[f"Pillow {engine}, {name}"] = _each(draw, pages)
    return ways


def _each(draw: Callable[[Any], None], things: list[Any]) -> Way:
    def way() -> None:
        for thing in things:
            draw(thing)

    return way


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
