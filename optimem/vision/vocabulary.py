"""The codec's tokens: a small BPE with every byte, and marks that say where on a page one reads.

A line of a page is written cell by cell, each character by itself, and every eight cells stands a
mark that says at which column they begin. So the decoder never has to count far: which vision
token to look at follows from the marks, and which cell in it from the last few positions.

    <row 12> <column 0> I ␣ w a n t ␣ t <column 8> o ␣ …

A wide character is followed by `<half>`, so that cells and positions keep step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from optimem.modes import COLUMNS, ROWS
from optimem.vision.cells import Alphabet

PAD, START, STOP, IMAGE, FIND, HALF = "<pad>", "<start>", "<stop>", "<image>", "<find>", "<half>"
STRIDE = 8
"""Cells between two marks of a line."""

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_WORDS = Regex(r" ?[^\W\d_]+|\d| ?[^\w\s]+|\s|_")


def row_mark(row: int) -> str:
    """The token that asks for a row of a page."""
    return f"<row {row}>"


def column_mark(column: int) -> str:
    """The token behind which a line's cells from a column on stand."""
    return f"<column {column}>"


def marks() -> list[str]:
    """All special tokens, in the order of their ids."""
    rows = [row_mark(row) for row in range(ROWS)]
    columns = [column_mark(column) for column in range(0, COLUMNS, STRIDE)]
    return [PAD, START, STOP, IMAGE, FIND, HALF, *rows, *columns]


def train_tokenizer(documents: Sequence[str], alphabet: Alphabet, size: int = 8192) -> Tokenizer:
    """A BPE with byte fallback over documents, in which each narrow character is a token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_WORDS, "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*marks(), *_BYTES],
        initial_alphabet=list(alphabet.narrow),
        limit_alphabet=len(alphabet.narrow) + 2500,
        show_progress=False,
        max_token_length=16,
    )
    tokenizer.train_from_iterator(documents, trainer)
    made = json.loads(tokenizer.to_str())  # bytes are tokens like others: no text spells them
    made["added_tokens"] = [t for t in made["added_tokens"] if t["content"] not in _BYTES]
    return Tokenizer.from_str(json.dumps(made))
