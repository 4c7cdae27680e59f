"""How well OCR engines that no one here wrote read our pages back, at every size.

    optimem bench legibility            # about 5 minutes on two cores
    optimem bench legibility --quick    # Tesseract alone, at Base, Small and Tiny

A page of each kind of text (about 8,000 characters: real prose, dialogue, code, JSON, and
random ids) is drawn in each mode and read by two engines:

* Tesseract (`apt install tesseract-ocr`), the whole page as one block: `--psm 6`, with 16
  px of white around it and upscaled without which it reads nothing small, threefold where
  letters are below 11 px an em and twofold above.
* RapidOCR (PP-OCRv4, `pip install optimem[bench]`), every eighth row, since it is slow, in
  three crops of 43 cells, since it squeezes whatever is longer. It was trained on Chinese
  and drops blanks, so its figures are without them.

The figure is the character error rate: edits to turn what was drawn into what was read,
for each 100 characters drawn; line ends and runs of blanks are one blank. Tags and line
markers were drawn, so they count like all else. `raw` counts every edit. `rate` leaves out
two kinds, which no glyph could prevent:

* Characters that Tesseract's English model cannot answer (its alphabet has no backtick and
  no circumflex, for example), with what was read in their place: one character for each.
* A blank that was read beside punctuation where none was drawn: pages show minified JSON,
  and engines set it as a typist would. One between two letters or digits counts, and so
  does every blank that was drawn and not read.

The texts (`optimem/data/legibility.json`) are for checking: glyphs were chosen on others,
but for two. `docs/LOG.md` says which, and on what.

The ceiling is 0 %: a reader that errs nowhere.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimem.bench.corpus import KINDS, pages_of, turns_of
from optimem.bench.report import Check, print_report
from optimem.errors import MissingExtraError
from optimem.fidelity import compared
from optimem.modes import COLUMNS, Tier
from optimem.renderers.atlas import Pixels
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_pixels
from optimem.testing import tesseract
from optimem.values import SPLIT, Page

try:
    from rapidfuzz.distance import Levenshtein
except ImportError:
    raise MissingExtraError("this benchmark", "bench") from None

TIERS = (Tier.LARGE, Tier.BASE, Tier.PX896, Tier.PX768, Tier.SMALL, Tier.TINY)
ALPHABET = frozenset(
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]_abcdefghijklmnopqrstuvwxyz"
    "{|}~¢£¥§©«®°»é—‘’“”€™"
)
"""What the LSTM of Tesseract's `eng` model can answer: its unicharset, and the blank."""

BOUNDS = {
    ("prose", Tier.BASE): 0.3,
    ("dialogue", Tier.BASE): 0.3,
    ("code", Tier.BASE): 1.0,
    ("json", Tier.BASE): 1.0,
    ("prose", Tier.SMALL): 0.3,
    ("dialogue", Tier.SMALL): 0.3,
    ("code", Tier.SMALL): 1.0,
    ("json", Tier.SMALL): 1.0,
    ("prose", Tier.TINY): 1.5,
    ("dialogue", Tier.TINY): 1.5,
    ("code", Tier.TINY): 6.0,
    ("json", Tier.TINY): 6.0,
}
"""The character error rates, in percent, that Tesseract is held to."""

RULES = {
    "rate": "edits per 100 characters drawn, without two kinds that no glyph could prevent: "
    "characters beyond the alphabet, with one that was read in place of each, and blanks "
    "read beside punctuation where none was drawn",
    "raw": "all edits per 100 characters drawn; line ends and runs of blanks are one blank",
    "exact": "percent of the page's exact strings that stand in what was read",
    "alphabet": "".join(sorted(ALPHABET)),
}
"""How `rate` and `raw` are counted, for whoever reads the JSON alone."""

_SAMPLED = 8  # RapidOCR reads each eighth row
_CROP = 43  # cells of one crop for RapidOCR, whose input is 320 px wide at 48 px high


@dataclass(frozen=True, slots=True)
class Reading:
    """How one page was read, in percent of its characters.

    Attributes:
        rate: character error rate.
        raw: the same with every blank and every character, whatever the engine can answer.
        characters: how many characters `rate` is of.
        exact: the exact strings on the page that were read as they stand; None where whole
            rows were not read.
    """

    rate: float
    raw: float
    characters: int
    exact: float | None = None


