"""What a session is begun with comes back from the store, and is not quietly replaced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem import InputError, Memory
from optimem.renderers.layout import PageStyle
from optimem.settings import Settings, settle

SETTINGS = st.builds(
    Settings,
    st.sampled_from(["o200k", "chars"]),
    st.builds(PageStyle, st.sampled_from(["native", "area"]), st.sampled_from(["auto", "lines"])),
    st.integers(0, 500),
)


@given(SETTINGS)
def test_settings_come_back(settings: Settings) -> None:
    assert Settings.from_json(settings.to_json()) == settings


def test_what_an_earlier_version_did_not_keep_has_its_default() -> None:
    assert Settings.from_json({"counter": "chars"}) == Settings("chars")


@given(SETTINGS, SETTINGS)
def test_they_are_settled_with_the_first_turn(first: Settings, later: Settings) -> None:
    with Memory.open(
        "memory://", counter=first.counter, style=first.style, caption_tokens=first.caption_tokens
    ) as memory:
        memory.append({"role": "user", "content": "hello"})
        store, scope = memory.store, memory.scope
        assert settle(store, scope, "auto", None, None) == first
        asked = (later.counter, later.style, later.caption_tokens)
        if later == first:
            assert settle(store, scope, *asked) == first
        else:
            with pytest.raises(InputError, match="session 'default' was begun with"):
                settle(store, scope, *asked)
