"""`optimem calibrate`: what a reader is asked, what it costs, and the profile that comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimem import InputError, Memory, Tier
from optimem.asking import find_client
from optimem.bench import legibility
from optimem.bench.corpus import KINDS as CORPUS
from optimem.calibrate import Calibration
from optimem.cli import main
from optimem.probes import KINDS, Score, probes
from optimem.readers import find_reader
from optimem.readers.own import read_row, write_row
from optimem.renderers.page import page_pixels
from optimem.testing import ReadingServer, tesseract
from optimem.testing.eyes import Pixels
from optimem.values import Page

GPT, CLAUDE, GEMINI = "openai:gpt-6-astra", "anthropic:claude-opus-5.5", "google:gemini-4-argon"


class Perfect:
    """Reads the probes' pages without an error, and nothing on any other image."""

    def __init__(self, pages: list[Page], tiers: tuple[Tier, ...]) -> None:
        self._known = {
            page_pixels(page, tier).tobytes(): page.words for page in pages for tier in tiers
        }

    def __call__(self, pixels: Pixels, width: float) -> str:
        return self._known.get(np.ascontiguousarray(pixels).tobytes(), "")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("OPTIMEM_READERS", raising=False)
    return monkeypatch


def served(
    server: ReadingServer, environment: pytest.MonkeyPatch
) -> None:  # clients find it by their own variables
    for name, value in server.environment.items():
        environment.setenv(name, value)


@pytest.fixture
def perfect(environment: pytest.MonkeyPatch) -> Iterator[ReadingServer]:
    pages = [probe.page for probe in probes(("prose", "ids"))]
    engine = Perfect(pages, (Tier.LARGE, Tier.BASE, Tier.SMALL))
    with ReadingServer(engine=engine, blur_below=Tier.BASE) as server:
        served(server, environment)
        yield server


