"""The dictionary in the package can be made again from the samples beside it."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from optimem.stores.packing import shipped
from optimem.stores.train_dictionary import main

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "scripts" / "dictionary.jsonl.xz"


def test_the_same_samples_make_the_dictionary_in_the_package(tmp_path: Path) -> None:
    main([str(SAMPLES), str(tmp_path / "made")])
    assert (tmp_path / "made").read_bytes() == shipped().data


def test_samples_may_be_plain_and_the_dictionary_small(tmp_path: Path) -> None:
    lines = lzma.decompress(SAMPLES.read_bytes()).splitlines(keepends=True)
    (tmp_path / "samples.jsonl").write_bytes(b"".join(lines[:800]))
    main([str(tmp_path / "samples.jsonl"), str(tmp_path / "made"), "--size", "4096"])
    assert len((tmp_path / "made").read_bytes()) == 4096


def test_no_transcript_of_the_tests_is_among_the_samples() -> None:
    samples = lzma.decompress(SAMPLES.read_bytes()).decode()
    for path in (ROOT / "tests" / "transcripts").glob("*.json"):
        for message in json.loads(path.read_text("utf-8"))["messages"]:
            said = json.dumps(message.get("content"), ensure_ascii=False)[1:-1]
            assert len(said) < 100 or said[:100] not in samples
