"""What every home of a memory promises: one suite, run over each of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from optimem.errors import ConflictError, NotFoundError, StoreError
from optimem.messages import parse
from optimem.modes import Tier
from optimem.recall import SearchIndex, index_entries
from optimem.stores import (
    Draft,
    Postings,
    SessionState,
    Store,
    decode_postings,
    new_key,
    open_store,
)
from optimem.stores.cipher import ciphers
from optimem.stores.codec import tombstone
from optimem.stores.redis import AsyncRedisStore
from optimem.values import Entry, Page, PageFacts, Plan, Scope, Span, TurnFacts

HOMES = ("memory", "sqlite", "redis", "redis_tls", "redis_sentinel", "redis_cluster")
AWAITED = ("redis", "redis_cluster")
WAITING = ("redis_sentinel", "redis_cluster", "awaited_redis_sentinel", "awaited_redis_cluster")
SEALED = ("memory", "sqlite", "redis", "redis_cluster", "awaited_redis")
KEY = new_key()
MINE = Scope("acme", "42")
SETTINGS = {"counter": "chars", "caption_tokens": 60}
NOTHING = Postings({}, 0, 0)
HOSTILE = [
    "",
    "a:b",
    "a",
    "{x}",
    "x}",
    "two\nlines\r\n",
    "nul\x00inside",
    "nul",
    "\ud800 lone",
    "emoji 🧠👩‍👩‍👧",
    "%s %d *?[a-z]",
    "'; DROP TABLE turn; --",
    "long " * 2000,
    "é",  # composed; the next is the same letter in two code points, another name
    "e\u0301",
    "../../etc/passwd",
]


class Awaited:
    """An asynchronous store behind the blocking protocol, by an event loop in a thread."""

    def __init__(self, store: AsyncRedisStore) -> None:
        self.url = store.url
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        verb = getattr(self._store, name)
        return lambda *args: self._wait(verb(*args))

    def entries(self, *args: Any) -> Iterator[Entry]:
        async def walked() -> list[Entry]:
            return [entry async for entry in self._store.entries(*args)]

        return iter(self._wait(walked()))

    def end(self) -> None:
        self._wait(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result()


@pytest.fixture(
    params=[
        *HOMES,
        *(f"awaited_{home}" for home in AWAITED),
        *(f"sealed_{home}" for home in SEALED),
        *(f"waiting_{home}" for home in WAITING),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A home of each kind.

    An awaited one is asynchronous, a sealed one is encrypted, a waiting one has a replica
    confirm each append.
    """
    key = KEY if request.param.startswith("sealed_") else None
    name = request.param.removeprefix("sealed_").removeprefix("waiting_")
    kind = name.removeprefix("awaited_")
    url = home(request, kind, tmp_path)
    if request.param.startswith("waiting_"):
        url += "&wait=1"
    if kind == name:
        with contextlib.closing(open_store(url, key)) as opened:
            yield opened
    else:
        awaited = Awaited(AsyncRedisStore.open(url, ciphers(key)))
        yield cast(Store, awaited)
        awaited.end()


InClear = Callable[[list[str]], list[str]]


@pytest.fixture
def in_clear(request: pytest.FixtureRequest) -> InClear:
    """What a home knows by prefix: nothing when it is encrypted, whatever is expected if not."""
    return lambda expected: [] if "[sealed_" in request.node.name else expected


