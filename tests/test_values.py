"""The values have one home to import them from, and a scope is named by strings."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from optimem import pages, plans, turns, values
from optimem.errors import InputError
from optimem.values import Scope, Segment

KINDS = get_args(get_type_hints(Segment)["kind"])


@pytest.mark.parametrize("names", [("default", 42), (None, "42")])
def test_sessions_are_named_by_strings(names: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="is named by a string, not"):
        Scope(*names)


def test_all_values_are_in_one_place() -> None:
    for module in (turns, pages, plans):
        public = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
        ]
        assert public and all(getattr(values, name) is vars(module)[name] for name in public)


def test_segments_that_are_images() -> None:
    shown = {kind for kind in KINDS if Segment(kind, 1).is_image}
    assert shown == {"page", "sheet", "attachment"}
