"""Contexts made: a plan for a reader, kept in the store, and the segments that it shows."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from optimem.context import Context
from optimem.errors import BudgetError
from optimem.ledger import Ledger
from optimem.modes import Tier
from optimem.planning.planner import Planner
from optimem.planning.segments import Segments
from optimem.planning.situations import Situations
from optimem.policies import Policy, Situation
from optimem.policies.policy import rehearses
from optimem.readers import Profile
from optimem.readers.openai import Image
from optimem.renderers.layout import PageStyle
from optimem.renderers.sheets import sheet_key
from optimem.stores import Store
from optimem.values import Json, Plan, Rehearsed, Scope, Turn
from optimem.vision_reader import Shown, VisionReader, VisionSession

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NEAR = 0.1  # of the budget: when so little room is left, the next epoch is near


class ContextBuilder:
    """Plans and assembles contexts for one session.

    Args:
        store: where plans are kept.
        scope: whose session it is.
        ledger: the session's facts, in step with the store.
        policy: decides the tiers.
        image: gives media type and bytes of a page or attachment segment.
        hide: gives the keys of images of pages (hash, tier) that are no longer shown.
        style: how the session's pages are drawn.
    """

    def __init__(
        self,
        store: Store,
        scope: Scope,
        ledger: Ledger,
        policy: Policy,
        image: Image,
        hide: Callable[[Iterable[tuple[str, Tier]]], Iterable[str]],
        style: PageStyle,
    ) -> None:
        self._store = store
        self._scope = scope
        self._ledger = ledger
        self._policy = policy
        self._image = image
        self._hide = hide
        self._style = style
        self._visions: dict[VisionReader, VisionSession] = {}
        self._situations = Situations(store, scope, ledger, policy)
        self._segments = Segments(store, scope, ledger, self._situations)
        self._planner = Planner(policy, self._segments, image)

    def clear(self) -> None:
        """Forget what local readers have at hand: turns were taken away."""
        self._visions.clear()
        self._segments.clear()

    def build(
        self,
        profile: Profile,
        budget: int | None,
        tools: Sequence[Mapping[str, Json]],
        system: Turn | None,
        now: float | None,
        reader: VisionReader | None = None,
    ) -> Context:
        """A context for a reader; see `Memory.context`.

        Raises:
            BudgetError: the budget is larger than the reader's window, or too small.
        """
        budget = _checked_budget(profile, budget)
        vision = None if reader is None else self._vision(reader)
        extra = self._ledger.extra_cost(profile, tools, system)
        has_system = bool(tools or system is not None or self._ledger.head)
        fixed = extra + _frame(profile, has_system, True)
        name = self._plan_name(profile, budget)
        while True:
            plans = self._store.plans(self._scope)
            past = plans.get(name)
            if past is not None and self._ledger.lags(past):
                self._ledger.sync()  # another worker has planned for turns that came since
                continue
            situation = self._situations.situation(
                profile,
                budget,
                fixed=fixed,
                legend=self._segments.legend_tokens(profile),
                marker=self._segments.marker_tokens(profile),
                past=past,
                now=now,
            )
            plan = self._planner.plan(profile, situation, past)
            # Tokens are there before the plan switches, so that a failure changes nothing. None
            # are made for a plan that another worker has replaced: it dropped them.
            if vision is not None and not vision.encode(
                self._shown(plan), partial(self._stands, name, past)
            ):
                continue
            if plan == past:
                break
            others = [other for key, other in plans.items() if key != name]
            hidden = self._hidden(profile, past, plan, others)
            keys = list(self._hide(hidden))
            if vision is not None:
                keys += vision.hide(hidden)
            keys += self._hidden_sheets(profile, past, plan, others)
            # Another worker may have planned meanwhile: then its plan is the past one.
            if self._store.swap_plan(self._scope, name, plan, past, keys):
                break
        if vision is not None and plan == past:
            vision.queue(self._soon(situation, plan))
        segments = tuple(self._segments.of(profile, plan, system))
        has_pages = any(segment.turn is None for segment in segments)
        tokens = sum(segment.tokens for segment in segments)
        return Context(
            reader=profile,
            budget=budget,
            segments=segments,
            plan=plan,
            tokens=tokens
            + self._ledger.extra_cost(profile, tools, None)
            + _frame(profile, has_system, has_pages),
            text_tokens=self._ledger.spent(profile)[-1]
            + extra
            + _frame(profile, has_system, False),
            tools=tools,
            image=self._image,
            vision=vision,
        )

    def rehearse(self, positions: Iterable[int]) -> None:
        """Tell the policy's plans that turns were recalled, if it goes by that.

        The plans are marked, not changed: what readers are shown stays as it is until the
        next epoch.
        """
        if not rehearses(self._policy):
            return
        turns, moment = self._store.state(self._scope).turns, time.time()
        found = [Rehearsed(position, turns, moment) for position in positions]
        while found:
            plans = self._store.plans(self._scope)
            ours = {n: plan for n, plan in plans.items() if n.endswith(self._policy_name())}
            marked = {name: plan.rehearse(found) for name, plan in ours.items()}
            if all(
                self._store.swap_plan(self._scope, name, plan, plans[name])
                for name, plan in marked.items()
            ):
                return

    def _vision(self, reader: VisionReader) -> VisionSession:
        if reader not in self._visions:
            self._visions[reader] = reader.open(self._store, self._scope, self._style, self._image)
        return self._visions[reader]

    def _plan_name(self, profile: Profile, budget: int | None) -> str:
        """Plans are kept apart by reader, budget and policy."""
        return f"{profile.name} at {budget or 'any budget'} by {self._policy_name()}"

    def _policy_name(self) -> str:
        said = _ADDRESS.sub("", repr(self._policy))  # a plugged-in function's, of this process
        return hashlib.sha256(said.encode()).hexdigest()[:8]

    def _stands(self, name: str, past: Plan | None) -> bool:
        """Whether nobody has planned meanwhile."""
        return self._store.plans(self._scope).get(name) == past

    def _shown(self, plan: Plan) -> list[Shown]:
        """The pages that a plan shows as images."""
        tiers = enumerate(plan.tiers, plan.gone)
        return [(n, self._ledger.pages[n].hash, tier) for n, tier in tiers if tier.is_mode]

    def _soon(self, situation: Situation, plan: Plan) -> Iterator[Shown]:
        """What the next epoch will newly show, if it is near: as far as can be told now."""
        if situation.budget is None:
            return
        grown = replace(situation, fixed=situation.fixed + int(situation.budget * _NEAR))
        with suppress(BudgetError):
            soon = self._policy.apply(grown, plan).settled()
            now = set(self._shown(plan))
            yield from (page for page in self._shown(soon) if page not in now)

    def _hidden(
        self, profile: Profile, past: Plan | None, plan: Plan, others: Sequence[Plan]
    ) -> set[tuple[str, Tier]]:
        """Pages (hash, tier) that this plan will not show again, and no other one shows.

        Pages only fade: all that is sharper than what is shown now can go.
        """
        if past is None:
            return set()
        kept = {pair for each in others for pair in enumerate(each.tiers, each.gone)}
        faded = (n for n in range(past.gone, plan.pages) if past.tier(n) != plan.tier(n))
        return {
            (self._ledger.pages[n].hash, mode)
            for n in faded
            for mode in profile.modes
            if mode < plan.tier(n) and (n, mode) not in kept
        }

    def _hidden_sheets(
        self, profile: Profile, past: Plan | None, plan: Plan, others: Sequence[Plan]
    ) -> Iterator[str]:
        """Keys of the sheets that this plan shows no longer, nor perhaps another one."""
        if past is None:
            return
        shown = set(self._segments.groups(profile, plan))
        for group in self._segments.groups(profile, past):
            kept = any(all(p.tier(n) == group.tier for n in group.pages) for p in others)
            if group.sheet is not None and group not in shown and not kept:
                hashes = [self._ledger.pages[number].hash for number in group.pages]
                yield sheet_key(group.sheet, hashes)


def _frame(profile: Profile, has_system: bool, has_pages: bool) -> int:
    """What stands around the segments; hosted readers' frames are counted with their turns."""
    if profile.counter is None:
        return 0
    return profile.counter.frame(has_system=has_system, has_pages=has_pages)


def _checked_budget(profile: Profile, budget: int | None) -> int | None:
    if budget is None:
        return profile.window
    if budget < 1:
        raise BudgetError(f"a budget must be at least 1 token, not {budget}")
    if profile.window is not None and budget > profile.window:
        raise BudgetError(
            f"{profile.name} takes at most {profile.window} tokens:"
            f" a budget of {budget} is larger than its window"
        )
    return budget
