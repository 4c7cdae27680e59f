"""What a provider bills, as values."""

from __future__ import annotations

from typing import Any

import pytest

from optimem.readers.dollars import CacheRule, Dollars


def test_a_cliff_counts_from_the_token_behind_it() -> None:
    dollars = Dollars(10.0, cliffs=((200_000, 2.0), (500_000, 3.0)))
    assert [dollars.times(n) for n in (200_000, 200_001, 500_000, 500_001)] == [1.0, 2.0, 2.0, 3.0]
    assert Dollars(1.0).times(10**9) == 1.0


@pytest.mark.parametrize("wrong", [{"minimum": -1}, {"step": 0}, {"read": -0.1}, {"life": -1.0}])
def test_rules_that_no_cache_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        CacheRule(**wrong)
