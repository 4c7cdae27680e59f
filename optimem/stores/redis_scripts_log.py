"""Scripts that read and change a session as a whole, and its log."""

from __future__ import annotations

from optimem.stores.redis_scripts import script

STATE = script("""
if lost() then return redis.error_reply('LOST') end
if not schema then return false end
local found = redis.call('HMGET', meta, 'turns', 'generation', 'settings')
local sealed, seen, counts = redis.call('HLEN', pages) / 2, indexed(), {0, 0}
if seen > 0 then counts = redis.call('HMGET', index, 'documents', 'terms') end
return {found[1], sealed, found[2], seen, counts[1], counts[2], found[3]}
""")

# settings, life, refresh, then for each turn: id, digest, record, facts
APPEND = script(
    """
if lost() then return redis.error_reply('LOST') end
local turns, live, bytes = number(meta, 'turns'), number(meta, 'live'), number(meta, 'bytes')
if schema then
  local settings = redis.call('HGET', meta, 'settings')
  if settings ~= ARGV[1] then return {'settings'} end
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
if not schema then redis.call('HSET', meta, 'generation', 0, 'settings', ARGV[1]) end
redis.call('HSET', meta, 'schema', today)
if ARGV[2] ~= '0' and (ARGV[3] == '1' or not schema) then
  local now = redis.call('TIME')
  local moment = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]
  redis.call('HSET', meta, 'expires', string.format('%.0f', moment))
  settle()
end
return places
""",
    acknowledges=True,
)

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
REWIND = script(
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

# generation, indexed, number of blobs, then what take_back needs, then pairs of position and
# what its turn leaves in meta
ERASE = script(
    _TAKE_BACK
    + """
if not unmoved(ARGV[1], ARGV[2]) then return false end
if redis.call('HLEN', blobs) ~= tonumber(ARGV[3]) then return false end
local removed = 0
for i = take_back(4), #ARGV, 2 do
  if release(redis.call('LINDEX', log, ARGV[i])) == 1 then
    redis.call('LSET', log, ARGV[i], '')
    redis.call('LSET', facts, ARGV[i], '')
    redis.call('HSET', meta, ARGV[i + 1], '')
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

# what turns that were forgotten elsewhere leave in meta
BURY = script("""
if not schema then return 0 end
for i = 1, #ARGV do redis.call('HSET', meta, ARGV[i], '') end
return 1
""")

# number of blobs, turns that were seen or -1
DROP = script("""
if ARGV[2] ~= '-1' and number(meta, 'turns') ~= tonumber(ARGV[2]) then return 'moved' end
if redis.call('HLEN', blobs) ~= tonumber(ARGV[1]) then return false end
local live = number(meta, 'live')
each(KEYS, 1000, function(...) redis.call('UNLINK', ...) end)
return live
""")

# Everything but blobs and plans, as this server writes it down.
DUMP = script("""
if not schema then return false end
local found = {}
for i = 1, 8 do found[i] = redis.call('DUMP', KEYS[i]) end
return found
""")

# life, then the first eight keys as DUMP gave them
RESTORE = script("""
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

# log, pages, blobs
SIZES = script("""
local size = 0
for n = 0, redis.call('HLEN', pages) / 2 - 1 do
  size = size + redis.call('HSTRLEN', pages, 'b' .. n)
end
local stored = 0
for _, value in ipairs(redis.call('HVALS', blobs)) do
  stored = stored + tonumber(string.match(value, '^%d+'))
end
return {number(meta, 'bytes'), size, stored}
""")

# generation, then pairs of position and record
REPLACE = script("""
if not schema or number(meta, 'generation') ~= tonumber(ARGV[1]) then return 0 end
local bytes = 0
for i = 2, #ARGV, 2 do
  local before = redis.call('LINDEX', log, ARGV[i])
  redis.call('LSET', log, ARGV[i], ARGV[i + 1])
  bytes = bytes + #ARGV[i + 1] - #before
end
redis.call('HINCRBY', meta, 'bytes', bytes)
redis.call('HSET', meta, 'schema', today)
return 1
""")

# What versions with a schema of 2 made of a session's words.
DROP_DICTIONARIES = script("""
for _, field in ipairs(redis.call('HKEYS', meta)) do
  if string.sub(field, 1, 11) == 'dictionary:' then redis.call('HDEL', meta, field) end
end
redis.call('HDEL', meta, 'dictionary', 'sampled')
return 1
""")
