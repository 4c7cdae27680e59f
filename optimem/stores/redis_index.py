"""The search index in Redis, as steps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from optimem.stores import codec
from optimem.stores.postings import BLOCK, POSTING, Postings, without
from optimem.stores.protocol import SessionState
from optimem.stores.redis_commands import RedisKeys, Steps, Value
from optimem.stores.redis_scripts_index import FREQUENCIES, INDEX, POSTINGS
from optimem.values import Scope


class RedisIndex(RedisKeys):
    """The verbs of the Store protocol for the search index."""

    def index(self, scope: Scope, postings: Postings, stop: int, seen: SessionState) -> Steps[bool]:
        values: list[Value] = [seen.generation, seen.indexed, stop, seen.indexed // BLOCK]
        values += (postings.documents, postings.terms)
        for term, data in postings.by_term.items():
            values += (self._term(scope, term), data)
        (done,) = yield [self._call(INDEX, scope, values)]
        return bool(done)

    def frequencies(self, scope: Scope, terms: Iterable[str]) -> Steps[dict[str, int]]:
        wanted = list(terms)
        names = [self._term(scope, term) for term in wanted]
        (sizes,) = yield [self._call(FREQUENCIES, scope, [BLOCK, *names])]
        return {
            term: int(size) // POSTING.itemsize
            for term, size in zip(wanted, sizes, strict=True)
            if size
        }

    def completions(self, scope: Scope, prefixes: Iterable[str], limit: int) -> Steps[list[str]]:
        if self._cipher(scope).mark:
            return []  # keyed hashes have no beginnings
        terms = self._keys(scope)[7]
        firsts = [codec.encode_name(prefix) for prefix in prefixes]
        if not firsts:
            return []
        ranges = ((b"[" + first, b"(" + first + b"\xff") for first in firsts)
        found = yield [
            ("ZRANGEBYLEX", terms, first, last, "LIMIT", 0, limit) for first, last in ranges
        ]
        return [codec.decode_name(term) for term in chain.from_iterable(found) if term]

    def postings(self, scope: Scope, terms: Iterable[str]) -> Steps[dict[str, bytes]]:
        wanted = list(terms)
        names = [self._term(scope, term) for term in wanted]
        (packed,) = yield [self._call(POSTINGS, scope, [BLOCK, *names])]
        return {term: data for term, data in zip(wanted, packed, strict=True) if data}

    def _taken_back(
        self, scope: Scope, pages: int, postings: Postings, gone: set[int], seen: SessionState
    ) -> Steps[list[Value]]:
        """The arguments that take turns out of the index; they hold while nothing moves."""
        index = self._keys(scope)[6]
        blocks = range(-(-seen.indexed // BLOCK))
        names = [self._term(scope, term) for term in postings.by_term]
        fields = [[b"%s\0%d" % (name, block) for block in blocks] for name in names]
        found = yield [("HMGET", index, *row) for row in fields if row]
        taken: list[Value] = []
        for name, row, packed in zip(names, fields, found, strict=False):
            there = [(field, data) for field, data in zip(row, packed, strict=True) if data]
            kept = [(field, without(data, gone)) for field, data in there]
            dead = not any(data for _, data in kept)
            for field, data in kept:
                taken += (name if dead else b"", field, data)
        counts = (pages, postings.documents, postings.terms, len(taken) // 3)
        return [*counts, *taken]

    def _term(self, scope: Scope, term: str) -> bytes:
        return self._cipher(scope).label(codec.encode_name(term))
