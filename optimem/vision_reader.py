"""What a context needs of a model that runs here; `optimem.vision.LocalReader` is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from optimem.modes import Tier
from optimem.readers import Profile
from optimem.readers.openai import Image
from optimem.renderers.layout import PageStyle
from optimem.stores import Store
from optimem.values import Json, Scope, Segment

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
