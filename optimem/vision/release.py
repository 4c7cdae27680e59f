"""Put a trained codec into a folder as it is shipped: int8 weights, tokenizer, model card.

    python -m optimem.vision.release TRAINED optimem/vision/optimem-nano
    python -m optimem.vision.release TRAINED DIR --parts 15     # and cut into parts of 15 MiB

Parts are for machines from which only small files can be fetched: `cat model.part-* >
model.safetensors` joins them.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from transformers import AutoTokenizer

from optimem.vision.nano import NanoForConditionalGeneration
from optimem.vision.quantize import save_int8

CARD = Path(__file__).parent / "optimem-nano" / "README.md"
_MIB = 1 << 20


def release(trained: Path, folder: Path) -> int:
    """Write the folder; returns the bytes of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model = NanoForConditionalGeneration.from_pretrained(trained)
    model.config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(trained).save_pretrained(folder)
    if CARD.exists() and CARD.parent.resolve() != folder.resolve():
        shutil.copy(CARD, folder)
    return save_int8(model.state_dict(), folder)


def cut(path: Path, size: int) -> list[Path]:
    """Cut a file into parts of at most `size` bytes beside it, and remove it."""
    data = path.read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(data), size)):
        parts.append(path.with_suffix(f".part-{number:02}"))
        parts[-1].write_bytes(data[start : start + size])
    path.unlink()
    return parts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m optimem.vision.release")
    parser.add_argument("trained", type=Path, help="folder that `optimem.vision.train` wrote")
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    parser.add_argument("--parts", type=int, help="cut the weights into parts of so many MiB")
    options = parser.parse_args()
    size = release(options.trained, options.folder)
    print(f"{options.folder}: {size / _MIB:.1f} MiB of weights")
    if options.parts:
        for part in cut(options.folder / "model.safetensors", options.parts * _MIB):
            print(part)


if __name__ == "__main__":
    main()
