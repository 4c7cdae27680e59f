"""Recall by meaning: a user's embedding function, its vectors kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from optimem.errors import InputError
from optimem.stores import Store
from optimem.values import Entry, Scope

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""Turns texts into vectors of one length."""


def similar_turns(store: Store, scope: Scope, embed: Embed, query: str) -> list[int]:
    """Positions of all turns by falling cosine similarity to the query.

    Raises:
        InputError: `embed` gave too few vectors, or others than those that are kept.
    """
    vectors: dict[int, bytes] = {}
    missing: list[Entry] = []
    for entry in store.entries(scope):
        data = store.blob(scope, _key(entry))
        if data is None:
            missing.append(entry)
        else:
            vectors[entry.position] = data
    if missing:
        made = _embedded(embed, [entry.turn.text for entry in missing])
        for entry, vector in zip(missing, made, strict=True):
            vectors[entry.position] = store.put_blob(scope, _key(entry), vector.tobytes())
    if not vectors:
        return []
    positions = sorted(vectors)
    wanted = _embedded(embed, [query])[0]  # (d,)
    kept = [np.frombuffer(vectors[at], np.float32) for at in positions]
    if other := next((len(vector) for vector in kept if len(vector) != len(wanted)), 0):
        raise InputError(
            f"embed gives vectors of {len(wanted)} numbers, and those of earlier turns have"
            f" {other}: use the function that the session was begun with"
        )
    table = np.stack(kept)  # (turns, d)
    norms = np.linalg.norm(table, axis=1) * np.linalg.norm(wanted)
    scores = table @ wanted / np.maximum(norms, 1e-12)
    return [positions[index] for index in np.argsort(-scores, kind="stable")]


def _embedded(embed: Embed, texts: list[str]) -> NDArray[np.float32]:
    """A vector for each text: (texts, d)."""
    made = np.asarray(embed(texts), np.float32)
    if made.ndim != 2 or len(made) != len(texts):
        raise InputError(f"embed gave {made.shape} for {len(texts)} texts, not a vector for each")
    return made


def _key(entry: Entry) -> str:
    return f"vector/{sha256(entry.turn.id.encode('utf-8', 'surrogatepass')).hexdigest()}"
