"""The changes of state of a session in Redis, each one script: all of it happens, or none.

Every script gets the session's durable keys first, in the order of `DURABLE`. All of
them live in one slot, and all of them share the moment at which they expire.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

SCHEMA = 1
DURABLE = ("meta", "log", "facts", "ids", "pages", "plans", "index", "terms", "blobs")
"""The durable keys of a session.

    meta   hash    schema, turns, live, bytes, generation, settings, expires
    log    list    one record a position: time, id, message; empty where forgotten
    facts  list    the facts of each position
    ids    hash    turn id -> position:digest
    pages  hash    f<number>, b<number> -> facts and body of a page
    plans  hash    reader and budget -> plan
    index  hash    <term>\\0<block> -> packed postings, and the counters of the index
    terms  zset    the terms in alphabetical order
    blobs  hash    key of each blob -> its size

Blobs are keys of their own, so that each can be evicted or expire; none outlives the session.
"""


@dataclass(frozen=True)
class Script:
    """A Lua script by its text."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The name under which a server caches it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_COMMON = f"""
local meta, log, facts, ids, pages, plans, index, terms, blobs = unpack(KEYS, 1, 9)
local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end
local schema = redis.call('HGET', meta, 'schema')
if schema and tonumber(schema) > {SCHEMA} then return redis.error_reply('LATER') end
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


def _script(text: str) -> Script:
    return Script(_COMMON + text)


STATE = _script("""
if lost() then return redis.error_reply('LOST') end
if not schema then return false end
local found = redis.call('HMGET', meta, 'turns', 'generation', 'settings')
local sealed, seen, counts = redis.call('HLEN', pages) / 2, indexed(), {0, 0}
if seen > 0 then counts = redis.call('HMGET', index, 'documents', 'terms') end
return {found[1], sealed, found[2], seen, counts[1], counts[2], found[3]}
""")

# settings, life, refresh, then for each turn: id, digest, record, facts
APPEND = _script("""
if lost() then return redis.error_reply('LOST') end
local turns, live, bytes = number(meta, 'turns'), number(meta, 'live'), number(meta, 'bytes')
if schema then
  local settings = redis.call('HGET', meta, 'settings')
  if settings ~= ARGV[1] then return {'settings', settings} end
end
local places, new = {'stored', schema and 0 or 1}, {}
local length = turns
for i = 4, #ARGV, 4 do
  local id, digest = ARGV[i], ARGV[i + 1]
  local there = new[id] or redis.call('HGET', ids, id)
  if there then
    local cut = string.find(there, ':', 1, true)
    if string.sub(there, cut + 1) ~= digest then return {'taken', id} end
    places[#places + 1] = tonumber(string.sub(there, 1, cut - 1))
  else
    new[id] = length .. ':' .. digest
    places[#places + 1] = length
    length = length + 1
  end
end
for i = 4, #ARGV, 4 do
  local id = ARGV[i]
  if new[id] then
    redis.call('HSET', ids, id, new[id])
    redis.call('RPUSH', log, ARGV[i + 2])
    redis.call('RPUSH', facts, ARGV[i + 3])
    bytes = bytes + #ARGV[i + 2]
    new[id] = nil
  end
end
if length > turns then
  redis.call('HSET', meta, 'turns', length, 'live', live + length - turns, 'bytes', bytes)
end
if not schema then
  redis.call('HSET', meta, 'schema', 1, 'generation', 0, 'settings', ARGV[1])
end
if ARGV[2] ~= '0' and (ARGV[3] == '1' or not schema) then
  local now = redis.call('TIME')
  local moment = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]
  redis.call('HSET', meta, 'expires', string.format('%.0f', moment))
  settle()
end
return places
""")

# generation, indexed, stop, block, documents, terms, then pairs of term and postings
INDEX = _script("""
if not unmoved(ARGV[1], ARGV[2]) then return 0 end
if ARGV[2] == '0' then redis.call('UNLINK', index, terms) end
for i = 7, #ARGV, 2 do
  local field = ARGV[i] .. '\\0' .. ARGV[4]
  redis.call('HSET', index, field, (redis.call('HGET', index, field) or '') .. ARGV[i + 1])
  redis.call('ZADD', terms, 0, ARGV[i])
end
redis.call('ZADD', terms, 0, '') -- there even when no turn has a term
redis.call('HSET', index, 'indexed', ARGV[3])
redis.call('HINCRBY', index, 'documents', ARGV[5])
redis.call('HINCRBY', index, 'terms', ARGV[6])
settle()
return 1
""")

_TAKE_BACK = """
-- pages, documents, terms, then the number of index fields and triples of term, field, postings
local function take_back(from)
  local kept, fields = tonumber(ARGV[from]), tonumber(ARGV[from + 3])
  for i = from + 4, from + 3 + 3 * fields, 3 do
    if ARGV[i + 2] == '' then redis.call('HDEL', index, ARGV[i + 1])
    else redis.call('HSET', index, ARGV[i + 1], ARGV[i + 2]) end
    if ARGV[i] ~= '' then redis.call('ZREM', terms, ARGV[i]) end
  end
  redis.call('HINCRBY', index, 'documents', 0 - ARGV[from + 1])
  redis.call('HINCRBY', index, 'terms', 0 - ARGV[from + 2])
  for n = kept, redis.call('HLEN', pages) / 2 - 1 do
    redis.call('HDEL', pages, 'f' .. n, 'b' .. n)
  end
  redis.call('UNLINK', plans)
  redis.call('HINCRBY', meta, 'generation', 1)
  return from + 4 + 3 * fields
end
-- Forget the id of a record; returns whether there was one.
local function release(record)
  if not record or record == '' then return 0 end
  redis.call('HDEL', ids, string.sub(record, 13, 12 + struct.unpack('<I4', record, 9)))
  redis.call('HINCRBY', meta, 'live', -1)
  redis.call('HINCRBY', meta, 'bytes', -#record)
  return 1
end
"""

