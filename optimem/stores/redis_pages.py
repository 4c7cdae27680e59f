"""What Redis can lose and have made again: pages, plans and blobs, as steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimem.errors import StoreError
from optimem.stores import codec
from optimem.stores.redis_commands import RedisKeys, Steps, Value, milliseconds
from optimem.stores.redis_scripts_pages import ADD_PAGES, PUT_BLOB, SWAP_PLAN
from optimem.values import Page, PageFacts, Plan, Scope


class RedisPages(RedisKeys):
    """The verbs of the Store protocol for pages, plans and blobs."""

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> Steps[bool]:
        cipher = self._cipher(scope)
        values: list[Value] = [generation]
        for page, facts in pages:
            values += (page.number, cipher.seal(codec.encode_page_facts(facts), b"page facts"))
            values.append(cipher.seal(codec.encode_page(page), b"page"))
        (done,) = yield [self._call(ADD_PAGES, scope, values)]
        return bool(done)

    def page(self, scope: Scope, number: int) -> Steps[Page | None]:
        (body,) = yield [("HGET", self._keys(scope)[4], f"b{number}")]
        if body is None:
            return None
        return codec.decode_page(self._cipher(scope).open(body, b"page"), number)

    def page_facts(
        self, scope: Scope, start: int = 0, stop: int | None = None
    ) -> Steps[list[PageFacts]]:
        pages, cipher = self._keys(scope)[4], self._cipher(scope)
        if stop is None:
            (fields,) = yield [("HLEN", pages)]
            stop = int(fields) // 2
        numbers = range(start, stop)
        if not numbers:
            return []
        (lines,) = yield [("HMGET", pages, *(f"f{number}" for number in numbers))]
        # A page that was dropped in between ends the list.
        known = [(number, line) for number, line in zip(numbers, lines, strict=True) if line]
        return [
            codec.decode_page_facts(cipher.open(line, b"page facts"), number)
            for number, line in known
        ]

    def plans(self, scope: Scope) -> Steps[dict[str, Plan]]:
        (found,) = yield [("HGETALL", self._keys(scope)[5])]
        cipher = self._cipher(scope)
        return {
            codec.decode_name(cipher.open(name, b"plan name")): codec.decode_plan(
                cipher.open(line, b"plan")
            )
            for name, line in found.items()
        }

    def swap_plan(
        self,
        scope: Scope,
        name: str,
        plan: Plan,
        past: Plan | None,
        hidden: Sequence[str] = (),
    ) -> Steps[bool]:
        cipher = self._cipher(scope)
        there = b"" if past is None else cipher.seal(past.to_json().encode(), b"plan")
        values = (
            cipher.seal(codec.encode_name(name), b"plan name"),
            cipher.seal(plan.to_json().encode(), b"plan"),
            there,
        )
        blobs = [self._blob_key(scope, key) for key in hidden]
        (done,) = yield [self._call(SWAP_PLAN, scope, values, blobs)]
        return bool(done)

    def blob(self, scope: Scope, key: str) -> Steps[bytes | None]:
        name = self._blob_key(scope, key)
        (sealed,) = yield [("GET", name)]
        return None if sealed is None else self._open_blob(scope, name, sealed)

    def put_blob(self, scope: Scope, key: str, value: bytes) -> Steps[bytes]:
        name = self._blob_key(scope, key)
        sealed = self._cipher(scope).seal(codec.seal_blob(value), name.encode())
        told = codec.blob_hash(value, self._cipher(scope).digest).hex()
        readable_name = self._cipher(scope).seal(codec.encode_name(key), b"blob name")
        damaged = b""
        while True:
            values = (sealed, milliseconds(self._life.blob), damaged, told, readable_name)
            (there,) = yield [self._call(PUT_BLOB, scope, values, [name])]
            if there is None:
                return value
            kept = self._open_blob(scope, name, there)
            if kept is not None:
                return kept
            damaged = there

    def blob_hash(self, scope: Scope, key: str) -> Steps[bytes | None]:
        (line,) = yield [("HGET", self._keys(scope)[8], self._blob_key(scope, key))]
        return codec.decode_blob_entry(line or b"")

    def blob_names(self, scope: Scope) -> Steps[list[str]]:
        cipher = self._cipher(scope)
        (found,) = yield [("HGETALL", self._keys(scope)[8])]
        if not found:
            return []
        there = yield [("EXISTS", key) for key in found]  # others were evicted or have expired
        names = [
            value.partition(b":")[2]
            for value, count in zip(found.values(), there, strict=True)
            if count
        ]
        return sorted(codec.decode_name(cipher.open(name, b"blob name")) for name in names if name)

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> Steps[None]:
        names = [self._blob_key(scope, key) for key in keys]
        if names:
            yield [("UNLINK", *names), ("HDEL", self._keys(scope)[8], *names)]

    def _open_blob(self, scope: Scope, name: str, sealed: bytes) -> bytes | None:
        """A stored blob; None for damaged bytes, which are then made anew."""
        try:
            return codec.open_blob(self._cipher(scope).open(sealed, name.encode()))
        except StoreError:
            return None
