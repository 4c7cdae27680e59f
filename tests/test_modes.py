"""The page grid is whole in every mode, and tiers are ordered from sharp to gone."""

from __future__ import annotations

import pytest

from optimem.modes import COLUMNS, MODES, ROWS, Tier


def test_every_mode_shows_the_same_grid_in_whole_pixels() -> None:
    cells = {tier.label: tier.cell for tier in MODES}
    assert cells == {
        "gundam": (10, 20),
        "large": (10, 20),
        "base": (8, 16),
        "px896": (7, 14),
        "px768": (6, 12),
        "small": (5, 10),
        "tiny": (4, 8),
    }
    for tier in MODES:
        assert (COLUMNS * tier.cell[0], ROWS * tier.cell[1]) == (tier.side, tier.side)


def test_a_more_faded_mode_has_no_more_pixels() -> None:
    sides = [tier.side for tier in MODES]
    assert sides == sorted(sides, reverse=True)
    assert min(Tier) == Tier.TEXT and max(Tier) == Tier.FORGOTTEN


def test_labels_read_back() -> None:
    assert [Tier.parse(tier.label) for tier in Tier] == list(Tier)
    assert Tier.parse("Base") == Tier.BASE
    with pytest.raises(ValueError, match="unknown tier 'huge': use one of text, gundam"):
        Tier.parse("huge")


@pytest.mark.parametrize("tier", [Tier.TEXT, Tier.FORGOTTEN])
def test_what_is_no_mode_has_no_size(tier: Tier) -> None:
    assert not tier.is_mode
    with pytest.raises(ValueError, match="is not a mode"):
        _ = tier.side
