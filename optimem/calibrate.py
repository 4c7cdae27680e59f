"""What a hosted reader still reads in each mode, asked of itself: `optimem calibrate READER`.

Each probe (see `optimem.probes`) is drawn in a mode and sent through the provider's own
client. What was asked once is kept in a file, so that a break costs nothing. The outcome is
a reader of one's own (`$OPTIMEM_READERS`): the modes that it reads well enough, and the share
of characters that come through in each, by which plans are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optimem.asking import Ask
from optimem.errors import InputError
from optimem.messages import parse
from optimem.modes import Tier
from optimem.probes import TEXTS, Probe, Score
from optimem.readers import Profile, find_reader, table
from optimem.readers.request import request_for
from optimem.renderers.page import page_png
from optimem.tokens import find_counter
from optimem.values import Segment

LEAST = 0.9
"""Share of characters that must come through for a mode to be one that a reader reads."""

READABLE = ("prose", "dialogue", "code", "json")
"""Kinds of text that decide it: ids are what anchors are for, and not all read Chinese."""

_NOTE = "Earlier turns of a conversation, as a page image."
_SHORT_REPLY = 20  # tokens of a number
_FRAME = 12  # tokens around the parts of a request


@dataclass(frozen=True, slots=True)
class Cost:
    """What a calibration takes at most.

    Attributes:
        requests: how many.
        input: tokens that are sent.
        output: tokens of the replies.
        dollars: None where the reader's prices are not known.
    """

    requests: int
    input: int
    output: int
    dollars: float | None


class Calibration:
    """One reader's probes in some modes, and what came of them.

    Args:
        profile: the reader.
        model: its name, as the provider's API takes it.
        probes: what it is asked.
        tiers: the modes that it is shown them in.
        log: a file of what was asked before; made when the first reply comes.
    """

    def __init__(
        self,
        profile: Profile,
        model: str,
        probes: Sequence[Probe],
        tiers: Sequence[Tier],
        log: Path,
    ) -> None:
        for tier in tiers:
            profile.page_cost(tier)  # or say which ones it reads
        self.profile = profile
        self.model = model
        self._all = [(tier, probe) for tier in tiers for probe in probes]
        self._log = log
        self._done = self._read_log()

    @property
    def left(self) -> list[tuple[Tier, Probe]]:
        """What is still to be asked."""
        return [(t, probe) for t, probe in self._all if self._key(t, probe) not in self._done]

    def cost(self) -> Cost:
        """What it takes to ask what is left."""
        count, profile = find_counter().count, self.profile
        sent = replied = 0
        for tier, probe in self.left:
            sent += profile.page_cost(tier) + _FRAME
            sent += profile.text_cost(count(probe.question) + count(_NOTE))
            words = count(probe.page.words) if probe.kind in TEXTS else _SHORT_REPLY
            replied += profile.text_cost(words)
        dollars = None
        if profile.dollars is not None:
            output = profile.dollars.output
            dollars = (sent * profile.dollars.input + replied * (output or 0)) / 1e6
            dollars = None if output is None else dollars
        return Cost(len(self.left), sent, replied, dollars)

    def run(self, ask: Ask, report: Callable[[], None] = lambda: None) -> None:
        """Ask what is left, one after the other; each reply is kept before the next is asked."""
        if self._log.exists():  # a line that was cut off by a crash is no reply
            whole, end, _ = self._log.read_bytes().rpartition(b"\n")
            self._log.write_bytes(whole + end)
        for tier, probe in self.left:
            score = probe.score(ask(self.request(tier, probe)))
            self._keep(self._key(tier, probe), score)
            report()

    def request(self, tier: Tier, probe: Probe) -> dict[str, Any]:
        """What the client is given for one probe."""
        question = parse({"role": "user", "content": probe.question})
        cost = self.profile.page_cost(tier)
        segments = [
            Segment("note", 0, _NOTE),
            Segment("page", cost, page=0, tier=tier),
            Segment("turn", 0, turn=question),
        ]
        image = page_png(probe.page, tier)
        return request_for(
            self.profile.format, segments, self.profile, lambda _: ("image/png", image), ()
        )

    def scores(self) -> dict[Tier, dict[str, Score]]:
        """What came of all that was asked, by mode and kind."""
        found: dict[Tier, dict[str, Score]] = {}
        for tier, probe in self._all:
            score = self._done.get(self._key(tier, probe))
            if score is not None:
                kinds = found.setdefault(tier, {})
                kinds[probe.kind] = kinds.get(probe.kind, Score()) + score
        return found

    def row(self, least: float = LEAST, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The reader as a row of `$OPTIMEM_READERS`.

        Args:
            least: the share of characters that must come through in a mode that is kept. A
                mode that was not asked about goes with the next sharper one that was.
            before: its row of an earlier calibration; what was not asked again stays.
        """
        before, scores = before or {}, self.scores()
        measured = {label: dict(kinds) for label, kinds in before.get("measured", {}).items()}
        for tier, kinds in scores.items():
            figures = {kind: _figures(kind, score) for kind, score in kinds.items()}
            measured.setdefault(tier.label, {}).update(figures)
        shares = {tier.label: round(share(kinds), 4) for tier, kinds in scores.items()}
        fidelity = {**before.get("fidelity", {}), **shares}
        return {
            **before,
            "like": before.get("like", self.profile.name),
            "modes": list(_well_read(self.profile, fidelity, least)),
            "fidelity": fidelity,
            "measured": measured,
        }

    def _key(self, tier: Tier, probe: Probe) -> str:
        """Names a request: another text, style or question is another one."""
        words = f"{self.model} {tier.label} {probe.page.hash} {probe.question}"
        return hashlib.sha256(words.encode()).hexdigest()[:24]

    def _read_log(self) -> dict[str, Score]:
        if not self._log.exists():
            return {}
        try:
            lines = self._log.read_text("utf-8").splitlines(keepends=True)
            # The last line may have been cut off.
            rows = [json.loads(line) for line in lines if line.endswith("\n")]
            return {row["key"]: Score(**row["score"]) for row in rows}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self._log} is no log of a calibration: {error}") from None

    def _keep(self, key: str, score: Score) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "score": asdict(score)}) + "\n")
        self._done[key] = score


