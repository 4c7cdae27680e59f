"""What a session is begun with, and keeps: how it counts, and how its pages are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from optimem.errors import InputError
from optimem.renderers.layout import PageStyle
from optimem.stores import Store
from optimem.tokens import find_counter
from optimem.values import Json, Scope

_CAPTION_TOKENS = 56  # at most 64 positions of DeepSeek-OCR's decoder


@dataclass(frozen=True, slots=True)
class Settings:
    """Settled with a session's first turn, the same for all who share it.

    Attributes:
        counter: name of its text-token counter.
        style: how its pages are laid out and drawn.
        caption_tokens: the most tokens beside each page for its place and anchors.
    """

    counter: str
    style: PageStyle = PageStyle()
    caption_tokens: int = _CAPTION_TOKENS

    def to_json(self) -> dict[str, Json]:
        """As the store keeps them."""
        rest = {"counter": self.counter, "caption_tokens": self.caption_tokens}
        return {**asdict(self.style), **rest}

    @classmethod
    def from_json(cls, stored: Mapping[str, Json]) -> Settings:
        """The inverse of `to_json`; what an earlier version did not keep has its default."""
        style = {key: stored[key] for key in asdict(PageStyle()) if key in stored}
        return cls(
            str(stored["counter"]),
            PageStyle(**style),
            int(stored.get("caption_tokens", _CAPTION_TOKENS)),
        )


def settle(
    store: Store, scope: Scope, counter: str, style: PageStyle | None, caption_tokens: int | None
) -> Settings:
    """The settings that a session was begun with, else the given ones, else the defaults.

    Args:
        store: where the session lives.
        scope: whose it is.
        counter: "auto" for whatever it was begun with.
        style: None likewise.
        caption_tokens: None likewise.

    Raises:
        InputError: the session was begun with other settings.
    """
    stored = store.state(scope).settings
    if not stored:
        room = _CAPTION_TOKENS if caption_tokens is None else caption_tokens
        return Settings(find_counter(counter).name, style or PageStyle(), room)
    settings = Settings.from_json(stored)
    asked = {
        "counter": None if counter == "auto" else counter,
        "style": style,
        "caption_tokens": caption_tokens,
    }
    for key, value in asked.items():
        begun = getattr(settings, key)
        if value is not None and value != begun:
            raise InputError(
                f"session {scope.session!r} was begun with {key}={begun!r}:"
                f" open it without {key}, or begin another session"
            )
    return settings