def command(*arguments: str) -> int:
    """Run the command; its exit code."""
    import sys

    sys.argv = ["optimem", "calibrate", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


# Probes


def test_probes_are_the_same_each_time_and_of_every_kind() -> None:
    first, second = list(probes()), list(probes())
    assert first == second and {probe.kind for probe in first} == set(KINDS)
    assert len({(probe.page.hash, probe.question) for probe in first}) == len(first)
    assert [p.page for p in probes(("ids",), 3)] != [p.page for p in probes(("ids",), 1)] * 3


def test_what_replies_are_worth() -> None:
    of = {probe.kind: probe for probe in probes()}
    prose, ids = of["prose"], of["ids"]
    perfect = prose.score(prose.page.words)
    assert perfect.errors == 0 and perfect.characters > 7000
    assert ids.score(ids.page.words).reading.exact == 1 > ids.score("nothing").reading.exact
    rows = "\n".join(ids.page.rows)  # as it stands, split words and all
    assert ids.score(rows).reading.exact > 0.99
    total = of["arithmetic"]
    assert total.score(f"Together they are ${float(total.answer):,.2f}.").right == 1
    assert total.score("About 12.").right == total.score("I cannot say.").right == 0
    absent = of["absent"]
    assert absent.score("Not stated.").confabulated == 0
    assert absent.score("It is $42.17.").confabulated == 1
    assert Score(asked=1) + Score(asked=2, right=1) == Score(asked=3, right=1)


def test_sums_are_of_what_stands_on_the_page_and_absent_names_do_not() -> None:
    for probe in probes(("arithmetic", "absent"), 2):
        assert any(word in probe.page.words for word in ("invoice",))
        if probe.kind == "absent":
            name = probe.question.partition(" of ")[2].partition("?")[0]
            assert name not in probe.page.words
        else:
            first, _, second = probe.question.partition("invoices of ")[2].partition(" and ")
            amounts = [
                float(probe.page.words.partition(f"of {name} is $")[2].split(" ")[0].rstrip("."))
                for name in (first, second.partition(" together")[0])
            ]
            assert f"{sum(amounts):.2f}" == probe.answer


# Calibrating


def test_what_it_costs_is_said_before_it_is_spent(tmp_path: Path) -> None:
    wanted = list(probes(("prose", "absent")))
    work = Calibration(
        find_reader(GPT), "gpt-6-astra", wanted, [Tier.BASE, Tier.SMALL], tmp_path / "a"
    )
    cost = work.cost()
    profile = find_reader(GPT)
    assert profile.dollars is not None and profile.dollars.output is not None
    images = sum(profile.page_cost(tier) for tier in (Tier.BASE, Tier.SMALL)) * 5
    assert cost.requests == 10 and images < cost.input < images + 10 * 100
    assert 3000 < cost.output < 6000
    assert cost.dollars == pytest.approx(
        (cost.input * profile.dollars.input + cost.output * profile.dollars.output) / 1e6
    )
    unknown = replace(profile, dollars=None)
    assert Calibration(unknown, "x", wanted, [Tier.BASE], tmp_path / "b").cost().dollars is None
    with pytest.raises(InputError, match="does not read gundam"):
        Calibration(profile, "x", wanted, [Tier.GUNDAM], tmp_path / "c")


def test_a_broken_run_goes_on_where_it_was(tmp_path: Path) -> None:
    wanted = list(probes(("absent", "arithmetic")))
    asked: list[Any] = []

    def ask(request: dict[str, Any]) -> str:
        asked.append(request)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return "not stated"

    def calibration() -> Calibration:
        return Calibration(find_reader(GPT), "gpt-6-astra", wanted, [Tier.BASE], tmp_path / "log")

    with pytest.raises(KeyboardInterrupt):
        calibration().run(ask)
    assert len(calibration().left) == 6
    with (tmp_path / "log").open("a") as file:
        file.write('{"key": "cut of')  # a crash while it was written
    calibration().run(ask)
    assert len(asked) == 9 and calibration().left == []
    assert calibration().scores()[Tier.BASE]["absent"] == Score(asked=4)
    (tmp_path / "log").write_text("no log\n")
    with pytest.raises(InputError, match="no log of a calibration"):
        calibration()


@pytest.mark.parametrize("reader", [GPT, CLAUDE, GEMINI])
def test_a_blurred_mode_is_left_out_and_plans_stop_before_it(
    reader: str,
    perfect: ReadingServer,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Any,
) -> None:
    """The whole command, against a server that sees nothing below Base."""
    file = tmp_path / "readers.json"
    probed = ("--kinds", "prose,ids", "-o", str(file))
    assert command(reader, *probed, "--yes", "--json") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["modes"] == ["large", "base"]
    assert said["fidelity"]["base"] == 1 and max(list(said["fidelity"].values())[2:]) < 0.1
    assert said["measured"]["base"]["ids"] == {"cer": 0, "exact": 1}
    environment.setenv("OPTIMEM_READERS", str(file))
    profile = find_reader(reader)
    assert set(profile.modes) == {Tier.LARGE, Tier.BASE} and profile.fidelity[Tier.BASE] == 1
    check_plan_stops_at_base(reader)
    asked = len(perfect.exchanges)
    assert command(reader, *probed) == 0
    assert len(perfect.exchanges) == asked  # nothing was left, so nothing was asked


def check_plan_stops_at_base(reader: str) -> None:
    """Whatever the pressure, no page fades below Base."""
    with Memory.open("memory://") as memory:
        for number in range(120):
            memory.append({"role": "user", "content": f"{number} " + "the long road home " * 60})
        tight = memory.context(reader, 9_000)
        assert Tier.BASE in tight.plan.tiers
        assert max(tier for tier in tight.plan.tiers if tier.is_mode) == Tier.BASE


def test_what_was_not_asked_again_stays(perfect: ReadingServer, tmp_path: Path) -> None:
    file = tmp_path / "readers.json"
    probed = ("--yes", "-o", str(file))
    assert command(GPT, "--modes", "base", "--kinds", "prose,ids", *probed) == 0
    assert command(GPT, "--modes", "small", "--kinds", "prose", *probed) == 0
    row = json.loads(file.read_text())["models"][GPT]
    assert set(row["measured"]) == {"base", "small"} and set(row["measured"]["base"]) == {
        "prose",
        "ids",
    }
    # What was not asked about goes with the next sharper mode that was.
    assert row["modes"] == ["large", "base", "px896", "px768"]


def test_it_asks_before_it_costs(perfect: ReadingServer, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "readers.json"
    assert command(GPT, "--modes", "base", "--kinds", "prose", "-o", str(file)) == 2
    assert "say --yes" in capsys.readouterr().err and not perfect.exchanges
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["openai:nobody-knows-this", "--yes"], "nobody-knows-this"),
        ([GPT, "--modes", "huge", "--yes"], "unknown tier"),
        ([GPT, "--kinds", "poems", "--yes"], "no probe is called"),
        (["deepseek-ocr", "--yes"], "memory.fidelity"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: list[str], sentence: str, capsys: Any) -> None:
    if "nobody" in arguments[0]:
        arguments = ["nobody-knows-this", "--yes"]
    assert command(*arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and sentence in said[0]


def test_a_row_joins_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "readers.json"
    file.write_text(json.dumps({"models": {"mine": {"like": GPT, "window": 9}}}))
    work = Calibration(find_reader(GPT), "x", [], [], tmp_path / "log")
    write_row(file, GPT, work.row())
    write_row(file, "mine", work.row(before=read_row(file, "mine")))
    models = json.loads(file.read_text())["models"]
    assert set(models) == {"mine", GPT} and models["mine"]["like"] == GPT
    assert models["mine"]["window"] == 9 and "tiny" in models["mine"]["modes"]
    file.write_text("[]")
    with pytest.raises(InputError, match="no file of readers"):
        write_row(file, GPT, {})


# With a real reader


class Reader:
    """Tesseract, which is asked once about each picture that the server and the benchmark see."""

    def __init__(self) -> None:
        self.asked: dict[bytes, str] = {}

    def __call__(self, pixels: Pixels, width: float) -> str:
        key = hashlib.sha256(f"{pixels.shape} {width:.3f}".encode() + pixels.tobytes()).digest()
        if key not in self.asked:
            self.asked[key] = tesseract(pixels, width)
        return self.asked[key]


def check_with_bench(
    readers: tuple[str, ...],
    kinds: tuple[str, ...],
    tiers: tuple[Tier, ...],
    environment: pytest.MonkeyPatch,
    folder: Path,
) -> Reader:
    """Calibrates readers over the wire, and holds what comes of it against the benchmark's."""
    engine = Reader()
    most = 0.0, 0.0
    environment.setattr(legibility, "tesseract", engine)
    with ReadingServer(engine=engine) as server:
        served(server, environment)
        for number, name in enumerate(readers):
            profile = find_reader(name)
            shown = [tier for tier in tiers if tier in profile.modes]
            wanted = list(probes(kinds))
            work = Calibration(profile, profile.model, wanted, shown, folder / str(number))
            work.run(find_client(profile, profile.model))
            for tier, scores in work.scores().items():
                for probe in wanted:
                    reading = scores[probe.kind].reading
                    direct = legibility.read_by_tesseract(probe.page, tier)
                    assert direct.exact is not None
                    accuracy = 100 * (1 - reading.cer) - (100 - direct.raw)
                    assert abs(accuracy) <= 1, (name, tier, probe.kind)
                    exact = 100 * reading.exact - direct.exact
                    assert abs(exact) <= 5, (name, tier, probe.kind)
                    most = max(most[0], abs(accuracy)), max(most[1], abs(exact))
    print("off the benchmark by at most (points of accuracy, of exact strings):", most)
    # The server sees what the benchmark draws, to the pixel, whoever's request it is in.
    assert len(engine.asked) == len(kinds) * len(tiers)
    return engine


def test_it_measures_what_the_benchmark_does(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check_with_bench((GPT, CLAUDE), ("ids",), (Tier.SMALL,), environment, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_it_measures_what_the_benchmark_does_in_every_mode(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """And with a server that sees badly below Base, plans stop there."""
    engine = check_with_bench(
        (GPT, CLAUDE, GEMINI), CORPUS, legibility.TIERS, environment, tmp_path
    )
    file = tmp_path / "readers.json"
    with ReadingServer(engine=engine, blur_below=Tier.BASE) as blurred:
        served(blurred, environment)
        for reader in (GPT, CLAUDE, GEMINI):
            assert command(reader, "--kinds", "prose", "-o", str(file), "--yes", "--fresh") == 0
    environment.setenv("OPTIMEM_READERS", str(file))
    for reader in (GPT, CLAUDE, GEMINI):
        assert list(find_reader(reader).modes) == [Tier.LARGE, Tier.BASE]
        check_plan_stops_at_base(reader)


def test_a_client_can_be_told_where(
    perfect: ReadingServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    profile = find_reader(GPT)
    for shape in ("openai", "responses"):
        shaped = replace(profile, format=shape)
        ask = find_client(shaped, "gpt-6-astra", perfect.openai_url)
        (probe,) = list(probes(("prose",)))
        work = Calibration(shaped, "gpt-6-astra", [probe], [Tier.BASE], Path("/nowhere"))
        assert ask(work.request(Tier.BASE, probe)) == probe.page.words