# generation, indexed, length, then what take_back needs
REWIND = _script(
    _TAKE_BACK
    + """
if not unmoved(ARGV[1], ARGV[2]) then return 0 end
local length = tonumber(ARGV[3])
for _, record in ipairs(redis.call('LRANGE', log, length, -1)) do release(record) end
if length == 0 then redis.call('UNLINK', log, facts)
else
  redis.call('LTRIM', log, 0, length - 1)
  redis.call('LTRIM', facts, 0, length - 1)
end
take_back(4)
redis.call('HSET', meta, 'turns', length)
redis.call('HSET', index, 'indexed', math.min(length, tonumber(ARGV[2])))
settle()
return 1
"""
)

# generation, indexed, number of blobs, then what take_back needs, then positions
ERASE = _script(
    _TAKE_BACK
    + """
if not unmoved(ARGV[1], ARGV[2]) then return false end
if redis.call('HLEN', blobs) ~= tonumber(ARGV[3]) then return false end
local removed = 0
for i = take_back(4), #ARGV do
  if release(redis.call('LINDEX', log, ARGV[i])) == 1 then
    redis.call('LSET', log, ARGV[i], '')
    redis.call('LSET', facts, ARGV[i], '')
    removed = removed + 1
  end
end
local gone = {blobs}
for i = 10, #KEYS do gone[i - 8] = KEYS[i] end
each(gone, 1000, function(...) redis.call('UNLINK', ...) end)
settle()
return removed
"""
)

# number of blobs
DROP = _script("""
if redis.call('HLEN', blobs) ~= tonumber(ARGV[1]) then return false end
local live = number(meta, 'live')
each(KEYS, 1000, function(...) redis.call('UNLINK', ...) end)
return live
""")

# Everything but blobs and plans, as this server writes it down.
DUMP = _script("""
if not schema then return false end
local found = {}
for i = 1, 8 do found[i] = redis.call('DUMP', KEYS[i]) end
return found
""")

# life, then the first eight keys as DUMP gave them
RESTORE = _script("""
if number(meta, 'turns') > 0 then return 0 end
for i = 1, 8 do
  redis.call('UNLINK', KEYS[i])
  if ARGV[i + 1] ~= '' and i ~= 6 then redis.call('RESTORE', KEYS[i], 0, ARGV[i + 1]) end
end
redis.call('HDEL', meta, 'expires')
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  local moment = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[1]
  redis.call('HSET', meta, 'expires', string.format('%.0f', moment))
  settle()
end
return 1
""")

# generation, then triples of number, facts, body
ADD_PAGES = _script("""
if not schema or number(meta, 'generation') ~= tonumber(ARGV[1]) then return 0 end
local count = redis.call('HLEN', pages) / 2
for i = 2, #ARGV, 3 do
  if tonumber(ARGV[i]) > count then return 0 end
  if tonumber(ARGV[i]) == count then
    redis.call('HSET', pages, 'f' .. ARGV[i], ARGV[i + 1], 'b' .. ARGV[i], ARGV[i + 2])
    count = count + 1
  end
end
settle()
return 1
""")

# name, plan, past plan or ''
SWAP_PLAN = _script("""
if not schema then return 1 end
if (redis.call('HGET', plans, ARGV[1]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', plans, ARGV[1], ARGV[2])
settle()
return 1
""")

# value, its own life, the damaged value to replace or ''; the tenth key is the blob's
PUT_BLOB = _script("""
if not schema then return false end
local there = redis.call('GET', KEYS[10])
if there and there ~= ARGV[3] then return there end
local moment = redis.call('HGET', meta, 'expires')
redis.call('SET', KEYS[10], ARGV[1])
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[10], ARGV[2]) end
if moment then
  local now = redis.call('TIME')
  local left = moment - (now[1] * 1000 + math.floor(now[2] / 1000))
  if ARGV[2] == '0' or tonumber(ARGV[2]) > left then redis.call('PEXPIREAT', KEYS[10], moment) end
end
redis.call('HSET', blobs, KEYS[10], #ARGV[1])
settle()
return false
""")

# turns in a block, then terms
FREQUENCIES = _script("""
local last, found = math.ceil(indexed() / ARGV[1]) - 1, {}
for i = 2, #ARGV do
  local size = 0
  for block = 0, last do size = size + redis.call('HSTRLEN', index, ARGV[i] .. '\\0' .. block) end
  found[i - 1] = size
end
return found
""")

# turns in a block, then terms
POSTINGS = _script("""
local last, found = math.ceil(indexed() / ARGV[1]) - 1, {}
for i = 2, #ARGV do
  local parts = {}
  for block = 0, last do
    parts[#parts + 1] = redis.call('HGET', index, ARGV[i] .. '\\0' .. block) or nil
  end
  found[i - 1] = table.concat(parts)
end
return found
""")

# log, pages, blobs
SIZES = _script("""
local size = 0
for n = 0, redis.call('HLEN', pages) / 2 - 1 do
  size = size + redis.call('HSTRLEN', pages, 'b' .. n)
end
local stored = 0
for _, value in ipairs(redis.call('HVALS', blobs)) do stored = stored + value end
return {number(meta, 'bytes'), size, stored}
""")
