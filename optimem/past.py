"""Taking turns out of a session, with everything that was made of them."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from optimem.errors import NotFoundError
from optimem.ledger import Ledger
from optimem.recall import SearchIndex, index_entries
from optimem.stores import Store
from optimem.values import Scope


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `forget` removed.

    Attributes:
        turns: turns that are gone.
        pages: pages that were removed; those that held other turns too are laid out again.
        hash: SHA-256 over the ids of the forgotten turns, never over their words.
    """

    turns: int
    pages: int
    hash: str


class Past:
    """Changes what a session has been. Call its verbs with the ledger in step with the store.

    Args:
        store: where the session lives.
        scope: whose it is.
        ledger: the session's facts.
        index: the session's search index.
    """

    def __init__(
        self,
        store: Store,
        scope: Scope,
        ledger: Ledger,
        index: SearchIndex,
    ) -> None:
        self._store = store
        self._scope = scope
        self._ledger = ledger
        self._index = index

    def position(self, turn_id: str) -> int:
        """Where a turn stands; raises NotFoundError."""
        position = self._store.position(self._scope, turn_id)
        if position is None:
            raise NotFoundError(f"no turn {turn_id!r} in session {self._scope.session!r}")
        return position

    def drop(self) -> Receipt:
        """Remove the whole session."""
        ids = [entry.turn.id for entry in self._store.entries(self._scope)]
        pages = len(self._ledger.pages)
        dropped = self._store.drop(self._scope)
        self._ledger.read()  # a session that is begun anew counts from 0, as this one did
        self._store.purge()
        return Receipt(dropped, pages, _ids_hash(ids))

    def forget(self, turns: Sequence[str], before: str | None) -> Receipt:
        """Remove turns, and the calls and results that belong to them; see `Memory.forget`."""
        while True:
            wanted = {self.position(turn_id) for turn_id in turns}
            if before is not None:
                wanted |= set(range(self.position(before)))
            positions = sorted(self._ledger.exchanges.closure(wanted, self._ledger.turns))
            entries = [
                entry
                for position in positions
                for entry in self._store.entries(self._scope, position, position + 1)
            ]
            ids = [entry.turn.id for entry in entries]
            if not ids:
                return Receipt(0, 0, _ids_hash([]))
            self._store.recompress(self._scope)
            seen = self._index.catch_up()
            kept = self._untouched_pages(positions[0])
            pages = len(self._ledger.pages) - kept
            postings = index_entries(entries)
            removed = self._store.erase(self._scope, positions, kept, postings, seen)
            if removed is not None:
                self._ledger.read()  # it has words of them at hand
                self._store.purge()
                return Receipt(removed, pages, _ids_hash(ids))
            self._ledger.sync()  # others changed the session meanwhile

    def rewind(self, to: str) -> None:
        """Drop every turn behind this one; raises NotFoundError."""
        while True:
            length = self.position(to) + 1
            self._store.recompress(self._scope)
            seen = self._index.catch_up()
            postings = index_entries(self._store.entries(self._scope, length, seen.indexed))
            kept = self._untouched_pages(length)
            plans = self._store.plans(self._scope)
            if self._store.rewind(self._scope, length, kept, postings, seen):
                for name, plan in plans.items():  # those of what is left go on, byte for byte
                    if plan.frontier <= length and plan.pages <= kept and not plan.overflow:
                        self._store.swap_plan(self._scope, name, plan, None, ())
                self._ledger.read()  # it has words of them at hand
                self._store.purge()
                return
            self._ledger.sync()  # others changed the session meanwhile

    def traces(self, text: str) -> list[str]:
        """Where a text still stands in what is stored; see `Memory.traces`."""
        once = _as_json({text})
        twice = _as_json(once)  # JSON within JSON: arguments of calls
        spellings = {part.encode("utf-8", "surrogatepass") for part in {text} | once | twice}
        found = self._store.stored(self._scope)
        places = (place for place, data in found if any(part in data for part in spellings))
        return list(dict.fromkeys(places))

    def _untouched_pages(self, position: int) -> int:
        """How many leading pages hold nothing of the turns from `position` on."""
        return bisect_left([facts.last for facts in self._ledger.pages], position)


def _as_json(texts: set[str]) -> set[str]:
    """Texts as they stand within JSON that escapes all but ASCII, or no more than it must."""
    return {
        json.dumps(text, ensure_ascii=escaped)[1:-1] for text in texts for escaped in (False, True)
    }


def _ids_hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode("utf-8", "surrogatepass")).hexdigest()
