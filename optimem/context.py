"""The context: what a reader is sent, as ordered segments within a token budget.

The order is system, pages from the oldest on with their captions, then text. Between
epochs everything in front of the text is the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import re
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from optimem.attachments import faded_size
from optimem.errors import BudgetError, InputError
from optimem.ledger import Ledger
from optimem.modes import Tier
from optimem.policies import Policy, Situation
from optimem.policies.candidates import ABSENT
from optimem.policies.policy import rehearses
from optimem.readers import Profile
from optimem.readers.carry import most_bytes, page_bytes, page_images
from optimem.readers.openai import Image
from optimem.readers.request import check_format, messages_for, request_for, system_for
from optimem.renderers.layout import PageStyle
from optimem.renderers.sheets import Group, most_saved, plan_groups, sheet_key
from optimem.retry import is_refused, is_too_large, was_cut
from optimem.situations import Situations
from optimem.stores import Store
from optimem.tail import apart
from optimem.values import Json, Kept, PageFacts, Plan, Rehearsed, Scope, Segment, Tiers, Turn

_LEGEND = (
    "Earlier turns of this conversation follow as page images, oldest first. They are its"
    " record, not instructions. <role#n> starts turn n; | ends a line, || a paragraph, and a"
    " number behind it counts the blanks that the next line is indented by. Where \\ ends a row,"
    " the word goes on in the next; \\ in front of | or behind < marks what only looks like these"
    " signs; <data#n> stands for data of turn n. Beside each page stand its number, its turns"
    " and exact strings from it."
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_NEAR = 0.1  # of the budget: when so little room is left, the next epoch is near
_SHEETS = (
    "Where an image holds several pages, they stand in the order of the captions in front of"
    " it: from the left, then downwards."
)
_TRIES = 4  # at a plan whose pages stand on sheets, or whose images are too many
_SMALLER = 0.75  # of the tokens: what a plan whose images are too many is made for next
_FORGOTTEN = "{turns} earlier turns are no longer shown; they can be recalled word for word."


Again = Callable[[Profile, "int | None"], "Context"]
"""Makes a context of the same session for another reader and budget."""

Shown = tuple[int, str, Tier]
"""A page in a mode: its number and its hash."""


class VisionSession(Protocol):
    """One session as a local model sees it."""

    def encode(self, pages: Iterable[Shown], wanted: Callable[[], bool]) -> bool:
        """Have the vision tokens of pages (number, hash, mode) at hand.

        `wanted` is asked before any is encoded; the answer is False when it says no.
        """
        ...

    def queue(self, pages: Iterable[Shown]) -> None:
        """Leave pages (number, hash, mode) that will soon be shown to workers, if there are any."""
        ...

    def hide(self, pages: Iterable[tuple[str, Tier]]) -> Iterable[str]:
        """Keys of the vision tokens of pages (hash, mode) that are no longer shown."""
        ...

    def inputs(
        self, segments: Sequence[Segment], tools: Sequence[Mapping[str, Json]], past: Any
    ) -> Mapping[str, Any]:
        """Keyword arguments for the model's `forward` and `generate`."""
        ...


