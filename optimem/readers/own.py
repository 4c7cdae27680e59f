"""The file of a user's own readers, which `$OPTIMEM_READERS` names: its rows read and written."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimem.errors import InputError


def read_row(path: Path, name: str) -> dict[str, Any]:
    """A reader's row in a file of readers; empty without one.

    Raises:
        InputError: the file cannot be read.
    """
    row: dict[str, Any] = _read_readers(path)["models"].get(name, {})
    return row


def write_row(path: Path, name: str, row: Mapping[str, Any]) -> None:
    """Put a reader's row into a file of readers, beside those that are there.

    Raises:
        InputError: the file cannot be read or written.
    """
    readers = _read_readers(path)
    readers["models"][name] = dict(row)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(readers, indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _read_readers(path: Path) -> dict[str, Any]:
    try:
        readers = json.loads(path.read_text("utf-8")) if path.exists() else {}
        readers.setdefault("models", {}).items()
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no file of readers: {error}") from None
    return dict(readers)
