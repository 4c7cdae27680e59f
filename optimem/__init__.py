"""OptiMem: memory for LLM agents that fades like a person's.

Recent turns stay text; older ones become page images that step down in resolution and
finally leave the context, while their exact words stay one recall away.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimem.context import Context
    from optimem.errors import (
        BudgetError,
        ConflictError,
        InputError,
        MissingExtraError,
        NotFoundError,
        OptiMemError,
        ReaderError,
        StoreError,
    )
    from optimem.history import ChatHistory
    from optimem.looking import Stats
    from optimem.memory import Memory
    from optimem.modes import Tier
    from optimem.past import Receipt
    from optimem.readers import Profile
    from optimem.recall import Recalled
    from optimem.values import Turn

__version__ = "0.1.0"

_HOMES = {
    "BudgetError": "errors",
    "ChatHistory": "history",
    "ConflictError": "errors",
    "Context": "context",
    "InputError": "errors",
    "Memory": "memory",
    "MissingExtraError": "errors",
    "NotFoundError": "errors",
    "OptiMemError": "errors",
    "Profile": "readers",
    "ReaderError": "errors",
    "Recalled": "recall",
    "Receipt": "past",
    "Stats": "looking",
    "StoreError": "errors",
    "Tier": "modes",
    "Turn": "values",
}

__all__ = [
    "BudgetError",
    "ChatHistory",
    "ConflictError",
    "Context",
    "InputError",
    "Memory",
    "MissingExtraError",
    "NotFoundError",
    "OptiMemError",
    "Profile",
    "ReaderError",
    "Recalled",
    "Receipt",
    "Stats",
    "StoreError",
    "Tier",
    "Turn",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import optimem` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'optimem' has no attribute {name!r}")
    return getattr(import_module(f"optimem.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
