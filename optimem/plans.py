"""Plans: a tier for each page, the turns that stay as text beside them, and why.

Frozen and free of I/O, like all values. Plans are kept in the store as one line of JSON.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, overload

from optimem.modes import Tier

_TIERS = tuple(Tier)
_MOST_REHEARSED = 64  # turns of one plan: the latest are remembered


class Tiers(Sequence[Tier]):
    """Tiers of consecutive pages, a byte each: equal to a tuple of them, but quick to plan with.

    Args:
        codes: the tiers' values, or the tiers.
    """

    __slots__ = ("codes",)

    def __init__(self, codes: Iterable[int] = b"") -> None:
        self.codes = bytes(codes)

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> Tier: ...
    @overload
    def __getitem__(self, index: slice) -> Tiers: ...
    def __getitem__(self, index: int | slice) -> Tier | Tiers:
        if isinstance(index, slice):
            return Tiers(self.codes[index])
        return _TIERS[self.codes[index]]

    def __iter__(self) -> Iterator[Tier]:
        return map(_TIERS.__getitem__, self.codes)

    def __contains__(self, tier: object) -> bool:
        return isinstance(tier, int) and tier in self.codes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tiers):
            return self.codes == other.codes
        return isinstance(other, tuple) and tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


class Kept(NamedTuple):
    """Turns that stand as text, word for word, beside their fading pages.

    Attributes:
        start: position of the first.
        stop: position behind the last: a call and its results are kept together.
        first: number of the page on which they begin.
        last: number of the page on which they end, beside which they stand.
        reason: why they are kept.
    """

    start: int
    stop: int
    first: int
    last: int
    reason: str


class Rehearsed(NamedTuple):
    """A turn that was recalled.

    Attributes:
        position: its place in the log.
        turns: how many turns the log had at that moment.
        time: seconds since the epoch.
        answered: a plan has been made since.
    """

    position: int
    turns: int
    time: float
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reader is shown: a tier for each page of the prefix, then text.

    Attributes:
        tiers: one for each page from number `gone` on; pages behind them are not shown,
            since their turns still stand as text.
        frontier: position of the first turn that stands whole as text.
        overflow: the turns before `frontier` run on behind the last shown page, and that
            rest is shown as text: only when one exchange does not fit beside the pages.
        epoch: counts the plans of this reader and budget.
        gone: how many leading pages are forgotten; they are no longer planned for, so
            that a long session costs no more than a short one.
        made: how many turns the log had when this epoch began.
        kept: turns that stand as text beside their pages, oldest first.
        reasons: (page, why): why that page and those behind it, up to the next of these,
            stand where they do.
        rehearsed: turns that were recalled, for policies that bring them back.
    """

    tiers: Sequence[Tier] = ()
    frontier: int = 0
    overflow: bool = False
    epoch: int = 0
    gone: int = 0
    made: int = 0
    kept: tuple[Kept, ...] = ()
    reasons: tuple[tuple[int, str], ...] = ()
    rehearsed: tuple[Rehearsed, ...] = ()

    @property
    def pages(self) -> int:
        """How many pages the plan decides on, forgotten ones included."""
        return self.gone + len(self.tiers)

    @property
    def codes(self) -> bytes:
        """The tiers' values, a byte each."""
        return self.tiers.codes if isinstance(self.tiers, Tiers) else bytes(self.tiers)

    def tier(self, number: int) -> Tier:
        """Where a page stands: text if the plan does not reach it."""
        if number < self.gone:
            return Tier.FORGOTTEN
        return self.tiers[number - self.gone] if number < self.pages else Tier.TEXT

    def counts(self) -> dict[Tier, int]:
        """How many pages are in each tier, the most faded first."""
        found = Counter(self.tiers)
        found[Tier.FORGOTTEN] += self.gone
        return {tier: found[tier] for tier in sorted(found, reverse=True) if found[tier]}

    def explain(self, page: int) -> str:
        """One sentence: where a page stands, and why."""
        tier = self.tier(page)
        if page >= self.pages:
            said = f"Page {page} is not shown, as its turns still stand as text"
        elif tier == Tier.TEXT:
            said = f"Page {page} is shown as text"
        elif tier == Tier.FORGOTTEN:
            said = f"Page {page} is no longer shown"
        else:
            said = f"Page {page} is shown in {tier.label}"
        reason = self.reason(page)
        notes = [kept for kept in self.kept if kept.last == page]
        beside = "; ".join(f"{_turns(kept)} beside it as text, {kept.reason}" for kept in notes)
        return said + (f", {reason}" if reason else "") + (f"; {beside}" if beside else "") + "."

    def stretches(self, pages: int) -> Iterator[tuple[range, Tier, str]]:
        """The first so many pages, those together that stand alike: numbers, tier and reason."""
        starts = {0, self.gone, self.pages, *(page for page, _ in self.reasons)}
        codes = self.codes
        starts |= {self.gone + n for n in range(1, len(codes)) if codes[n] != codes[n - 1]}
        ordered = sorted(start for start in starts if start < pages)
        for start, stop in pairwise([*ordered, pages]):
            yield range(start, stop), self.tier(start), self.reason(start)

    def shows(self, kept: Kept) -> bool:
        """Whether kept turns stand beside their page: not where the page itself is text."""
        return any(self.tier(page) != Tier.TEXT for page in range(kept.first, kept.last + 1))

    def settled(self) -> Plan:
        """The same plan with its leading forgotten pages counted in `gone`."""
        codes = self.codes
        leading = len(codes) - len(codes.lstrip(bytes((Tier.FORGOTTEN,))))
        if not leading:
            return self
        gone = self.gone + leading
        # Of the pages that are gone the last one's reason does for all.
        runs = [(0, self.reason(gone - 1)), (gone, self.reason(gone))]
        runs += [run for run in self.reasons if run[0] > gone]
        reasons = tuple(runs) if self.reasons else ()
        return replace(self, tiers=Tiers(codes[leading:]), gone=gone, reasons=reasons)

    def rehearse(self, found: Iterable[Rehearsed]) -> Plan:
        """The plan with turns that were recalled now; it shows the same as before."""
        latest = {each.position: each for each in (*self.rehearsed, *found)}
        newest = sorted(latest.values(), key=lambda each: (each.turns, each.position))
        return replace(self, rehearsed=tuple(newest[-_MOST_REHEARSED:]))

    def reason(self, page: int) -> str:
        """Why a page stands where it does, as the end of a sentence; "" where nobody said."""
        place = bisect_right(self.reasons, page, key=lambda run: run[0]) - 1
        return self.reasons[place][1] if place >= 0 else ""

    def to_json(self) -> str:
        """One line of JSON, the same for equal plans."""
        tiers = [tier.label for tier in self.tiers]
        line: list[Any] = [self.gone, tiers, self.frontier, self.overflow, self.epoch]
        rest = [self.made, self.kept, self.reasons, self.rehearsed]
        return json.dumps(line + rest if any(rest) else line, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Plan:
        """The inverse of `to_json`."""
        gone, tiers, frontier, overflow, epoch, *rest = json.loads(line)
        made, kept, reasons, rehearsed = rest or (0, (), (), ())
        return cls(
            Tiers(Tier.parse(label) for label in tiers),
            frontier,
            overflow,
            epoch,
            gone,
            made,
            tuple(Kept(*each) for each in kept),
            tuple((page, reason) for page, reason in reasons),
            tuple(Rehearsed(*each) for each in rehearsed),
        )


def _turns(kept: Kept) -> str:
    if kept.stop - kept.start == 1:
        return f"turn {kept.start} stands"
    return f"turns {kept.start} to {kept.stop - 1} stand"
