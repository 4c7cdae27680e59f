"""The pictures of the policies: every line and cell where its figures say."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from optimem.bench import fading
from optimem.bench.charts import Line, lines, strips
from optimem.modes import Tier
from optimem.transcripts import read_transcript
from optimem.values import Kept, Plan

DOCS = Path(__file__).parent.parent / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def test_a_line_goes_in_steps_from_axis_to_top() -> None:
    drawn = lines([Line("up", [(0, 0), (10, 50)])], "said", [(0, "0"), (10, "10")], 50)
    paths = [path.get("d", "") for path in ElementTree.fromstring(drawn).iter(f"{SVG}path")]
    assert paths[-1] == "M50.0 244.0H620.0V16.0"
    assert ">up<" in drawn and ">said<" in drawn


def test_a_strip_has_a_cell_for_each_page_and_a_dot_where_turns_are_kept() -> None:
    kept = (Kept(0, 1, 0, 0, "pinned"), Kept(4, 5, 2, 2, "beside text"))
    plan = Plan((Tier.TINY, Tier.BASE, Tier.TEXT), 6, kept=kept)
    root = ElementTree.fromstring(strips({"a": plan, "b": Plan()}, 4, "said"))
    cells = [rect.get("fill") for rect in root.iter(f"{SVG}rect")][1:9]
    assert cells[:3] == ["#cfe3f6", "#4d94d6", "#111111"] and len(set(cells[3:])) == 1
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_every_picture_of_the_docs_is_drawn_by_the_benchmark() -> None:
    page = (DOCS / "policies.md").read_text("utf-8")
    named = {path.stem for path in (DOCS / "fading").glob("*.svg")}
    assert all(f"](fading/{name}.svg)" in page for name in named)
    assert named == set("age-decay token-budget kept rehearsal epochs best-value".split())


@pytest.mark.timeout(600)
def test_the_benchmark_draws_them_and_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fading, "read_transcript", lambda path: read_transcript(path)[:40])
    fading.main(["--out", str(tmp_path)])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["bench"] == "fading" and all(check["holds"] for check in report["checks"])
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {path.name for path in (DOCS / "fading").glob("*.svg")}
    for path in tmp_path.glob("*.svg"):
        ElementTree.fromstring(path.read_text("utf-8"))
