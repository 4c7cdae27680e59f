"""Every error that OptiMem raises on purpose.

    OptiMemError
    ├── InputError (ValueError)      what was passed in cannot be read; nothing was stored
    │   └── ConflictError            a turn id is already taken by other content
    ├── NotFoundError (LookupError)  no such session, turn, page or reader
    ├── BudgetError (ValueError)     the budget is too small, or larger than the reader's window
    ├── StoreError                   the store cannot be opened, read or written
    ├── ReaderError                  a local model cannot be loaded, or cannot do what was asked
    └── MissingExtraError (ImportError)  an optional dependency is not installed

Catch `OptiMemError` to catch them all. Each message says what to do next.
"""

from __future__ import annotations


class OptiMemError(Exception):
    """Root of all errors raised by OptiMem."""


class InputError(OptiMemError, ValueError):
    """Raised when a transcript, message or argument cannot be read as it stands."""


class ConflictError(InputError):
    """Raised when a turn id is already in the log with different content."""


class NotFoundError(OptiMemError, LookupError):
    """Raised when a session, turn, page or reader does not exist."""


class BudgetError(OptiMemError, ValueError):
    """Raised when no context fits the budget, or the budget exceeds the reader's window.

    Attributes:
        smallest: the smallest budget that would have worked, in the reader's tokens,
            or None when the budget was too large rather than too small.
    """

    def __init__(self, message: str, *, smallest: int | None = None) -> None:
        super().__init__(message)
        self.smallest = smallest


class StoreError(OptiMemError):
    """Raised when a store cannot be opened, read or written; nothing was changed."""


class ReaderError(OptiMemError):
    """Raised when a local model cannot be loaded, or cannot do what was asked of it."""


class MissingExtraError(OptiMemError, ImportError):
    """Raised when a feature needs a package that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'optimem[{extra}]'")
        self.extra = extra
