"""Images of pages: drawn once, kept by the store, gone when no plan shows them."""

from __future__ import annotations

from typing import Any

import pytest

from optimem import Memory, StoreError
from optimem.demo import packaged_session
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs
from optimem.renderers.page import page_png
from optimem.values import Segment


def pages_of(context: Any) -> list[Segment]:
    return [segment for segment in context.segments if segment.kind == "page"]


def test_the_first_writers_bytes_are_everyones(monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session()[:40])
        context = memory.context("gpt-6-astra", 9_000)
        segment = pages_of(context)[0]
        media_type, data = context.image(segment)
        assert media_type == "image/png"
        assert data == page_png(memory.page(segment.page or 0), segment.tier)
        # Another build of zlib would give other bytes: the stored ones are sent all the same.
        monkeypatch.setattr("optimem.renderers.page.page_png", lambda *_: b"other bytes")
        assert context.image(segment) == (media_type, data)


def test_a_lost_image_is_drawn_again() -> None:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session()[:40])
        context = memory.context("gpt-6-astra", 9_000)
        once = context.messages()
        keys = [f"png/{memory.page(s.page or 0).hash}/{s.tier.label}" for s in pages_of(context)]
        assert all(memory.store.blob(memory.scope, key) for key in keys)
        memory.store.drop_blobs(memory.scope, keys)
        assert not any(memory.store.blob(memory.scope, key) for key in keys)
        assert context.messages() == once


def test_a_faded_pages_sharper_image_leaves_the_store() -> None:
    ladder = ((Tier.LARGE, 2.0), (Tier.TINY, 20.0))
    with Memory.open("memory://", policy=Epochs((AgeDecay(ladder=ladder),), saving=0)) as memory:
        for turn in packaged_session()[:40]:
            memory.append(turn)
            memory.context("gpt-6-astra").messages()
        name = memory.page(0).hash
        assert memory.context("gpt-6-astra").plan.tier(0) == Tier.TINY
        assert memory.store.blob(memory.scope, f"png/{name}/tiny") is not None
        assert memory.store.blob(memory.scope, f"png/{name}/large") is None


def test_what_is_no_image_is_refused() -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "one"})
        context = memory.context("gpt-6-astra", 1_000)
        with pytest.raises(StoreError, match="is no image"):
            context.image(context.segments[0])
