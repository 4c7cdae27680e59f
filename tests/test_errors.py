"""One root, and each error is also what plain Python code would catch."""

from __future__ import annotations

import pytest

from optimem import errors


def test_one_root_catches_them_all() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(found) == 8
    assert all(issubclass(error, errors.OptiMemError) for error in found)
    assert all(error.__name__ in (errors.__doc__ or "") for error in found)


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (errors.InputError, ValueError),
        (errors.ConflictError, errors.InputError),
        (errors.NotFoundError, LookupError),
        (errors.BudgetError, ValueError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_plain_code_catches_them_too(error: type[Exception], plain: type[Exception]) -> None:
    assert issubclass(error, plain)


def test_a_missing_extra_says_what_to_install() -> None:
    error = errors.MissingExtraError("the o200k token counter", "tokens")
    assert str(error).endswith("pip install 'optimem[tokens]'") and error.extra == "tokens"


def test_a_budget_error_carries_the_smallest_budget() -> None:
    assert errors.BudgetError("too small", smallest=80).smallest == 80
