"""Local readers: models that run here and take old pages as vision tokens.

    from optimem.vision import LocalReader

    reader = LocalReader.load("deepseek-ai/DeepSeek-OCR")
    inputs = memory.context(reader=reader, budget=4_000).model_inputs()
    reader.model.generate(**inputs)

Importing this package loads neither torch nor transformers; using it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from optimem.errors import MissingExtraError

if TYPE_CHECKING:
    from optimem.vision.got import part_prompt
    from optimem.vision.inputs import ModelInputs, Past, Span, batch
    from optimem.vision.lines import find_line
    from optimem.vision.reader import LocalReader

_HOMES = {
    "LocalReader": "reader",
    "ModelInputs": "inputs",
    "Past": "inputs",
    "Span": "inputs",
    "batch": "inputs",
    "find_line": "lines",
    "part_prompt": "got",
}

__all__ = ["LocalReader", "ModelInputs", "Past", "Span", "batch", "find_line", "part_prompt"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'optimem.vision' has no attribute {name!r}")
    try:
        import_module("torch")
        import_module("transformers")
        import_module("safetensors")
    except ImportError:
        raise MissingExtraError(f"optimem.vision.{name}", "vision") from None
    return getattr(import_module(f"optimem.vision.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
