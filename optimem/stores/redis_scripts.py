"""The changes of state of a session in Redis, each one script: all of it happens, or none.

Every script gets the session's durable keys first, in the order of `DURABLE`. All of
them live in one slot, and all of them share the moment at which they expire.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

SCHEMA = 3  # turns need the dictionary that comes with the package
DURABLE = ("meta", "log", "facts", "ids", "pages", "plans", "index", "terms", "blobs")
"""The durable keys of a session.

    meta   hash    schema, turns, live, bytes, generation, settings, expires; for each turn that
                   was forgotten, forgotten:<hash of its id>; of schema 2 also
                   dictionary:<id>, made of the session's words
    log    list    one record a position: time, id, message; empty where forgotten
    facts  list    the facts of each position
    ids    hash    turn id -> position:digest
    pages  hash    f<number>, b<number> -> facts and body of a page
    plans  hash    reader and budget -> plan
    index  hash    <term>\\0<block> -> packed postings, and the counters of the index
    terms  zset    the terms in alphabetical order
    blobs  hash    key of each blob -> <size>#<hash>:<name>, which stay when it is lost

Blobs are keys of their own, so that each can be evicted or expire; none outlives the session.
"""


@dataclass(frozen=True)
class Script:
    """A Lua script by its text."""

    text: str
    acknowledges: bool = False
    """Whether a turn is the store's once it was run; with `wait`, replicas have it by then."""

    @cached_property
    def sha(self) -> str:
        """The name under which a server caches it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_COMMON = f"""
local meta, log, facts, ids, pages, plans, index, terms, blobs = unpack(KEYS, 1, 9)
local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end
local schema = redis.call('HGET', meta, 'schema')
local today = {SCHEMA}
if schema and tonumber(schema) > today then return redis.error_reply('LATER') end
-- Under an allkeys-* policy Redis may have dropped a part of what cannot be rebuilt.
local function lost()
  if not schema then return redis.call('EXISTS', log) == 1 end
  local turns = number(meta, 'turns')
  return redis.call('LLEN', log) ~= turns or redis.call('LLEN', facts) ~= turns
    or redis.call('HLEN', ids) ~= number(meta, 'live')
end
-- An index without its terms counts as none and is built anew.
local function indexed()
  return redis.call('EXISTS', terms) == 1 and number(index, 'indexed') or 0
end
-- New keys expire together with the others.
local function settle()
  local moment = redis.call('HGET', meta, 'expires')
  if moment then
    for i = 1, 9 do redis.call('PEXPIREAT', KEYS[i], moment) end
  end
end
-- Whether nothing was taken away or indexed since the caller looked.
local function unmoved(generation, turns)
  return schema and number(meta, 'generation') == tonumber(generation)
    and indexed() == tonumber(turns)
end
local function each(list, size, call)
  for first = 1, #list, size do
    call(unpack(list, first, math.min(first + size - 1, #list)))
  end
end
"""


def script(text: str, acknowledges: bool = False) -> Script:
    """A script that begins with what all share."""
    return Script(_COMMON + text, acknowledges)
