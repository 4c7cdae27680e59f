"""Images of pages: drawn once, kept by the store, gone when no plan shows them."""

from __future__ import annotations

import io
import uuid
from typing import Any

import PIL.Image
import pytest

from optimem import Memory, StoreError
from optimem.demo import packaged_session
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_png
from optimem.stores.sqlite import SQLiteStore
from optimem.values import Page, Segment


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


def lose_blobs(memory: Memory) -> None:
    """As an eviction does: the store itself does not know of it."""
    store: Any = memory.store
    if isinstance(store, SQLiteStore):
        with store._database.write() as db:
            db.execute("DELETE FROM blob")
    else:
        for key in store._client.scan_iter(f"{store.steps._prefix}:*:blob:*"):
            store._client.unlink(key)


def another_build(page: Page, tier: Tier, style: PageStyle) -> bytes:
    """The same pixels, deflated otherwise."""
    image = io.BytesIO()
    PIL.Image.open(io.BytesIO(page_png(page, tier, style))).save(image, "PNG", compress_level=9)
    return image.getvalue()


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    return f"{request.getfixturevalue('redis_url')}?prefix={uuid.uuid4().hex}"


def test_other_bytes_for_a_lost_image_are_an_epoch(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Memory.open(url) as memory:
        memory.extend(packaged_session()[:40])
        context = memory.context("gpt-6-astra", 9_000)
        other = memory.context("gpt-6-astra", 100_000)
        once, epochs = context.messages(), memory.stats().epochs
        lose_blobs(memory)
        assert context.messages() == once  # they are at hand here, and drawn alike elsewhere
        assert Memory(memory.store, memory.scope).context("gpt-6-astra", 9_000).messages() == once
        assert memory.stats().epochs == epochs and not caplog.records

        monkeypatch.setattr("optimem.renderers.page.page_png", another_build)
        lose_blobs(memory)
        assert len(pages_of(context)) > 1
        elsewhere = Memory(memory.store, memory.scope).context("gpt-6-astra", 9_000)
        assert elsewhere.messages() != once
        assert "an image of session 'default' was lost (page 0, " in caplog.text
        assert len(caplog.records) == 1
        again = memory.context("gpt-6-astra", 9_000)
        assert again.plan.epoch == context.plan.epoch + 1
        assert again.plan.tiers == context.plan.tiers
        assert memory.context("gpt-6-astra", 100_000).plan == other.plan
        assert sorted(memory.stats().epochs.values()) == sorted(
            (again.plan.epoch, other.plan.epoch)
        )
        assert context.messages() == again.messages()
        assert len(caplog.records) == 1


def test_who_draws_a_lost_image_last_counts_no_second_epoch(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(url) as memory:
        memory.extend(packaged_session()[:40])
        context = memory.context("gpt-6-astra", 9_000)
        segment = pages_of(context)[0]
        context.image(segment)
        context = Memory(memory.store, memory.scope).context("gpt-6-astra", 9_000)
        lose_blobs(memory)

        def overtaken(page: Page, tier: Tier, style: PageStyle) -> bytes:
            monkeypatch.setattr("optimem.renderers.page.page_png", another_build)
            context.image(segment)
            return another_build(page, tier, style)

        monkeypatch.setattr("optimem.renderers.page.page_png", overtaken)
        context.image(segment)
        assert memory.context("gpt-6-astra", 9_000).plan.epoch == context.plan.epoch + 1


def test_a_faded_pages_sharper_image_leaves_the_store() -> None:
    ladder = ((Tier.LARGE, 2.0), (Tier.TINY, 20.0))
    with Memory.open(
        "memory://", policy=Epochs((AgeDecay(ladder=ladder),), saving=0, horizon=10**9)
    ) as memory:
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
