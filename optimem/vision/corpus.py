"""What the codec learns from: documents, some of them held out, and pages laid out of them."""

from __future__ import annotations

import base64
import lzma
import random
import re
import string
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError
from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import load_atlas
from optimem.renderers.layout import PageBuilder
from optimem.values import Entry, Page, Role, Text, Turn
from optimem.vision.cells import Alphabet
from optimem.vision.drawing import Drawer

HELD_OUT = r"PRESIDENT [A-Z]|Small\. Fast\. Reliable|# (requests|flask)/|用户："
"""How documents begin that training never sees: whole sources of prose (addresses on the State
of the Union), documentation (SQLite's), code (two Python packages) and Chinese (CrossWOZ)."""

_ROLES: tuple[Role, ...] = ("user", "assistant", "tool", "system")
_LONGEST = 6000  # characters of one turn


def read_documents(path: Path) -> list[str]:
    """The documents of a text file, plain or .xz, that form feeds part.

    Raises:
        InputError: the file cannot be read, or is no text.
    """
    try:
        raw = path.read_bytes()
        text = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode("utf-8")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None
    documents = [each for part in text.split("\f") if (each := part.strip("\n"))]
    if not documents:
        raise InputError(f"{path} holds no text")
    return documents


def hold_out(documents: Sequence[str], pattern: str = HELD_OUT) -> tuple[list[str], list[str]]:
    """Documents to train on, and those that begin as the pattern says."""
    begins = re.compile(pattern)
    held = [bool(begins.match(document)) for document in documents]
    return (
        [document for document, out in zip(documents, held, strict=True) if not out],
        [document for document, out in zip(documents, held, strict=True) if out],
    )


def find_alphabet(documents: Sequence[str], narrow: int = 510) -> Alphabet:
    """The characters that a codec shall read.

    ASCII, then the most frequent other characters of one cell; of wide characters those of
    GB 2312 (6,763 Chinese characters in common use) and all that the documents have.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(document)
    atlas = load_atlas()
    common = "".join(
        bytes([a, b]).decode("gb2312", "ignore")
        for a in range(0xA1, 0xF8)
        for b in range(0xA1, 0xFF)
    )
    ranked = [*string.printable[:95], *(char for char, _ in counts.most_common()), *common]
    chosen: dict[int, dict[str, None]] = {1: {}, 2: {}}
    for char in ranked:
        if char.isprintable() and atlas.covered(ord(char)):
            width = int(atlas.cells(char)[0])
            if width in chosen and not atlas.clusters(char):
                chosen[width][char] = None
    kept = sorted(list(chosen[1])[:narrow])
    return Alphabet("".join(kept), "".join(sorted(chosen[2])))


def lay_out(texts: Iterator[str], rng: random.Random) -> Iterator[Page]:
    """Full pages of texts, each said by some role, as a session lays them out."""
    builder = PageBuilder(load_atlas().cells, "training")
    for position, text in enumerate(texts):
        turn = Turn(str(position), rng.choice(_ROLES), (Text(text),), "", None, "openai", {})
        yield from builder.add(Entry(position, turn))


def pieces(documents: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Stretches of documents drawn at random, without end."""
    while True:
        document = rng.choice(documents)
        size = int(rng.triangular(40, _LONGEST, 400))
        start = rng.randrange(max(len(document) - size, 0) + 1)
        yield document[start : start + size]


def noise(documents: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Texts that cannot be guessed, so that a reader has to look."""
    kinds = (_identifiers, _numbers, _printable)
    while True:
        kind = rng.randrange(len(kinds) + 2)
        if kind < len(kinds):
            yield kinds[kind](rng)
        else:
            words = next(pieces(documents, rng)).split()
            rng.shuffle(words)
            yield " ".join(words)


def random_id(rng: random.Random) -> str:
    """An identifier of 8 to 36 characters, of a kind that agents meet."""
    bits, size = rng.getrandbits(256).to_bytes(32, "big"), rng.randint(8, 36)
    kind = rng.randrange(6)
    if kind == 0:
        return str(uuid.UUID(bytes=bits[:16]))
    if kind == 1:
        return bits.hex()[:size]
    if kind == 2:
        return base64.urlsafe_b64encode(bits).decode()[:size]
    if kind == 3:
        return "".join(rng.choices(string.ascii_letters + string.digits, k=size))
    if kind == 4:
        return "".join(rng.choices(string.ascii_uppercase + string.digits + "-", k=size))
    return "_".join("".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(1 + size // 9))


def _identifiers(rng: random.Random) -> str:
    return " ".join(random_id(rng) for _ in range(rng.randint(5, 60)))


def _numbers(rng: random.Random) -> str:
    def number() -> str:
        value = rng.random() * 10 ** rng.randint(0, 9)
        return rng.choice(
            [f"{value:.2f}", f"{value:,.0f}", f"{value:.0f}", f"${value:.2f}", f"{value:e}"]
        )

    return " ".join(number() for _ in range(rng.randint(10, 150)))


def _printable(rng: random.Random) -> str:
    return "".join(rng.choices(string.printable[:95], k=rng.randint(50, 1500)))


def page_grids(
    documents: Sequence[str], drawer: Drawer, count: int, seed: int, share: float = 0.3
) -> npt.NDArray[np.int32]:
    """Pages of real text and of noise, as a drawer draws them: (count, 64, 128).

    Cells with what the alphabet lacks are blank.
    """
    rng, atlas = random.Random(seed), load_atlas()
    real, made = lay_out(pieces(documents, rng), rng), lay_out(noise(documents, rng), rng)
    grids = np.empty((count, 64, 128), np.int32)
    blank = drawer.alphabet.narrow.index(" ") * 4
    for index in range(count):
        page = next(made if rng.random() < share else real)
        found = drawer.glyphs(arrange_page(page, atlas, None).codes)
        grids[index] = np.where(found < 0, blank, found)
    return grids
