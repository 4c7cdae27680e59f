"""The codec's tokens: a small BPE with every byte, and marks for the rows and columns of a page.

The decoder is asked for a cell by its place. Behind a page's vision tokens stand the mark of a row
and those of its columns, and at each of these it says which character stands there:

    <start> (vision tokens) <row 12> <column 0> <column 1> <column 2> …
                                          I          ␣          w     …

So it never has to count, and a whole page is read in one pass. The second cell of a wide character
is `<half>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from optimem.modes import COLUMNS, ROWS
from optimem.vision.cells import Alphabet

PAD, START, STOP, IMAGE, HALF = "<pad>", "<start>", "<stop>", "<image>", "<half>"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_WORDS = Regex(r" ?[^\W\d_]+|\d| ?[^\w\s]+|\s|_")


def row_mark(row: int) -> str:
    """The token that asks for a row of a page."""
    return f"<row {row}>"


def column_mark(column: int) -> str:
    """The token at which the decoder says what stands in a column of the row."""
    return f"<column {column}>"


def marks() -> list[str]:
    """All special tokens, in the order of their ids."""
    rows = [row_mark(row) for row in range(ROWS)]
    columns = [column_mark(column) for column in range(COLUMNS)]
    return [PAD, START, STOP, IMAGE, HALF, *rows, *columns]


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
