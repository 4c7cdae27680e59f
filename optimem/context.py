"""The context: what a reader is sent, as ordered segments within a token budget.

The order is system, pages from the oldest on with their captions, then text. Between
epochs everything in front of the text is the same, byte for byte.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimem.errors import InputError
from optimem.readers import Profile
from optimem.readers.openai import Image
from optimem.readers.request import check_format, messages_for, request_for, system_for
from optimem.retry import is_refused, is_too_large, was_cut
from optimem.values import Json, Plan, Segment
from optimem.vision_reader import VisionSession

Again = Callable[[Profile, "int | None"], "Context"]
"""Makes a context of the same session for another reader and budget."""


@dataclass(frozen=True, slots=True, repr=False)
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
    image: Image = field(compare=False)
    vision: VisionSession | None = field(default=None, compare=False)
    again: Again | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        turns = sum(segment.kind == "turn" for segment in self.segments)
        return (
            f"<Context for {self.reader.name}: {self.tokens:,} tokens (as text"
            f" {self.text_tokens:,}), {self.page_images} pages, {turns} turns>"
        )

    @property
    def page_images(self) -> int:
        """How many pages are shown as images, by themselves or on sheets."""
        shown = (segment for segment in self.segments if segment.kind in ("page", "sheet"))
        return sum(len(segment.pages) or 1 for segment in shown)

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
            refused = is_refused(reply)
            other = await (to_thread(self.as_text) if refused else to_thread(self.smaller))
        return await create(**_joined(await to_thread(other.request), arguments))

    def _again(self, reader: Profile, budget: int | None) -> Context:
        if self.again is None:
            raise InputError("this context cannot be made again: make it with Memory.context")
        return self.again(reader, budget)


def _joined(request: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a call; a config of the caller's own stands beside ours."""
    config = {**request.get("config", {}), **arguments.get("config", {})}
    return {**request, **arguments, **({"config": config} if config else {})}