def home(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The URL of a fresh home."""
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    url: str = request.getfixturevalue(f"{kind}_url")
    return f"{url}{'&' if '?' in url else '?'}prefix={uuid.uuid4().hex}"


def draft(text: str, id: str, time: float | None = 1.5) -> Draft:
    turn = parse({"role": "user", "content": text}, id=id, time=time)
    return Draft(turn, TurnFacts("user", len(text), time))


def fill(store: Store, scope: Scope, *texts: str) -> list[int]:
    drafts = [draft(text, f"t{number}") for number, text in enumerate(texts)]
    return store.append(scope, drafts, SETTINGS)


def add(store: Store, *drafts: Draft) -> list[int]:
    return store.append(MINE, drafts, SETTINGS)


def page(number: int, text: str = "words") -> tuple[Page, PageFacts]:
    spans = (Span(number, "user", 0, len(text), True, True),)
    made = Page(number, (text,), spans, (), (number + 1, 0), "style")
    return made, PageFacts(number, made.hash, number, number, number + 1, 7, ("a/b_c.py:12",), 9)


def texts(store: Store, scope: Scope) -> dict[int, str]:
    return {entry.position: entry.turn.text for entry in store.entries(scope)}


def catch_up(store: Store, scope: Scope) -> SessionState:
    return SearchIndex(store, scope).catch_up()


def postings(store: Store, scope: Scope, term: str) -> list[tuple[int, int, int]]:
    """(position, occurrences, length) of each stretch of text with a term."""
    packed = store.postings(scope, [term]).get(term, b"")
    return [(int(p), int(count), int(length)) for p, count, length in decode_postings(packed)]


def found(store: Store, scope: Scope, term: str) -> list[int]:
    catch_up(store, scope)
    return [position for position, _, _ in postings(store, scope, term)]


def rewind(store: Store, scope: Scope, length: int, pages: int = 0) -> bool:
    seen = catch_up(store, scope)
    gone = index_entries(store.entries(scope, length))
    return store.rewind(scope, length, pages, gone, seen)


def erase(store: Store, scope: Scope, *positions: int, pages: int = 0) -> int | None:
    seen = catch_up(store, scope)
    entries = [entry for at in positions for entry in store.entries(scope, at, at + 1)]
    return store.erase(scope, positions, pages, index_entries(entries), seen)


def test_an_unknown_session_is_empty(store: Store) -> None:
    assert store.state(MINE) == SessionState()
    assert store.sessions("acme") == []
    assert list(store.entries(MINE)) == []
    assert store.turn_facts(MINE) == []
    assert store.page_facts(MINE) == []
    assert store.position(MINE, "t0") is None
    assert store.page(MINE, 0) is None
    assert store.blob(MINE, "k") is None
    assert store.plans(MINE) == {}
    assert store.frequencies(MINE, ["word"]) == {}
    assert store.completions(MINE, ["", "a"], 9) == []
    assert store.postings(MINE, ["word"]) == {}
    assert set(store.size(MINE).values()) == {0}
    assert store.drop(MINE) == 0
    assert not store.erase(MINE, [0], 0, NOTHING, SessionState())
    assert not store.rewind(MINE, 0, 0, NOTHING, SessionState())
    assert not store.index(MINE, NOTHING, 1, SessionState())
    assert store.sessions("acme") == []


def test_turns_come_back_exactly_and_in_order(store: Store) -> None:
    said = ["one", "two " * 500, "NUL \x00 and \ud800 and 🧠", ""]
    drafts = [draft(text, f"id {n}", None if n == 1 else n / 3) for n, text in enumerate(said)]
    assert add(store, *drafts[:3]) == [0, 1, 2]
    assert add(store, *drafts[3:]) == [3]
    entries = list(store.entries(MINE))
    assert [entry.turn for entry in entries] == [draft.turn for draft in drafts]
    assert [entry.position for entry in entries] == [0, 1, 2, 3]
    assert [entry.position for entry in store.entries(MINE, 1, 3)] == [1, 2]
    assert list(store.entries(MINE, 2, 2)) == list(store.entries(MINE, 4)) == []
    assert [entry.position for entry in store.entries_at(MINE, [3, 0, 9, -1, 2])] == [3, 0, 2]
    assert store.entries_at(MINE, []) == []
    assert store.turn_facts(MINE, 2) == [(n, drafts[n].facts) for n in (2, 3)]
    assert store.position(MINE, "id 2") == 2
    assert store.state(MINE).turns == 4
    assert add(store) == []


def test_a_long_log_is_read_in_order(store: Store) -> None:
    fill(store, MINE, *(f"turn number {number}" for number in range(300)))
    walked = [entry.turn.text for entry in store.entries(MINE, 7)]
    assert walked == [f"turn number {number}" for number in range(7, 300)]


def test_a_retried_append_changes_nothing(store: Store) -> None:
    fill(store, MINE, "one", "two")
    before = store.state(MINE)
    again = [draft("two", "t1", 99.0), draft("one", "t0")]
    assert add(store, *again) == [1, 0]
    assert store.state(MINE) == before
    assert next(store.entries(MINE, 1)).turn.time == 1.5
    assert add(store, draft("new", "n"), draft("new", "n")) == [2, 2]
    assert texts(store, MINE) == {0: "one", 1: "two", 2: "new"}


def test_a_taken_id_refuses_the_whole_append(store: Store) -> None:
    fill(store, MINE, "one")
    before = catch_up(store, MINE)
    with pytest.raises(ConflictError, match="other content"):
        add(store, draft("new", "n"), draft("another", "t0"))
    with pytest.raises(ConflictError):
        add(store, draft("new", "n"), draft("newer", "n"))
    assert catch_up(store, MINE) == before
    assert texts(store, MINE) == {0: "one"}
    assert found(store, MINE, "new") == []
    assert store.position(MINE, "n") is None


def test_settings_are_those_of_the_first_append(store: Store) -> None:
    settings = {"counter": "\ud800 é", "nested": [1, 2.5, None]}
    assert store.append(MINE, [], settings) == []
    assert store.state(MINE) == SessionState()
    store.append(MINE, [draft("one", "t0")], settings)
    with pytest.raises(ConflictError, match="other settings"):
        store.append(MINE, [draft("two", "t1")], {**settings, "counter": "o200k"})
    assert store.state(MINE).settings == settings
    assert texts(store, MINE) == {0: "one"}
    assert store.sessions("acme") == ["42"]


def test_what_is_derived_needs_a_session(store: Store) -> None:
    assert not store.add_pages(MINE, [page(0)], 0)
    assert store.swap_plan(MINE, "reader", Plan(), None)
    assert store.put_blob(MINE, "png", b"pixels") == b"pixels"
    store.drop_blobs(MINE, ["png"])
    assert store.state(MINE) == SessionState()
    assert store.plans(MINE) == {}
    assert store.blob(MINE, "png") is None
    assert store.sessions("acme") == []


def test_rewind_takes_back_turns_pages_plans_and_search(store: Store) -> None:
    fill(store, MINE, "red fox", "green fox", "blue fox")
    store.add_pages(MINE, [page(0), page(1)], 0)
    store.swap_plan(MINE, "reader", Plan((Tier.TINY,)), None)
    assert rewind(store, MINE, 1, 1)
    state = store.state(MINE)
    assert (state.turns, state.pages, state.generation, state.documents) == (1, 1, 1, 1)
    assert texts(store, MINE) == {0: "red fox"}
    assert store.plans(MINE) == {}
    assert store.page(MINE, 1) is None
    assert found(store, MINE, "fox") == [0]
    assert found(store, MINE, "blue") == []
    assert store.completions(MINE, ["blu"], 9) == []
    assert add(store, draft("new", "t2")) == [1]
    assert found(store, MINE, "new") == [1]


def test_erased_turns_are_gone_and_their_positions_stay_empty(
    store: Store, in_clear: InClear
) -> None:
    fill(store, MINE, "red fox", "green fox", "blue fox")
    store.add_pages(MINE, [page(0), page(1)], 0)
    store.swap_plan(MINE, "reader", Plan((Tier.TINY,)), None)
    store.put_blob(MINE, "png", b"pixels")
    assert erase(store, MINE, 1, 2, 9, pages=1) == 2
    assert erase(store, MINE, 1, pages=1) == 0
    state = store.state(MINE)
    assert (state.turns, state.pages, state.documents, state.terms) == (3, 1, 1, 2)
    assert state.generation > 0
    assert texts(store, MINE) == {0: "red fox"}
    assert [position for position, _ in store.turn_facts(MINE)] == [0]
    assert [entry.position for entry in store.entries_at(MINE, [2, 0, 1])] == [0]
    assert store.position(MINE, "t1") is None
    assert store.blob(MINE, "png") is None
    assert store.plans(MINE) == {}
    assert store.frequencies(MINE, ["green", "blue"]) == {}
    assert found(store, MINE, "fox") == [0]
    assert store.completions(MINE, ["green", "f"], 9) == in_clear(["fox"])
    assert store.forgotten(MINE) == {tombstone("t1"), tombstone("t2")}
    assert add(store, draft("green again", "t1")) == [3]
    assert texts(store, MINE) == {0: "red fox", 3: "green again"}


def test_what_was_forgotten_outlasts_a_rewind(store: Store) -> None:
    store.bury(MINE, [tombstone("elsewhere")])
    assert store.forgotten(MINE) == frozenset(), "there is no session yet"
    fill(store, MINE, "red fox", "green fox", "blue fox")
    assert erase(store, MINE, 1) == 1
    store.bury(MINE, [tombstone("elsewhere"), tombstone("t1")])
    assert rewind(store, MINE, 1)
    other = Scope("acme", "43")
    store.fork(MINE, other)
    for scope in (MINE, other):
        assert store.forgotten(scope) == {tombstone("t1"), tombstone("elsewhere")}
    store.drop(MINE)
    assert store.forgotten(MINE) == frozenset()


def test_a_dropped_session_leaves_its_neighbours(store: Store) -> None:
    other = Scope("acme", "43")
    for scope in (MINE, other):
        fill(store, scope, "red fox", "blue fox")
        store.add_pages(scope, [page(0)], 0)
        store.put_blob(scope, "png", b"pixels")
    assert store.drop(MINE) == 2
    assert store.state(MINE) == SessionState()
    assert store.sessions("acme") == ["43"]
    assert store.blob(MINE, "png") is None
    assert store.page(MINE, 0) is None
    assert found(store, MINE, "fox") == []
    assert found(store, other, "fox") == [0, 1]
    assert store.blob(other, "png") == b"pixels"
    assert fill(store, MINE, "anew") == [0]
    assert store.state(MINE).generation == 0


def test_blobs_are_listed_by_name(store: Store) -> None:
    assert store.blob_names(MINE) == []
    fill(store, MINE, "one")
    names = {"b", *HOSTILE[1:]}
    for name in names:
        store.put_blob(MINE, name, b"bytes")
    assert store.blob_names(MINE) == sorted(names)
    store.drop_blobs(MINE, names)
    assert store.blob_names(MINE) == []
    store.put_blob(MINE, "b", b"bytes")
    assert store.blob_names(MINE) == ["b"]


def test_a_session_that_has_grown_is_not_dropped_unseen(store: Store) -> None:
    fill(store, MINE, "one", "two")
    assert store.drop(MINE, 1) == 0
    assert texts(store, MINE) == {0: "one", 1: "two"}
    assert store.drop(MINE, 2) == 2
    assert store.state(MINE) == SessionState()


def test_a_fork_stays_in_its_namespace(store: Store) -> None:
    fill(store, MINE, "one")
    with pytest.raises(ConflictError, match="within its namespace"):
        store.fork(MINE, Scope("other", "43"))


def test_a_fork_is_a_copy_of_its_own(store: Store) -> None:
    other = Scope("acme", "43")
    fill(store, MINE, "red fox", "green fox", "blue fox")
    erase(store, MINE, 1)
    store.add_pages(MINE, [page(0)], store.state(MINE).generation)
    store.fork(MINE, other)
    assert store.state(other) == store.state(MINE)
    assert list(store.entries(other)) == list(store.entries(MINE))
    assert store.page(other, 0) == store.page(MINE, 0)
    terms = ["fox", "red", "green"]
    assert store.postings(other, terms) == store.postings(MINE, terms)
    erase(store, MINE, 0)
    assert texts(store, other) == {0: "red fox", 2: "blue fox"}
    assert found(store, other, "red") == [0]
    assert store.append(other, [draft("grey fox", "t9")], SETTINGS) == [3]
    assert store.position(MINE, "t9") is None


def test_a_fork_never_overwrites(store: Store) -> None:
    other = Scope("acme", "43")
    fill(store, MINE, "one")
    fill(store, other, "two")
    with pytest.raises(ConflictError, match="already has turns"):
        store.fork(MINE, other)
    with pytest.raises(NotFoundError, match="no session"):
        store.fork(Scope("acme", "nowhere"), Scope("acme", "44"))
    assert texts(store, other) == {0: "two"}
    assert store.sessions("acme") == ["42", "43"]


def test_pages_are_kept_by_their_first_writer(store: Store) -> None:
    fill(store, MINE, "one", "two")
    assert store.add_pages(MINE, [page(0), page(1)], 0)
    assert store.add_pages(MINE, [page(1, "late"), page(2)], 0)
    assert [store.page(MINE, number) for number in range(4)] == [
        *(page(number)[0] for number in range(3)),
        None,
    ]
    assert store.page_facts(MINE) == [page(number)[1] for number in range(3)]
    assert store.page_facts(MINE, 2) == [page(2)[1]]
    assert store.page_facts(MINE, 1, 2) == [page(1)[1]]
    assert store.page_facts(MINE, 1, 1) == store.page_facts(MINE, 2, 9)[1:] == []
    assert store.state(MINE).pages == 3


def test_pages_leave_no_gap(store: Store) -> None:
    fill(store, MINE, "one", "two")
    assert not store.add_pages(MINE, [page(1)], 0)
    assert store.add_pages(MINE, [page(0), page(1)], 0)
    assert not store.add_pages(MINE, [page(3)], 0)
    assert store.state(MINE).pages == 2


def test_pages_of_an_older_generation_are_refused(store: Store) -> None:
    fill(store, MINE, "one", "two")
    assert rewind(store, MINE, 1)
    assert not store.add_pages(MINE, [page(0)], 0)
    assert store.page(MINE, 0) is None


def test_a_plan_changes_only_from_the_one_that_was_seen(store: Store) -> None:
    fill(store, MINE, "one")
    first, second = Plan((Tier.TINY,), 1, True, 3), Plan((), 0)
    assert not store.swap_plan(MINE, "reader", second, first)
    assert store.swap_plan(MINE, "reader", first, None)
    assert not store.swap_plan(MINE, "reader", second, None)
    assert store.swap_plan(MINE, "other", second, None)
    assert store.swap_plan(MINE, "reader", second, first)
    assert store.plans(MINE) == {"reader": second, "other": second}


def test_what_a_plan_hides_goes_with_the_one_before(store: Store) -> None:
    """In one step: no reader finds the new plan beside the old plan's images."""
    fill(store, MINE, "one")
    for key in ("old/a", "old/b", "new/a"):
        store.put_blob(MINE, key, key.encode())
    size = store.size(MINE)["blobs"]
    first, second = Plan((Tier.BASE,), 1), Plan((Tier.TINY,), 1)
    assert store.swap_plan(MINE, "reader", first, None, ["unknown"])
    assert not store.swap_plan(MINE, "reader", second, None, ["old/a", "old/b"])
    assert store.blob(MINE, "old/a") == b"old/a"
    assert store.swap_plan(MINE, "reader", second, first, ["old/a", "old/b"])
    assert store.blob(MINE, "old/a") is store.blob(MINE, "old/b") is None
    assert store.blob(MINE, "new/a") == b"new/a"
    assert store.size(MINE)["blobs"] == size // 3


def test_of_racing_planners_one_wins(store: Store) -> None:
    fill(store, MINE, "one")
    start = threading.Barrier(8)
    won: list[int] = []

    def race(number: int) -> None:
        start.wait()
        if store.swap_plan(MINE, "reader", Plan(epoch=number), None):
            won.append(number)

    run_all([threading.Thread(target=race, args=(number,)) for number in range(8)])
    assert [store.plans(MINE)["reader"].epoch] == won


def test_threads_append_without_losing_or_doubling(store: Store) -> None:
    def write(name: int) -> None:
        for number in range(25):
            add(store, draft(f"turn {name} {number}", f"{name}-{number}"))

    run_all([threading.Thread(target=write, args=(name,)) for name in range(4)])
    stored = texts(store, MINE)
    assert list(stored) == list(range(100))
    for name in range(4):
        mine = [text for text in stored.values() if text.startswith(f"turn {name} ")]
        assert mine == [f"turn {name} {number}" for number in range(25)]


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_first_writer_fixes_a_blob(store: Store) -> None:
    fill(store, MINE, "one")
    value = bytes(range(256)) * 300
    assert store.put_blob(MINE, "png/a", value) == value
    assert store.put_blob(MINE, "png/a", b"other") == value
    assert store.put_blob(MINE, "png/b", b"") == b""
    assert store.blob(MINE, "png/a") == value
    assert store.blob(MINE, "png/b") == b""
    store.drop_blobs(MINE, ["png/a", "png/unknown"])
    store.drop_blobs(MINE, [])
    assert store.blob(MINE, "png/a") is None
    assert store.put_blob(MINE, "png/a", b"other") == b"other"


def test_a_hash_tells_which_bytes_were_put_last(store: Store) -> None:
    store.put_blob(MINE, "png/a", b"for no session")
    assert store.blob_hash(MINE, "png/a") is None
    fill(store, MINE, "one")
    store.put_blob(MINE, "png/a", b"first")
    store.put_blob(MINE, "png/a", b"other")
    store.put_blob(MINE, "png/b", b"first")
    told = store.blob_hash(MINE, "png/a")
    assert told and told == store.blob_hash(MINE, "png/b")
    store.drop_blobs(MINE, ["png/a"])
    assert store.blob_hash(MINE, "png/a") is None
    store.put_blob(MINE, "png/a", b"other")
    assert store.blob_hash(MINE, "png/a") not in (None, told)
    assert store.swap_plan(MINE, "reader", Plan((Tier.TINY,), 1), None, ["png/b"])
    assert store.blob_hash(MINE, "png/b") is None
    assert erase(store, MINE, 0) == 1
    assert store.blob_hash(MINE, "png/a") is None


def test_the_index_knows_terms_by_name_and_by_prefix(store: Store, in_clear: InClear) -> None:
    fill(store, MINE, "fox fox fox", "foxglove and fox", "unit _test foxtrot 北京大学")
    state = catch_up(store, MINE)
    assert (state.indexed, state.documents, state.terms) == (3, 3, 17)
    assert store.frequencies(MINE, ["fox", "foxtrot", "wolf", "北京"]) == {
        "fox": 2,
        "foxtrot": 1,
        "北京": 1,
    }
    assert postings(store, MINE, "fox") == [(0, 3, 3), (1, 1, 3)]
    assert postings(store, MINE, "fo") == []
    assert store.completions(MINE, ["fox"], 9) == in_clear(["fox", "foxglov", "foxtrot"])
    assert store.completions(MINE, ["fox", "wolf", "an"], 2) == in_clear(["fox", "foxglov", "and"])
    assert store.completions(MINE, ["北"], 9) == in_clear(["北", "北京"])


def test_the_index_grows_in_step_with_the_log(store: Store) -> None:
    before = store.state(MINE)
    fill(store, MINE, "red fox", "blue fox")
    seen = store.state(MINE)
    first = index_entries(store.entries(MINE, 0, 1))
    assert store.index(MINE, first, 1, seen)
    assert not store.index(MINE, first, 1, seen)  # a slower worker's
    assert not store.index(MINE, first, 1, before)
    assert not store.erase(MINE, [0], 0, first, seen)
    assert not store.rewind(MINE, 0, 0, first, seen)
    assert postings(store, MINE, "fox") == [(0, 1, 2)]
    assert found(store, MINE, "fox") == [0, 1]
    assert texts(store, MINE) == {0: "red fox", 1: "blue fox"}


def test_turns_that_others_index_meanwhile_wait_for_the_next_recall(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, MINE, "red fox", "blue fox")
    index = SearchIndex(store, MINE)

    def overtaken(scope: Scope, terms: Iterable[str]) -> dict[str, bytes]:
        monkeypatch.undo()
        add(store, draft("grey fox", "late"))
        catch_up(store, scope)
        return store.postings(scope, terms)

    monkeypatch.setattr(store, "postings", overtaken)
    assert [position for position, _ in index.search("fox", 5)] == [1, 0]
    assert [position for position, _ in index.search("fox", 5)] == [2, 1, 0]


def test_a_log_of_several_blocks_is_one_index(
    store: Store, in_clear: InClear, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = ("optimem.recall", "optimem.stores.sqlite_index", "optimem.stores.redis_index")
    for module in blocks:
        monkeypatch.setattr(f"{module}.BLOCK", 4)
    fill(store, MINE, *(f"fox number {number}" for number in range(11)))
    assert found(store, MINE, "fox") == list(range(11))
    assert store.frequencies(MINE, ["fox", "7"]) == {"fox": 11, "7": 1}
    assert store.completions(MINE, ["fo"], 9) == in_clear(["fox"])
    assert erase(store, MINE, 2, 5, 6) == 3
    assert rewind(store, MINE, 9)
    assert found(store, MINE, "fox") == [0, 1, 3, 4, 7, 8]
    assert store.append(MINE, [draft("fox again", "again")], SETTINGS) == [9]
    assert found(store, MINE, "fox") == [0, 1, 3, 4, 7, 8, 9]
    assert store.state(MINE).documents == 7


@pytest.mark.parametrize("term", ["*", '"', "(", "fox*", "a:b", "NEAR", "-", "", "\x00", "\ud800"])
def test_a_term_is_never_read_as_syntax(store: Store, term: str) -> None:
    fill(store, MINE, "red fox")
    assert found(store, MINE, term) == []
    assert store.frequencies(MINE, [term]) == {}
    assert store.completions(MINE, [f"{term}?"], 9) == []


def test_a_long_turn_is_indexed_in_stretches(store: Store) -> None:
    fill(store, MINE, " ".join(["word"] * 20_000 + ["end"]), "word")
    state = catch_up(store, MINE)
    stretches = postings(store, MINE, "word")
    assert len(stretches) == state.documents > 2
    assert [position for position, _, _ in stretches] == [0] * (len(stretches) - 1) + [1]
    assert sum(count for _, count, _ in stretches) == 20_001
    assert store.frequencies(MINE, ["word"])["word"] == len(stretches)
    assert erase(store, MINE, 0) == 1
    assert postings(store, MINE, "word") == [(1, 1, 1)]


def test_nothing_crosses_a_scope(store: Store, in_clear: InClear) -> None:
    pairs = list(itertools.islice(itertools.product(HOSTILE, HOSTILE), 0, None, 5))
    scopes = [Scope(namespace, session) for namespace, session in pairs]
    for number, scope in enumerate(scopes):
        store.append(scope, [draft(f"word{number} shared", "same id")], {"number": number})
        store.add_pages(scope, [page(0, f"page {number}")], 0)
        store.put_blob(scope, "same key", b"%d" % number)
        store.swap_plan(scope, "reader", Plan(epoch=number), None)
    for number, scope in enumerate(scopes):
        check_scope(store, scope, number)
        assert store.completions(scope, ["word"], 99) == in_clear([f"word{number}"])
    for namespace in HOSTILE:
        names = [scope.session for scope in scopes if scope.namespace == namespace]
        assert store.sessions(namespace) == sorted(names)
    for scope in scopes[::2]:
        assert store.drop(scope) == 1
    for number, scope in enumerate(scopes):
        if number % 2:
            check_scope(store, scope, number)
        else:
            assert store.state(scope) == SessionState()


def check_scope(store: Store, scope: Scope, number: int) -> None:
    assert texts(store, scope) == {0: f"word{number} shared"}
    assert store.position(scope, "same id") == 0
    stored = store.page(scope, 0)
    assert stored is not None and stored.text == f"page {number}"
    assert store.blob(scope, "same key") == b"%d" % number
    assert store.state(scope).settings == {"number": number}
    assert store.plans(scope)["reader"].epoch == number
    assert found(store, scope, "share") == [0]
    assert store.frequencies(scope, [f"word{number + 1}"]) == {}


def test_hostile_turn_ids_are_told_apart(store: Store) -> None:
    add(store, *(draft(f"text {number}", id) for number, id in enumerate(HOSTILE[1:])))
    for number, id in enumerate(HOSTILE[1:]):
        assert store.position(MINE, id) == number
    assert [entry.turn.id for entry in store.entries(MINE)] == HOSTILE[1:]


def test_sizes_follow_what_is_stored(store: Store) -> None:
    fill(store, MINE, "some words " * 50)
    one = store.size(MINE)
    add(store, draft("other words " * 50, "more"))
    store.add_pages(MINE, [page(0)], 0)
    store.put_blob(MINE, "png", b"12345")
    more = store.size(MINE)
    assert more["log"] > one["log"] > 0
    assert more["pages"] > one["pages"] == 0
    assert more["blobs"] >= 5 > one["blobs"]


def test_only_a_server_that_may_lose_turns_is_warned_of(store: Store) -> None:
    in_redis = store.url.startswith("redis")
    assert [warning.split()[0] for warning in store.warnings()] == ["appendonly"] * in_redis


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError):
        add(store, draft("late", "t"))
    with pytest.raises(StoreError):
        store.state(MINE)
