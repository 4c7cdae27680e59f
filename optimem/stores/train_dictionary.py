"""Trains the dictionary that turns are compressed with, the same bytes from the same samples.

    python -m optimem.stores.train_dictionary scripts/dictionary.jsonl.xz out.zstd

Samples are messages, one JSON object a line, xz or not. What they say ends up in the package
word for word, so they are public text; `optimem/data/LICENSE-dictionary.txt` names its sources.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from collections.abc import Sequence
from pathlib import Path

from optimem.messages import parse
from optimem.stores.codec import turn_line

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SIZE = 110 << 10  # bytes: docs/LOG.md has the figures of smaller and larger ones


def train(messages: bytes, size: int = _SIZE) -> bytes:
    """A dictionary of what messages, one JSON object a line, have in common as turns."""
    turns = [parse(json.loads(line), id="", time=None) for line in messages.splitlines()]
    return zstd.train_dict([turn_line(turn) for turn in turns], size).dict_content


def main(arguments: Sequence[str] | None = None) -> None:
    """Read samples, write a dictionary."""
    parser = argparse.ArgumentParser(prog="python -m optimem.stores.train_dictionary")
    parser.add_argument("samples", type=Path, help="messages, one JSON object a line; .xz or not")
    parser.add_argument("dictionary", type=Path, help="where to write it")
    parser.add_argument("--size", type=int, default=_SIZE, help="bytes (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    data = chosen.samples.read_bytes()
    messages = lzma.decompress(data) if chosen.samples.suffix == ".xz" else data
    chosen.dictionary.write_bytes(train(messages, chosen.size))


if __name__ == "__main__":
    main()
