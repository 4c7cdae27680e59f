"""Make `fonts/codes.npz`: how each size is deflated, learnt from the pages of a transcript.

    python -m optimem.renderers.build_codes

It reads the packaged transcript and finds the filters and codes with which its pages take
the fewest bytes: it codes them, counts what was used, makes codes of the counts, and so on.
It writes the same bytes each time it is run with the same atlas.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from importlib.resources import files

import numpy as np

from optimem.modes import COLUMNS, MODES, Tier
from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import Atlas, Codes, load_atlas
from optimem.renderers.codebook import (
    CODES_FILE,
    NOTHING,
    UP,
    Bytes,
    CodeBook,
    Numbers,
    filling_parts,
    token_numbers,
)
from optimem.renderers.deflate import PageDeflater
from optimem.renderers.huffman import (
    DISTANCE_FIRST,
    DISTANCES,
    END,
    LENGTH_FIRST,
    LITERALS,
    code_lengths,
)
from optimem.renderers.layout import PageBuilder
from optimem.transcripts import parse_transcript
from optimem.values import Entry

_ROUNDS = 5
_LONGEST = 12  # bits of a code: rarer symbols would save less than they cost where they occur
_PAGES = 12


def main() -> None:
    """Run as a script."""
    atlas = load_atlas()
    pages = list(training_pages(atlas))
    with zipfile.ZipFile(CODES_FILE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for tier in MODES:
            if tier.cell not in [mode.cell for mode in MODES[: MODES.index(tier)]]:
                _write(archive, tier, best_book(atlas, tier, pages))


def training_pages(atlas: Atlas) -> Iterator[Codes]:
    """Codes of pages of the packaged transcript that the atlas stores."""
    source = files("optimem").joinpath("data/transcript.json").read_text("utf-8")
    builder = PageBuilder(atlas.cells, "training")
    found = 0
    for position, turn in enumerate(parse_transcript(json.loads(source))):
        for page in builder.add(Entry(position, turn)):
            arrangement = arrange_page(page, atlas)
            if found < _PAGES and not arrangement.pieces and atlas.stored(arrangement.codes):
                found += 1
                yield arrangement.codes


def best_book(atlas: Atlas, tier: Tier, pages: Sequence[Codes]) -> CodeBook:
    """The book with which pages take the least room.

    Each line of a cell gets the filter that serves it better when all have that filter; then
    that, no filter at all and the one filter everywhere are tried.
    """
    height = tier.cell[1]
    plain, up = np.zeros(height, np.uint8), np.full(height, UP, np.uint8)
    up[0] = 0
    tried = [_learn(atlas, tier, pages, filters) for filters in (plain, up)]
    better = np.where(tried[0][1] <= tried[1][1], plain, up)
    tried.append(_learn(atlas, tier, pages, better))
    return min(tried, key=lambda each: int(each[1].sum()))[0]


def _learn(
    atlas: Atlas, tier: Tier, pages: Sequence[Codes], filters: Bytes
) -> tuple[CodeBook, Numbers]:
    """Codes for given filters, and how many bits each line of the cells takes with them."""
    book = _book(filters, np.ones(LITERALS, np.int64), np.ones(DISTANCES, np.int64))
    bits = np.zeros(len(filters), np.int64)
    for _ in range(_ROUNDS):
        literals, distances = np.ones(LITERALS, np.int64), np.ones(DISTANCES, np.int64)
        bits[:] = 0
        deflater = PageDeflater(atlas, tier, book)
        for cells in pages:
            _count(deflater, cells, literals, distances, bits)
        literals[filters] += len(pages) * COLUMNS // 2
        literals[END] = len(pages)
        book = _book(filters, literals, distances)
    return book, bits


def _book(filters: Bytes, literals: Numbers, distances: Numbers) -> CodeBook:
    """Codes for counts of symbols."""
    found = (code_lengths(counts, _LONGEST) for counts in (literals, distances))
    return CodeBook(filters, *(np.array(lengths, np.uint8) for lengths in found))


def _count(
    deflater: PageDeflater, cells: Codes, literals: Numbers, distances: Numbers, bits: Numbers
) -> None:
    """Add what a page uses: its symbols, and the bits of each line of its cells."""
    found = deflater.look_up(cells)
    if found is None:
        raise SystemExit("a page of the transcript has more distinct cells than are kept")
    far, on = deflater.distances(found[0]), deflater.goes_on(*found)
    own = found[1].lengths[found[0]].transpose(2, 0, 1)  # (height, 64, 64)
    copied = (deflater.copies.length[far] < own) & ~on
    lines = deflater.lines(cells.reshape(-1, 2)).swapaxes(0, 1).reshape(*own.shape, -1)
    symbols = token_numbers(lines)[~on & ~copied]
    counts = np.bincount(symbols.ravel(), minlength=NOTHING + lines.shape[-1])
    literals[:NOTHING] += counts[:NOTHING]
    for size, count in enumerate(counts[NOTHING + 3 :], 3):
        literals[_length_symbol(size)] += count
        distances[0] += count
    even = on[:, :, 1:].all(axis=2)
    for size in filling_parts((on.shape[2] - 1) * lines.shape[-1]):
        literals[_length_symbol(size)] += int(even.sum())
        distances[0] += int(even.sum())
    repeated = int(on.sum()) - int(even.sum()) * (on.shape[2] - 1)
    literals[_length_symbol(lines.shape[-1])] += repeated + int(copied.sum())
    distances[0] += repeated
    near = np.searchsorted(DISTANCE_FIRST, np.maximum(far, 1), side="right") - 1
    times = copied.sum(axis=0).ravel()
    distances += np.bincount(near.ravel(), times, DISTANCES).astype(np.int64)
    taken = np.where(copied, deflater.copies.length[far], own)
    taken = np.where(on, deflater.copies.length[1], taken)
    bits += taken.sum(axis=(1, 2), dtype=np.int64)


def _length_symbol(size: int) -> int:
    return END + int(np.searchsorted(LENGTH_FIRST, size, side="right"))


def _write(archive: zipfile.ZipFile, tier: Tier, book: CodeBook) -> None:
    """Write a book's arrays, dated 1980."""
    for name, array in book._asdict().items():
        data = io.BytesIO()
        np.lib.format.write_array(data, array, allow_pickle=False)
        entry = zipfile.ZipInfo(f"{tier.cell[0]}x{tier.cell[1]}-{name}.npy")
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, data.getvalue())


if __name__ == "__main__":
    main()
