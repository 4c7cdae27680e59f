"""A reader's profile: what it takes for text and images, and which pages it can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal, Protocol

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.readers import open_prices, prices
from optimem.readers.dollars import CacheRule, Dollars
from optimem.readers.prices import ImageCost
from optimem.values import Json, Segment, Turn

Rule = Callable[..., ImageCost]

RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        prices.openai_patches,
        prices.openai_tiles,
        prices.claude,
        prices.gemini_budget,
        prices.gemini_tiles,
        prices.deepseek_flash,
        prices.xai_tiles,
        prices.no_image,
        open_prices.smart_resize,
        open_prices.kimi,
        open_prices.mistral,
        open_prices.internvl,
        open_prices.idefics3,
        open_prices.llama4,
        open_prices.got_ocr2,
        open_prices.deepseek_ocr,
        open_prices.deepseek_ocr2,
    )
}
"""The price rules by name, as the table of profiles names them."""


Format = Literal["openai", "responses", "anthropic", "gemini"]
"""The shape of a request: OpenAI's chat completions or responses, Anthropic's or Gemini's."""

REQUEST_BYTES = 18 << 20
"""The most bytes of a request by default: proxies and gateways take less than providers."""


class PositionCounter(Protocol):
    """Counts what a local model's decoder is given, piece by piece and exactly."""

    def text(self, text: str) -> int:
        """Positions of a line of text beside pages."""
        ...

    def turn(self, turn: Turn) -> int:
        """Positions of a whole message: its frame, its words, its images."""
        ...

    def tools(self, tools: Sequence[Mapping[str, Json]]) -> int:
        """Positions of tool schemas."""
        ...

    def frame(self, *, has_system: bool, has_pages: bool) -> int:
        """Positions of what stands around everything else, up to where the answer begins."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one reader. Pass your own wherever a reader's name is taken.

    Attributes:
        name: "provider:model".
        provider: who serves it; "local" for models that you run.
        format: shape of the requests that it takes.
        rule: price rule of images, one of `RULES` or your own of the same shape.
        modes: the modes it reads unshrunk, each with the level of detail to ask for; none for
            models that read no images, or that bill them too high.
        parameters: what the rule takes for this model.
        levels: what the rule takes besides for each level of detail, or for each mode.
        default: level of an image that is sent as it is.
        window: most input tokens, None when unknown.
        text_factor: its text tokens for each one of o200k.
        dollars: what its tokens cost; None when unknown.
        cache: how its prompts are cached, and at what price; None when unknown.
        limits: what it rejects more of: `images` in a request, bytes (`request_bytes`,
            `image_bytes`, of an image in base64), px along a `side`, 32 px `patches`; with
            more than `many_images` images, px above `many_images_side`.
        request_bytes: the most bytes of a request's images that contexts are made for.
        image_roles: whose messages may carry images; none for models that read text alone.
        image_formats: MIME types of the images that it takes.
        fidelity: the share of characters that it was seen to read in each mode, from 0 to 1.
        image_factor: billed image tokens for each one of the rule, as learned from bills.
        note: what is assumed.
        sources: where the numbers are from.
        guessed_from: name of the profile that this one was guessed from.
        counter: counts its text exactly; None where the session's counter has to do.
    """

    name: str
    provider: str
    format: Format
    rule: Rule
    modes: Mapping[Tier, str | None] = field(hash=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    levels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    default: str | None = None
    window: int | None = None
    text_factor: float = 1.0
    dollars: Dollars | None = None
    cache: CacheRule | None = None
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)
    request_bytes: int = REQUEST_BYTES
    image_roles: tuple[str, ...] = ("user",)
    image_formats: tuple[str, ...] = ("image/png", "image/jpeg")
    fidelity: Mapping[Tier, float] = field(default_factory=dict, hash=False)
    image_factor: float = 1.0
    note: str = ""
    sources: tuple[str, ...] = ()
    guessed_from: str | None = None
    counter: PositionCounter | None = field(default=None, hash=False, repr=False)

    @property
    def model(self) -> str:
        """The name without its provider, as the provider's API takes it."""
        return self.name.partition(":")[2] or self.name

    @property
    def reads_images(self) -> bool:
        """Whether it takes images at all."""
        return bool(self.image_roles)

    @property
    def marks_cache(self) -> bool:
        """Whether a request in OpenAI's shape may say where its lasting part ends."""
        marks = self.cache is not None and self.cache.breakpoints is not None
        return marks and self.provider == "openai"

    def detail(self, segment: Segment) -> str | None:
        """The level of detail to ask for an image of a context."""
        return segment.sheet.level if segment.sheet else self.modes.get(segment.tier)

    @property
    def notices(self) -> tuple[str, ...]:
        """What is assumed of it, or missing, as sentences."""
        found = []
        if self.guessed_from is not None:
            found.append(
                f"{self.name} is not in the table: the rules of {self.guessed_from} are assumed,"
                " without prices and window"
            )
        if not self.reads_images:
            found.append(f"{self.name} reads no images: older turns stay text, then leave")
        elif not self.modes:
            found.append(f"{self.name} is shown no pages: older turns stay text, then leave")
        return tuple(found)

    def page_image(self, tier: Tier) -> ImageCost:
        """Cost and seen pixels of one page in a mode; raises InputError for other tiers."""
        if tier not in self.modes:
            readable = ", ".join(mode.label for mode in self.modes) or "text alone"
            raise InputError(f"{self.name} does not read {tier.label} pages: it reads {readable}")
        return self.bill(tier.side, tier.side, self.modes[tier] or tier.label)

    def page_cost(self, tier: Tier) -> int:
        """Tokens of one page in a mode; raises InputError for tiers that it does not read."""
        return self.page_image(tier).tokens

    def image_cost(self, width: int, height: int) -> int:
        """Tokens of an image sent as it is; an unknown size (0) counts as 1024 x 1024."""
        if width <= 0 or height <= 0:
            width = height = 1024
        return self.bill(width, height, self.default or "").tokens

    def text_cost(self, tokens: int) -> int:
        """Its own tokens for text of so many o200k tokens, rounded up."""
        return ceil(tokens * self.text_factor - 1e-6)

    def bill(self, width: int, height: int, level: str | None = None) -> ImageCost:
        """Cost and seen pixels of an image at a level of detail."""
        cost = self.rule(width, height, **self.parameters, **self.levels.get(level or "", {}))
        if self.image_factor == 1:
            return cost
        return ImageCost(ceil(cost.tokens * self.image_factor - 1e-6), cost.seen)