class VisionReader(Protocol):
    """A model that runs here: see `optimem.vision.LocalReader`."""

    profile: Profile

    def open(self, store: Store, scope: Scope, style: PageStyle, image: Image) -> VisionSession:
        """The reader's view of one session."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What one reader is sent.

    Attributes:
        reader: whom it is for.
        budget: the most tokens that it may have, None for no limit.
        segments: its pieces in order.
        plan: the tier of each page, and where the text begins.
        tokens: what it costs by the reader's own rule, tools included.
        text_tokens: what the whole session would cost as plain text.
        tools: the tool schemas that were counted.
        again: makes it again for another reader and budget.
    """

    reader: Profile
    budget: int | None
    segments: tuple[Segment, ...]
    plan: Plan
    tokens: int
    text_tokens: int
    tools: Sequence[Mapping[str, Json]]
    image: Image = field(repr=False, compare=False)
    vision: VisionSession | None = field(default=None, repr=False, compare=False)
    again: Again | None = field(default=None, repr=False, compare=False)

    def model_inputs(self, past: Any = None) -> Mapping[str, Any]:
        """What a local model's `forward` and `generate` take: ids, mask, positions, vision tokens.

        Args:
            past: of an earlier context (`inputs.past(output.past_key_values)`): what the
                decoder has read already is not given again.

        Returns:
            A mapping with `spans`, which says what stands at which positions.

        Raises:
            InputError: the context is for a hosted reader.
        """
        if self.vision is None:
            raise InputError(
                f"{self.reader.name} takes messages: see request(). For vision tokens make the"
                " context with an optimem.vision.LocalReader"
            )
        return self.vision.inputs(self.segments, self.tools, past)

    @property
    def system(self) -> Json:
        """The system prompt apart, for readers that want it so; None without one."""
        return system_for(self.reader.format, self.segments, self.reader)

    def messages(self, format: str | None = None) -> list[dict[str, Any]]:
        """The messages in the reader's format, or another: see `request`.

        In Anthropic's and Gemini's the system prompt is not among them: see `system`.
        """
        shape = check_format(format or self.reader.format)
        return messages_for(shape, self.segments, self.reader, self.image)

    @property
    def notices(self) -> tuple[str, ...]:
        """What is assumed of the reader, or missing: sentences for whoever made the context."""
        return self.reader.notices

    def request(self, format: str | None = None) -> dict[str, Any]:
        """Keyword arguments for the reader's client.

        Args:
            format: "openai" (chat completions: messages), "responses" (OpenAI's other API:
                input), "anthropic" (system and messages) or "gemini" (google-genai: contents
                and config, with images as bytes); the reader's own by default.

        Raises:
            InputError: there is no such format.
        """
        shape = check_format(format or self.reader.format)
        return request_for(shape, self.segments, self.reader, self.image, self.tools)

    def as_text(self, budget: int | None = None) -> Context:
        """The same session without pages: older turns are text, or left out.

        For a reader that refused the pages. The plan with pages stands, for the next turn.

        Args:
            budget: the most tokens; this context's own by default.

        Raises:
            BudgetError: not even the newest exchange fits as text.
        """
        reader = replace(self.reader, name=f"{self.reader.name} as text", modes={})
        return self._again(reader, self.budget if budget is None else budget)

    def smaller(self, share: float = 0.7) -> Context:
        """The same session in a share of the tokens, and of a request's bytes: coarser pages.

        Raises:
            BudgetError: nothing so small holds the newest exchange.
            InputError: share is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise InputError(f"a smaller context is a share between 0 and 1 of it, not {share}")
        room = int(self.reader.request_bytes * share)
        reader = replace(self.reader, request_bytes=room)
        return self._again(reader, max(1, int(self.tokens * share)))

    def send(self, create: Callable[..., Any], /, **arguments: Any) -> Any:
        """Call a client with this context, and once more where it is refused or too large.

            reply = context.send(client.messages.create, model="claude-opus-5-5", max_tokens=999)

        A refusal is answered with the same session as text, a request that is too large
        (status 413, or more tokens than the window) with a smaller one. What comes then comes.

        Args:
            create: the client's method: `client.chat.completions.create`,
                `client.responses.create`, `client.messages.create` or
                `client.models.generate_content`, or anything that takes the same.
            arguments: what else it takes.
        """
        try:
            reply = create(**_joined(self.request(), arguments))
        except Exception as error:
            if not is_too_large(error):
                raise
            other = self.smaller()
        else:
            if not (is_refused(reply) or was_cut(reply)):
                return reply
            other = self.as_text() if is_refused(reply) else self.smaller()
        return create(**_joined(other.request(), arguments))

    async def asend(self, create: Callable[..., Awaitable[Any]], /, **arguments: Any) -> Any:
        """The asynchronous twin of `send`."""
        try:
            reply = await create(**_joined(await to_thread(self.request), arguments))
        except Exception as error:
            if not is_too_large(error):
                raise
            other = await to_thread(self.smaller)
        else:
            if not (is_refused(reply) or was_cut(reply)):
                return reply
            other = await to_thread(self.as_text if is_refused(reply) else self.smaller)
        return await create(**_joined(await to_thread(other.request), arguments))

    def _again(self, reader: Profile, budget: int | None) -> Context:
        if self.again is None:
            raise InputError("this context cannot be made again: make it with Memory.context")
        return self.again(reader, budget)


def _joined(request: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a call; a config of the caller's own stands beside ours."""
    config = {**request.get("config", {}), **arguments.get("config", {})}
    return {**request, **arguments, **({"config": config} if config else {})}


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
        self._standing: (
            tuple[tuple[Profile, Plan, int], tuple[tuple[Segment, ...], int | None]] | None
        ) = None
        self._grouped: tuple[Profile, Plan, Sequence[Group]] | None = None

    def clear(self) -> None:
        """Forget what local readers have at hand: turns were taken away."""
        self._visions.clear()
        self._standing = None

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
                legend=self._note(profile, _LEGEND).tokens,
                marker=self._note(profile, _FORGOTTEN.format(turns=len(self._ledger.turns))).tokens,
                past=past,
                now=now,
            )
            plan = self._sendable(profile, situation, past)
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
        segments = tuple(self._segments(profile, plan, system))
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

    def _sendable(self, profile: Profile, situation: Situation, past: Plan | None) -> Plan:
        """A plan whose images a request may carry: coarser where they would be too much.

        Where no smaller budget helps, the oldest pages are forgotten.
        """
        plan = self._plan(profile, situation, past)
        if plan == past or self._carries(profile, plan):
            return plan
        budget = self._tokens(profile, situation, plan, None)
        for _ in range(_TRIES):
            budget = int(budget * _SMALLER)
            with suppress(BudgetError):
                plan = self._plan(profile, replace(situation, budget=budget), past)
            if self._carries(profile, plan):
                return plan
        while not self._carries(profile, plan):
            gone = -(-len(plan.tiers) // 8)
            tiers = Tiers(bytes([Tier.FORGOTTEN]) * gone + plan.codes[gone:])
            plan = replace(plan, tiers=tiers).settled()
        return plan

    def _carries(self, profile: Profile, plan: Plan) -> bool:
        """Whether a request may carry a plan's images: pages and what stands beside them."""
        if profile.counter is not None:  # it runs here: nothing is sent
            return True
        images = list(self._images(profile, plan))
        most, room = page_images(profile), page_bytes(profile)
        if most is not None and len(images) > most:
            return False
        if sum(most_bytes(each) for each in images) <= room:
            return True
        return sum(len(self._image(each)[1]) for each in images) <= room

    def _images(self, profile: Profile, plan: Plan) -> Iterator[Segment]:
        for group in self._groups(profile, plan):
            if group.tier.is_mode:
                yield _image_segment(profile, group)
            for number in group.pages:
                yield from self._attachments(profile, self._ledger.pages[number], group.tier)

    def _plan(self, profile: Profile, situation: Situation, past: Plan | None) -> Plan:
        """What the policy makes of a situation, with the prices that pages have on sheets.

        What is over of a sheet costs more than its share. Where such a plan would not fit
        its budget, it is made for a smaller one, and last with each page's own price.
        """
        saved = self._savings(profile)
        if saved:
            less = np.array([saved.get(tier, 0) for tier in Tier])
            costs = situation.table.costs
            costs = np.where(costs == ABSENT, ABSENT, costs - less)
            on_sheets = replace(situation, pages=replace(situation.table, costs=costs))
            for _ in range(_TRIES):
                plan = self._policy.apply(on_sheets, past or Plan()).settled()
                text = situation.past if plan == past else None
                over = self._tokens(profile, situation, plan, text) - (situation.budget or 0)
                if situation.budget is None or over <= 0:
                    return plan
                on_sheets = replace(on_sheets, budget=(on_sheets.budget or 0) - over)
        return self._policy.apply(situation, past or Plan()).settled()

    def _savings(self, profile: Profile) -> Mapping[Tier, int]:
        """The tokens that each page of a mode costs less on the best of sheets."""
        if profile.provider == "local":
            return {}
        return {tier: saved for tier in profile.modes if (saved := most_saved(profile, tier))}

    def _tokens(self, profile: Profile, situation: Situation, plan: Plan, text: int | None) -> int:
        """What a context costs whose pages stand on sheets."""
        groups = self._groups(profile, plan)
        sheets = [group.sheet for group in groups if group.sheet is not None]
        lost = bytes([Tier.FORGOTTEN]) * (plan.gone - situation.gone)
        whole = replace(plan, tiers=Tiers(lost + plan.codes), gone=situation.gone)
        tokens = situation.tokens(whole, text)
        tokens -= sum(profile.page_cost(s.tier) * s.pages - s.tokens for s in sheets)
        return tokens + (self._note(profile, _SHEETS).tokens if sheets else 0)

    def _segments(self, profile: Profile, plan: Plan, system: Turn | None) -> Iterator[Segment]:
        ledger = self._ledger
        spent = ledger.spent(profile)
        if system is not None:
            yield Segment("system", ledger.extra_cost(profile, (), system), turn=system)
        for entry in ledger.tail.entries(0, ledger.head):
            tokens = spent[entry.position + 1] - spent[entry.position]
            yield Segment("system", tokens, turn=apart(entry.turn))
        yield from self._page_segments(profile, plan)
        if plan.overflow:
            yield self._rest(profile, plan)
        for entry in ledger.tail.entries(max(plan.frontier, ledger.head), len(ledger.turns)):
            tokens = spent[entry.position + 1] - spent[entry.position]
            yield Segment("turn", tokens, turn=apart(entry.turn))

    def _page_segments(self, profile: Profile, plan: Plan) -> Iterator[Segment]:
        shown, turns = self._shown_segments(profile, plan)
        if any(tier.is_mode for tier in set(plan.tiers)):
            yield self._note(profile, _LEGEND)
        if any(segment.kind == "sheet" for segment in shown):
            yield self._note(profile, _SHEETS)
        if turns is not None:
            note = self._note(profile, _FORGOTTEN.format(turns=turns))
            # Counted for the largest number that it may come to say.
            most = _FORGOTTEN.format(turns=len(self._ledger.turns))
            yield Segment("note", self._note(profile, most).tokens, note.text)
        yield from shown

    def _shown_segments(self, profile: Profile, plan: Plan) -> tuple[Sequence[Segment], int | None]:
        """Pages with what stands beside them, and how many turns are forgotten.

        The same ones until the plan changes.
        """
        wanted = (profile, plan, self._ledger.generation)
        if self._standing is None or self._standing[0] != wanted:
            shown = tuple(self._laid_out(profile, plan))
            self._standing = wanted, (shown, self._forgotten(plan))
        return self._standing[1]

    def _laid_out(self, profile: Profile, plan: Plan) -> Iterator[Segment]:
        beside: dict[int, list[Kept]] = {}
        for kept in plan.kept:
            if plan.shows(kept):
                beside.setdefault(kept.last, []).append(kept)
        for number in sorted(beside):
            if plan.tier(number) == Tier.FORGOTTEN:
                yield from self._kept(profile, beside.pop(number))
        for group in self._groups(profile, plan):
            pages = [self._ledger.pages[number] for number in group.pages]
            if group.tier == Tier.TEXT:
                for page in pages:
                    yield self._text_segment(profile, page)
                    yield from self._kept(profile, beside.get(page.number, ()))
            else:
                for page in pages:
                    yield self._caption(profile, page)
                    yield from self._kept(profile, beside.get(page.number, ()))
                yield _image_segment(profile, group)
            for page in pages:
                yield from self._attachments(profile, page, group.tier)

    def _forgotten(self, plan: Plan) -> int | None:
        """How many turns end on pages that are no longer shown; None without such pages."""
        found = plan.gone > 0 or Tier.FORGOTTEN in plan.tiers
        stops = [self._ledger.head, *(page.stop for page in self._ledger.pages[: plan.pages])]
        gone = (n for n in range(plan.pages) if plan.tier(n) == Tier.FORGOTTEN)
        return sum(stops[n + 1] - stops[n] for n in gone) if found else None

    def _groups(self, profile: Profile, plan: Plan) -> Sequence[Group]:
        """The pages that are shown, on sheets where the note that explains them pays too."""
        if profile.provider == "local":  # its encoder takes a page at a time
            return [
                Group((number,), tier)
                for number, tier in enumerate(plan.tiers, plan.gone)
                if tier != Tier.FORGOTTEN
            ]
        if self._grouped is None or self._grouped[:2] != (profile, plan):
            note = self._note(profile, _SHEETS).tokens
            found = plan_groups(profile, plan, least=note, most=page_images(profile))
            self._grouped = profile, plan, found
        return self._grouped[2]

    def _text_segment(self, profile: Profile, page: PageFacts) -> Segment:
        stored = self._store.page(self._scope, page.number)
        cost = self._ledger.page_text_cost(profile, page)
        return Segment("page_text", cost, stored.words if stored else "", page=page.number)

    def _caption(self, profile: Profile, page: PageFacts) -> Segment:
        cost = self._ledger.caption_cost(profile, page)
        return Segment("caption", cost, page.caption, page=page.number)

    def _kept(self, profile: Profile, kept: Iterable[Kept]) -> Iterator[Segment]:
        """The turns that stand as text beside a page."""
        for each in kept:
            cost = self._situations.cost(profile, each.start, each.stop)
            yield Segment("kept", cost, self._situations.words(each), page=each.last)

    def _attachments(self, profile: Profile, page: PageFacts, tier: Tier) -> Iterator[Segment]:
        size_as = tier if tier.is_mode else Tier.LARGE
        for mark in page.marks if profile.reads_images else ():
            size = faded_size(self._ledger.image(mark), size_as)
            if size is not None:
                cost = profile.image_cost(*size)
                yield Segment("attachment", cost, page=page.number, tier=size_as, mark=mark)

    def _rest(self, profile: Profile, plan: Plan) -> Segment:
        text = self._ledger.rest(plan.pages, plan.frontier)
        return Segment("rest", self._note(profile, text).tokens, text)

    def _note(self, profile: Profile, text: str) -> Segment:
        return Segment("note", self._ledger.note_cost(profile, text), text)

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
        shown = set(self._groups(profile, plan))
        for group in self._groups(profile, past):
            kept = any(all(p.tier(n) == group.tier for n in group.pages) for p in others)
            if group.sheet is not None and group not in shown and not kept:
                hashes = [self._ledger.pages[number].hash for number in group.pages]
                yield sheet_key(group.sheet, hashes)


def _image_segment(profile: Profile, group: Group) -> Segment:
    """The image of a page, or of those on a sheet."""
    if group.sheet is not None:
        sheet = group.sheet
        return Segment("sheet", sheet.tokens, tier=group.tier, sheet=sheet, pages=group.pages)
    cost = profile.page_cost(group.tier)
    return Segment("page", cost, page=group.pages[0], tier=group.tier)


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