def main() -> None:
    """Read, print a table, and end with one JSON line."""
    parser = argparse.ArgumentParser(prog="optimem bench legibility")
    parser.add_argument("--quick", action="store_true", help="Tesseract alone, in three modes")
    quick = parser.parse_args().quick
    if shutil.which("tesseract") is None:
        raise SystemExit("needs Tesseract. On Debian or Ubuntu: apt-get install tesseract-ocr")
    tiers = (Tier.BASE, Tier.SMALL, Tier.TINY) if quick else TIERS
    pages = {kind: pages_of(turns_of(kind))[0] for kind in KINDS}
    print("character error rates in percent; the ceiling is a reader that errs nowhere: 0")
    results: dict[str, Any] = {"native": _table("Tesseract", read_by_tesseract, pages, tiers)}
    if not quick:
        area = PageStyle(fade="area")
        results["area"] = _table("Tesseract, fade=area", read_by_tesseract, pages, TIERS[2:], area)
        reader = rapidocr()
        if reader is None:
            print("RapidOCR is not installed: pip install 'optimem[bench]'")
        else:
            results["rapidocr"] = _table("RapidOCR", reader, pages, tiers, workers=1)
    results["characters"] = {kind: len(page.text) for kind, page in pages.items()}
    results["rules"] = RULES
    results["tesseract"] = _tesseract_version()
    checks = [
        Check(
            f"{kind} at {tier.label}", results["native"][tier.label][kind]["rate"], "<=", most, "%"
        )
        for (kind, tier), most in BOUNDS.items()
    ]
    print_report("legibility", results, checks)


def read_by_tesseract(page: Page, tier: Tier, style: PageStyle | None = None) -> Reading:
    """Draw a page in a mode and read it with Tesseract."""
    text = tesseract(page_pixels(page, tier, style), tier.cell[0])
    reading = compare(" ".join(page.rows), text, ALPHABET)
    kept = compared(page, text.replace(SPLIT + "\n", "")).exact
    return replace(reading, exact=round(100 * kept, 1))


def rapidocr() -> Callable[..., Reading] | None:
    """A reader like `read_by_tesseract` of RapidOCR, None where it is not installed."""
    try:
        from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    engine = RapidOCR(intra_op_num_threads=2)

    def read(page: Page, tier: Tier, style: PageStyle | None = None) -> Reading:
        crops, drawn = row_crops(page, page_pixels(page, tier, style), tier)
        answers = engine.text_rec([np.repeat(crop[..., None], 3, axis=2) for crop in crops])[0]
        read = "".join(text for text, *_ in answers)
        return compare("".join("".join(drawn).split()), "".join(read.split()))

    return read


def row_crops(page: Page, pixels: Pixels, tier: Tier) -> tuple[list[Pixels], list[str]]:
    """Cut sampled rows of a page of one-cell characters into crops, with the text of each."""
    width, height = tier.cell
    crops, texts = [], []
    for number in range(0, len(page.rows), _SAMPLED):
        row = page.rows[number]
        for start in range(0, COLUMNS, _CROP):
            text = row[start : min(start + _CROP, COLUMNS)]
            if text.strip():
                across = slice(start * width, (start + len(text)) * width)
                crop = pixels[number * height : (number + 1) * height, across]
                crops.append(np.pad(crop, height // 4, mode="edge"))
                texts.append(text)
    return crops, texts


def compare(drawn: str, read: str, alphabet: Iterable[str] = ()) -> Reading:
    """Character error rate of what was read, as the head of this module says.

    Args:
        drawn: what the page shows.
        read: what the engine says.
        alphabet: what the engine can say; empty if it has no such limit. An edit at a
            character beyond it does not count in `rate`: the character's own, or one
            insertion beside it.
    """
    drawn, read = " ".join(drawn.split()), " ".join(read.split())
    known = frozenset(alphabet)
    lost = {at for at, character in enumerate(drawn) if known and character not in known}
    edits = Levenshtein.editops(drawn, read)
    excused: set[int] = set()  # characters of `lost` that an edit was excused for
    counted = 0
    for edit in edits:
        at = edit.src_pos
        if edit.tag != "insert":
            beside = [at]
        else:
            beside = [at - 1, at]
            if read[edit.dest_pos] == " " and not drawn[max(at - 1, 0) : at + 1].isalnum():
                continue
        excuses = [place for place in beside if place in lost and place not in excused]
        excused.update(excuses[:1])
        counted += not excuses
    characters = len(drawn) - len(lost)
    rate, raw = counted / max(characters, 1), len(edits) / max(len(drawn), 1)
    return Reading(round(100 * rate, 2), round(100 * raw, 2), characters)


def _table(
    title: str,
    read: Callable[..., Reading],
    pages: dict[str, Page],
    tiers: Sequence[Tier],
    style: PageStyle | None = None,
    workers: int = 2,
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Read every page in every mode, and print a row for each mode."""
    print(f"\n{title:22}" + "".join(f"{kind:>10}" for kind in pages), flush=True)
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    with ThreadPoolExecutor(workers) as pool:
        jobs = {
            tier: {kind: pool.submit(read, page, tier, style) for kind, page in pages.items()}
            for tier in tiers
        }
        for tier, row in jobs.items():
            readings = {kind: job.result() for kind, job in row.items()}
            rates = "".join(f"{reading.rate:10.2f}" for reading in readings.values())
            print(f"{tier.label:22}{rates}", flush=True)
            table[tier.label] = {
                kind: {"rate": r.rate, "raw": r.raw, "exact": r.exact, "characters": r.characters}
                for kind, r in readings.items()
            }
    return table


def _tesseract_version() -> str:
    done = subprocess.run(["tesseract", "--version"], capture_output=True, check=True)
    return (done.stdout or done.stderr).decode().split("\n")[0]


if __name__ == "__main__":
    main()