def uncalibrated(name: str | Profile) -> Profile:
    """A reader with all the modes that it had before it was calibrated; see `find_reader`."""
    profile = find_reader(name)
    row = table.own_rows(table.stamp()).get(profile.name, {})
    if "measured" not in row:
        return profile
    rest = {key: row[key] for key in row.keys() - {"modes", "fidelity", "measured"}}
    itself = row["like"] == profile.name
    like = table.listed(profile.name) if itself else find_reader(row["like"])
    return table.own(profile.name, rest, like)


def share(kinds: Mapping[str, Score]) -> float:
    """The share of characters of plain text that came through."""
    plain = [score for kind, score in kinds.items() if kind in READABLE]
    plain = plain or [score for kind, score in kinds.items() if kind in TEXTS]
    return sum(plain, Score()).reading.share


def _well_read(profile: Profile, fidelity: Mapping[str, float], least: float) -> Iterator[str]:
    """Labels of the modes that a reader reads well enough, from the sharpest on."""
    good = True
    for tier in sorted(profile.modes):
        good = fidelity[tier.label] >= least if tier.label in fidelity else good
        if good:
            yield tier.label


def _figures(kind: str, score: Score) -> dict[str, float]:
    """What stands in the profile: shares, from 0 to 1."""
    if kind in TEXTS:
        reading = score.reading
        return {"cer": round(reading.cer, 4), "exact": round(reading.exact, 4)}
    if kind == "absent":
        return {"confabulated": round(score.confabulated / max(score.asked, 1), 4)}
    return {"right": round(score.right / max(score.asked, 1), 4)}


def rows_of(scores: Mapping[Tier, Mapping[str, Score]]) -> Iterator[tuple[Tier, str, str]]:
    """Each figure in words: mode, kind, and what was seen."""
    for tier, kinds in scores.items():
        for kind, score in kinds.items():
            figures = (f"{name} {value:.1%}" for name, value in _figures(kind, score).items())
            yield tier, kind, ", ".join(figures)
