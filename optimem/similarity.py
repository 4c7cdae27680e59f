"""Recall by meaning: a user's embedding function, its vectors kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np

from optimem.stores import Store
from optimem.values import Entry, Scope

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""Turns texts into vectors of one length."""


def similar_turns(store: Store, scope: Scope, embed: Embed, query: str) -> list[int]:
    """Positions of all turns by falling cosine similarity to the query."""
    vectors: dict[int, bytes] = {}
    missing: list[Entry] = []
    for entry in store.entries(scope):
        data = store.blob(scope, _key(entry))
        if data is None:
            missing.append(entry)
        else:
            vectors[entry.position] = data
    if missing:
        made = np.asarray(embed([entry.turn.text for entry in missing]), np.float32)
        for entry, vector in zip(missing, made, strict=True):
            vectors[entry.position] = store.put_blob(scope, _key(entry), vector.tobytes())
    if not vectors:
        return []
    positions = sorted(vectors)
    table = np.stack([np.frombuffer(vectors[at], np.float32) for at in positions])  # (turns, d)
    wanted = np.asarray(embed([query]), np.float32)[0]  # (d,)
    norms = np.linalg.norm(table, axis=1) * np.linalg.norm(wanted)
    scores = table @ wanted / np.maximum(norms, 1e-12)
    return [positions[index] for index in np.argsort(-scores, kind="stable")]


def _key(entry: Entry) -> str:
    return f"vector/{sha256(entry.turn.id.encode('utf-8', 'surrogatepass')).hexdigest()}"
