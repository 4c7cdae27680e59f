"""Scripts for the search index."""

from __future__ import annotations

from optimem.stores.redis_scripts import script

# generation, indexed, stop, block, documents, terms, then pairs of term and postings
INDEX = script("""
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

# turns in a block, then terms
FREQUENCIES = script("""
local last, found = math.ceil(indexed() / ARGV[1]) - 1, {}
for i = 2, #ARGV do
  local size = 0
  for block = 0, last do size = size + redis.call('HSTRLEN', index, ARGV[i] .. '\\0' .. block) end
  found[i - 1] = size
end
return found
""")

# turns in a block, then terms
POSTINGS = script("""
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
