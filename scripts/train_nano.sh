#!/usr/bin/env bash
# Train optimem-nano on a machine without a network, such as a borrowed GPU, and bring it back.
#
#   scripts/train_nano.sh wheels .whl 3.12           # here: what the machine lacks, as wheels
#   scripts/train_nano.sh start CORPUS MINUTES       # there: trains in the background
#   scripts/train_nano.sh fetch OUT                  # there: the weights so far, in parts of 15 MiB
#   scripts/train_nano.sh join OUT                   # here: parts to a checkpoint in OUT/nano
#
# `start` goes on from nano-training/ if it is there, else from the shipped checkpoint, weights alone.
# Its Python is $PYTHON (python3), which has torch; wheels are read from .whl.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=nano-training

case "${1:-}" in
wheels)
    # No dependencies: torch and numpy are there, and a second copy of either would fill the disk.
    platforms=(--platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${3:-3.12}" \
        --implementation cp "${platforms[@]}" --dest "$2" --constraint constraints.txt \
        transformers tokenizers huggingface-hub safetensors regex freetype-py platformdirs python-bidi \
        PyStemmer uharfbuzz typer-slim rich zstandard hf-xet
    ;;
start)
    "$python" -m venv --system-site-packages .venv-gpu
    .venv-gpu/bin/python -m pip install --quiet --no-index --no-deps .whl/*.whl
    [ -f "$folder/config.json" ] || PYTHONPATH=$PWD .venv-gpu/bin/python -c "
from pathlib import Path
import torch
from optimem.vision import LocalReader
model = LocalReader.load('nano', device='cpu', dtype=torch.float32)
model.model.save_pretrained('$folder')
model.tokenizer.save_pretrained('$folder')"
    PYTHONPATH=$PWD nohup setsid .venv-gpu/bin/python -m optimem.vision.train --corpus "$2" \
        --out "$folder" --minutes "$3" --lesson "${4:-characters}" --size "${5:-8192}" --pages 4000 \
        > "$folder.log" 2>&1 < /dev/null &
    ;;
fetch)
    PYTHONPATH=$PWD .venv-gpu/bin/python -m optimem.vision.release "$folder" "$2/nano" --parts 15
    cp "$folder/log.jsonl" "$folder.log" "$2/"
    ;;
join)
    cat "$2"/nano/model.part-* > "$2/nano/model.safetensors"
    rm "$2"/nano/model.part-*
    ;;
*)
    sed -n '2,10p' "$0"
    exit 2
    ;;
esac
